"""What a bad canary cost, and when what was known: from every answer that the clients got, and from what status said. Pure.

first bad answer ─▶ … ─▶ the deciding one ─▶ given up ─▶ 0 % confirmed by every router
(the client saw it)      (the last before)   (status)    (status)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.load.diary import Line
from tests.load.tally import quantile
from tests.rollouts.telling import Shares


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """One bad canary. Moments are seconds since the epoch; None: there was none."""

    requests: int
    by_canary: int  # answers, good or bad, and requests without any answer that were sent while it had a share
    hurt: int  # bad answers, whoever gave them
    elsewhere: int  # of them those that the canary did not give
    late: int  # answers of the canary to what was sent after 0 % was confirmed
    share_percent: float  # of the answers while it had a share
    median_ms: tuple[float, float]  # of stable's answers, of the canary's
    first: float | None
    deciding: float | None
    decided: float | None
    zero: float | None

    @property
    def had_a_share(self) -> bool:
        return self.by_canary > 0

    @property
    def first_to_zero_s(self) -> float | None:
        return _between(self.first, self.zero)

    @property
    def deciding_to_zero_s(self) -> float | None:
        return _between(self.deciding, self.zero)


def cost(
    lines: Sequence[Line],
    shares: Shares,
    *,
    stable: str,
    canary: str,
    decided: float | None,
    fault_at: float | None = None,
    slow_over_ms: float | None = None,
) -> Cost:
    """`fault_at`: when the fault happened, for one that shows itself in no answer. `slow_over_ms`: an answer of the canary
    that took longer is a bad one."""

    def is_bad(line: Line) -> bool:
        late = slow_over_ms is not None and line.revision == canary and 1000 * line.seconds > slow_over_ms
        return line.is_bad or late

    zero = _zero(shares, canary, decided)
    begin = _first_share(shares, canary)

    def is_canarys(line: Line) -> bool:
        """What is never answered does not say whose it was: while the canary has a share, it is held to be its own, and the
        share tells if that was too much."""
        nameless = line.revision is None and begin is not None and begin <= line.due <= (zero or line.due)
        return line.revision == canary or nameless

    bad = [line for line in lines if is_bad(line)]
    of_canary = [line for line in lines if is_canarys(line)]
    seen = [line.ended for line in bad if is_canarys(line)]
    known = [at for at in seen if decided is None or at <= decided]
    while_shared = [line for line in lines if of_canary and of_canary[0].due <= line.due <= of_canary[-1].due]
    return Cost(
        requests=len(lines),
        by_canary=len(of_canary),
        hurt=len(bad),
        elsewhere=sum(1 for line in bad if not is_canarys(line)),
        late=sum(1 for line in of_canary if zero is not None and line.due > zero),
        share_percent=100 * len(of_canary) / max(1, len(while_shared)),
        median_ms=(
            _median_ms(lines, lambda line: line.revision == stable),
            _median_ms(lines, lambda line: line.revision == canary),
        ),
        first=fault_at if fault_at is not None else min(seen, default=None),
        deciding=fault_at if fault_at is not None else max(known, default=None),
        decided=decided,
        zero=zero if of_canary else None,
    )


def _zero(shares: Shares, canary: str, decided: float | None) -> float | None:
    """The first sight from the decision on in which no router gave it anything any more."""
    if decided is None:
        return None
    for at, found in shares:
        share = found.get(canary)
        if at >= decided and (share is None or not (share.weight or share.verified)):
            return at
    return None


def _first_share(shares: Shares, canary: str) -> float | None:
    given = (
        at for at, found in shares if (share := found.get(canary)) is not None and (share.weight or share.verified)
    )
    return next(given, None)


def _median_ms(lines: Sequence[Line], wanted: Callable[[Line], bool]) -> float:
    return 1000 * quantile(sorted(line.seconds for line in lines if wanted(line) and not line.failed), 0.5)


def _between(begin: float | None, end: float | None) -> float | None:
    return None if begin is None or end is None else end - begin
