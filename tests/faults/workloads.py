"""The workloads: what people do to a ModelDeployment while the operator is being disturbed.

Each has a setup that runs undisturbed, an action in which the plan's fault comes, and the end that must be reached.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from tests.faults.stage import NAME, Stage, manifest

Step = Callable[[Stage], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    name: str
    setup: Step
    act: Step
    settled: Callable[[Stage], str]  # "" when the end is reached, otherwise what is missing
    deployments: tuple[str, ...] = (NAME,)


def model(version: int) -> dict[str, Any]:
    return {"version": f"{version}.0.0", "storageUri": f"pvc://models/{NAME}/{version}"}


OPEN_PAUSE = {"canary": {"steps": [{"setWeight": 50}, {"pause": {}}]}}
TIMED_PAUSE = {"canary": {"steps": [{"setWeight": 50}, {"pause": {"durationSeconds": 1}}]}}


async def nothing(stage: Stage) -> None:
    return


async def serve(stage: Stage) -> None:
    """The usual beginning: version 1 serves on two pods."""
    await stage.create(manifest())
    await stage.until(lambda: stage.is_settled(), "version 1 serves")


async def create(stage: Stage) -> None:
    await stage.create(manifest())


async def scale(stage: Stage) -> None:
    await stage.edit({"replicas": 3, "traffic": {"router": {"replicas": 2}}})
    await stage.until(lambda: stage.is_settled(), "three replicas serve")
    await stage.edit({"replicas": 1, "traffic": {"router": {"replicas": 1}}})


async def new_version(stage: Stage) -> None:
    await stage.edit({"model": model(2)})


async def bad_version(stage: Stage) -> None:
    await stage.edit({"model": model(2), "runtime": {"profile": "simulated-bad-load"}})


async def edit_in_mid_canary(stage: Stage) -> None:
    await stage.edit({"model": model(2), "rollout": OPEN_PAUSE})
    await stage.until(lambda: stage.is_at_open_pause(50, 2), "version 2 has its half")
    await stage.edit({"model": model(3), "rollout": TIMED_PAUSE})


async def promote_by_hand(stage: Stage) -> None:
    await stage.edit({"model": model(2), "rollout": OPEN_PAUSE})
    await stage.until(lambda: stage.is_at_open_pause(50, 2), "version 2 has its half")
    await stage.annotate(action="promote")


async def abort_by_hand(stage: Stage) -> None:
    await stage.edit({"model": model(2), "rollout": OPEN_PAUSE})
    await stage.until(lambda: stage.is_at_open_pause(50, 2), "version 2 has its half")
    await stage.annotate(action="abort", action_id="by-hand-1")


async def delete(stage: Stage) -> None:
    await stage.delete(propagation="Foreground")


async def delete_and_create_again(stage: Stage) -> None:
    await stage.delete()
    await stage.create(manifest(version=5))


async def bad_spec_and_back(stage: Stage) -> None:
    good = stage.resource()
    assert good is not None  # setup has created it
    await stage.edit({"model": {"version": "9.9.9", "storageUri": "pvc://no-such-claim/fraud/9"}, "replicas": 3})
    await stage.until(lambda: stage.says("ClaimNotFound"), "the bad spec is answered")
    await stage.edit({"model": dict(good["spec"]["model"]), "replicas": 2})


def _promoted_by_hand(stage: Stage) -> str:
    resource = stage.resource() or {}
    left = [key for key in resource.get("metadata", {}).get("annotations") or {} if key.startswith("slipway.dev/")]
    return f"annotations are still there: {left}" if left else stage.is_settled(stable=2, live=(2,))


WORKLOADS = {
    item.name: item
    for item in (
        Workload(name="create", setup=nothing, act=create, settled=lambda stage: stage.is_settled()),
        Workload(
            name="scale",
            setup=serve,
            act=scale,
            settled=lambda stage: stage.is_settled(),
        ),
        Workload(
            name="canary-pass",
            setup=serve,
            act=new_version,
            settled=lambda stage: stage.is_settled(stable=2, live=(2,)),
        ),
        Workload(
            name="canary-fail",
            setup=serve,
            act=bad_version,
            settled=lambda stage: stage.is_settled(ready=False, reason="ModelLoadFailed"),
        ),
        Workload(
            name="edit-mid-canary",
            setup=serve,
            act=edit_in_mid_canary,
            settled=lambda stage: stage.is_settled(stable=3, live=(3,)),
        ),
        Workload(name="promote", setup=serve, act=promote_by_hand, settled=_promoted_by_hand),
        Workload(
            name="abort",
            setup=serve,
            act=abort_by_hand,
            settled=lambda stage: stage.is_settled(ready=False, reason="Aborted"),
        ),
        Workload(name="delete", setup=serve, act=delete, settled=lambda stage: stage.is_gone()),
        Workload(
            name="recreate",
            setup=serve,
            act=delete_and_create_again,
            settled=lambda stage: stage.is_settled(),
        ),
        Workload(
            name="bad-revert",
            setup=serve,
            act=bad_spec_and_back,
            settled=lambda stage: stage.is_settled(),
        ),
    )
}
