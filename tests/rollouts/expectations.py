"""What a chapter looks at and must find. A thing that is not as it must be is a ClusterError with what was found."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tests.cluster.errors import ClusterError
from tests.rollouts.telling import Shares
from tests.survive.service import Service


def given_up(service: Service, reason: str, *, alone: str) -> None:
    """With this reason, and nothing else is left; then the spec names again what serves."""

    def holds(status: Any, ready: Any) -> bool:
        return bool(
            ready["reason"] == reason and [line["version"] for line in status.get("revisions") or ()] == [alone]
        )

    service.until(f"say {reason} and keep {alone} alone", holds)
    service.settle()


def weight_changes(service: Service, version: str, since: float) -> list[tuple[float, int]]:
    """(when it was seen, percent that was asked for), from a moment on."""
    number = str(service.versions[version])
    return [
        (at, shares[number].weight if number in shares else 0) for at, shares in service.watch.shares if at >= since
    ]


def weights(service: Service, version: str, since: float) -> set[int]:
    return {weight for _, weight in weight_changes(service, version, since)}


def routed(service: Service, since: float) -> set[str]:
    """Revisions that had a share."""
    return {
        name
        for at, shares in service.watch.shares
        if at >= since
        for name, share in shares.items()
        if share.weight or share.verified
    }


def require_one_move(service: Service, version: str, since: float) -> None:
    seen = weights(service, version, since)
    require(seen <= {0, 100}, f"blue/green gave {version} the weights {sorted(seen)}, expected only 0 and 100")


def ready_since(pod: Any) -> float:
    (ready,) = (item for item in pod["status"]["conditions"] if item["type"] == "Ready")
    return datetime.fromisoformat(ready["lastTransitionTime"]).timestamp()


def ask_pinned(service: Service, revision: int) -> str:
    """The HTTP code of a question that is pinned to a revision."""
    url = f"http://{service.address()}:8000/v2/models/{service.name}/ready"
    pin = ("-H", f"x-slipway-revision: {revision}")
    return service.journey.inside("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", *pin, url)


def require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ClusterError(otherwise)


def since_gone(service: Service, version: str, since: float) -> float:
    """Seconds from a moment until status said that no router gives it anything any more, and stable everything."""
    gone = gone_at(service.watch.shares, str(service.versions[version]), since)
    if gone is None:
        raise ClusterError(f"status never said that {version} has no share any more")
    return gone - since


def gone_at(shares: Shares, revision: str, since: float) -> float | None:
    """The first sight from a moment on in which it neither is to have a share nor has one, and the others have all."""
    for at, found in shares:
        share = found.get(revision)
        others = sum(other.verified for name, other in found.items() if name != revision)
        if at >= since and (share is None or not (share.weight or share.verified)) and others == 100:
            return at
    return None


def told(service: Service, reason: str) -> int:
    """How many Events of this reason there are about the deployment, whoever was it when."""
    found = service.journey.kube.get(f"mdep/{service.name}", service.journey.namespace)
    if found is None:
        raise ClusterError(f"there is no ModelDeployment {service.name}")
    events = service.journey.kube.list("events", service.journey.namespace)
    uid = found["metadata"]["uid"]
    return sum(1 for item in events if item["reason"] == reason and item["involvedObject"].get("uid") == uid)


def note(text: str) -> None:
    """A count, below the chapter's line to come."""
    print(f"          {text}")
