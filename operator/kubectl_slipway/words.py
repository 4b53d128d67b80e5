"""How numbers, times and shares read, the same in text and on a terminal. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

BAR_CELLS = 10
DIGEST_SHOWN = 12


def percent(value: int | None) -> str:
    return f"{value} %"


def duration(seconds: float) -> str:
    """`45 s`, `1 m 30 s`, `2 h 5 m`, `3 d`: two units at most."""
    rest, parts = max(0, int(seconds)), []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count} {unit}")
        if len(parts) == 2 or (parts and unit in ("d", "h") and not rest):
            break
    return " ".join(parts) or "0 s"


def moment(text: str | None) -> datetime | None:
    """An RFC 3339 time of the API; None for anything else."""
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def clock(text: str | None, now: datetime | None = None) -> str:
    """`12:03:10` in UTC, which is what the operator's messages speak; with the date when it is not today's."""
    found = moment(text)
    if found is None:
        return ""
    found = found.astimezone(UTC)
    today = now is None or found.date() == now.astimezone(UTC).date()
    return f"{found:%H:%M:%S}" if today and now is not None else f"{found:%Y-%m-%d %H:%M:%S}"


def until(text: str | None, now: datetime | None) -> str:
    """`until 12:03:10 (34 s)`; without a now only the time, so that a text changes only with the facts."""
    found = moment(text)
    if found is None:
        return ""
    left = f" ({duration((found - now).total_seconds())})" if now is not None else ""
    return f"until {clock(text, now)}{left}"


def age(text: str | None, now: datetime | None) -> str:
    found = moment(text)
    return duration((now - found).total_seconds()) if found is not None and now is not None else ""


def short_digest(digest: str | None) -> str:
    if not digest:
        return ""
    kind, _, value = digest.partition(":")
    return f"{kind}:{value[:DIGEST_SHOWN]}" if value else digest[:DIGEST_SHOWN]


def replicas(ready: int | None, asked: int | None) -> str:
    return "" if asked is None else f"{ready or 0}/{asked} ready"


def weight(asked: int | None, verified: int | None) -> str:
    """`10 %` once the routers confirm it, `50 % asked, 10 % verified` until then."""
    if asked is None:
        return "" if verified is None else f"{percent(verified)} verified"
    if verified is None:
        return f"{percent(asked)} asked"
    return percent(asked) if asked == verified else f"{percent(asked)} asked, {percent(verified)} verified"


def bar(asked: int | None, verified: int | None) -> tuple[int, int, int]:
    """Cells that are full (asked and verified), half (only one of both) and empty; they sum to BAR_CELLS."""
    low, high = sorted((asked or 0, verified or 0))
    full, reach = _cells(low), _cells(high)
    return full, reach - full, BAR_CELLS - reach


def _cells(value: int) -> int:
    """No share is shown as none, and less than everything never as everything."""
    if value <= 0:
        return 0
    if value >= 100:
        return BAR_CELLS
    return min(BAR_CELLS - 1, max(1, round(value * BAR_CELLS / 100)))
