"""What status calls the verified weight while routers differ: the share that is farthest from the one asked for."""

from __future__ import annotations

import pytest

from slipway.core.snapshot import RouterAnswer, RouterView
from slipway.core.traffic import Confirmation, confirm
from tests.support.builders import NOW
from tests.support.stages import at
from tests.support.world import World


def heard(*routers: tuple[int, int]) -> Confirmation:
    """Each router's weight for revision 2, and how many healthy pods of it that router sees."""
    views = [
        RouterView(
            pod=f"router-{index}",
            answer=RouterAnswer(
                routes_version="v",
                clusters_version="v",
                weights={2: weight},
                healthy_members={2: members},
                active_requests={},
            ),
        )
        for index, (weight, members) in enumerate(routers)
    ]
    return confirm(routes_version="v", clusters_version="v", routers=views, changed_at=None, now=NOW)


@pytest.mark.parametrize(
    ("asked", "routers", "verified"),
    [
        (10, [(10, 1), (10, 1)], 10),
        (10, [(0, 1), (10, 1)], 0),
        (0, [(0, 1), (10, 1)], 10),
        (0, [(0, 1), (0, 1)], 0),
        (10, [(50, 1), (10, 1)], 50),
        (10, [(10, 0), (10, 1)], 0),
        (0, [(10, 0), (0, 1)], 0),
    ],
    ids=["agreed", "coming", "going", "gone", "becoming less", "no pod seen", "gone with its pods"],
)
def test_a_share_is_verified_when_the_last_router_has_it(
    asked: int, routers: list[tuple[int, int]], verified: int
) -> None:
    assert heard(*routers).towards(asked, 2) == verified


def test_status_does_not_call_a_share_gone_while_one_router_still_sends_it() -> None:
    """An abort, and a router that has not heard of it: a person who waits for 0 % must not be told so."""
    it = at("open pause")
    it.follow()
    deaf = it.tables["fraud-router-1"]
    it.annotate(action="abort", id="stop")
    for _ in range(5):
        it.run_pass()
        it.follow()
        it.tables["fraud-router-1"] = deaf
    assert shown(it) == {1: (100, 50), 2: (0, 50)}
    it.follow()
    it.run_pass()
    assert shown(it) == {1: (100, 100), 2: (0, 0)}


def shown(it: World) -> dict[int, tuple[int, int]]:
    return {line["revision"]: (line["weight"], line["verifiedWeight"]) for line in it.resource["status"]["revisions"]}
