"""The workloads: what people do to a ModelDeployment while the operator is being disturbed.

Each has a setup that runs undisturbed, an action in which the plan's fault comes, and the end that must be reached.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from tests.faults.stage import NAME, Stage, manifest
from tests.faults.strangers import PATHS, look_alikes, namesake

Step = Callable[[Stage], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    name: str
    setup: Step
    act: Step
    settled: Callable[[Stage], str]  # "" when the end is reached, otherwise what is missing
    deployments: tuple[str, ...] = (NAME,)
    repeats: bool = False  # the moves of another workload, under other circumstances


def model(version: int) -> dict[str, Any]:
    return {"version": f"{version}.0.0", "storageUri": f"pvc://models/{NAME}/{version}"}


OPEN_PAUSE = {"canary": {"steps": [{"setWeight": 50}, {"pause": {}}]}}
GATED = {"canary": {"steps": [{"golden": {}}, {"setWeight": 50}]}}
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


async def gated_version(stage: Stage) -> None:
    """tests/simulated/stages.yaml plays what its Job finds. How many pods of gates there ever were is compared, too."""
    await stage.edit({"model": model(2), "rollout": GATED})


async def gated_bad_version(stage: Stage) -> None:
    wrong = {"version": "2.0.0", "storageUri": f"pvc://models/{NAME}/2-wrong"}
    await stage.edit({"model": wrong, "rollout": GATED})


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
    await stage.until(lambda: stage.has_pods(3), "what serves is scaled all the same")
    await stage.edit({"model": dict(good["spec"]["model"]), "replicas": 2})


async def fight_for_a_name(stage: Stage) -> None:
    """Somebody has the name that version 2 needs, and gives it up later."""
    await stage.plant(PATHS["Deployment"], namesake(2))
    await stage.edit({"model": model(2)})
    await stage.until(lambda: stage.says("NameCollision") or stage.is_untouched(), "the collision is told")
    await stage.remove(PATHS["Deployment"], f"{NAME}-r2")


async def serve_among_strangers(stage: Stage) -> None:
    """A second ModelDeployment, and look-alikes with all of our labels."""
    await serve(stage)
    other = await stage.create(manifest("rival"))
    await stage.until(lambda: stage.is_settled(name="rival"), "the rival serves")
    for body in look_alikes(1, 8, other):
        await stage.plant(PATHS[body["kind"]], body)


async def restore_without_status(stage: Stage) -> None:
    """A backup comes back: the resource without its status, the children with the owner that is no more."""
    before = stage.resource()
    assert before is not None  # setup has created it
    children = [stage.world.get(kind, name) for kind, name in RESTORED]
    await stage.delete()
    await stage.until(lambda: stage.is_gone(), "the old one is gone")
    for (kind, _), child in zip(RESTORED, children, strict=True):
        assert child is not None  # setup has waited for them
        await stage.restore(RESTORED_PATHS[kind], child)
    await stage.create({key: before[key] for key in ("apiVersion", "kind", "spec")} | {"metadata": {"name": NAME}})


async def lose_the_record(stage: Stage) -> None:
    """Somebody deletes the router's ConfigMap, and with it all that the operator knew."""
    await stage.remove(PATHS["ConfigMap"], f"{NAME}-router")
    await stage.until(
        lambda: "" if stage.world.get("configmaps", f"{NAME}-router") else "not there", "it is written again"
    )


RESTORED = (
    ("configmaps", f"{NAME}-router"),
    ("configmaps", f"{NAME}-r1"),
    ("controllerrevisions", f"{NAME}-r1"),
    ("deployments", f"{NAME}-r1"),
)
RESTORED_PATHS = {
    "configmaps": PATHS["ConfigMap"],
    "controllerrevisions": PATHS["ControllerRevision"],
    "deployments": PATHS["Deployment"],
}


def _among_strangers(stage: Stage) -> str:
    # The look-alike of a frozen revision has the highest number: ours is the next one, and never its.
    return stage.is_untouched() or stage.is_settled(name="rival") or stage.is_settled(stable=9, live=(9,))


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
            name="gate-pass",
            setup=serve,
            act=gated_version,
            settled=lambda stage: stage.is_settled(stable=2, live=(2,)),
        ),
        Workload(
            name="gate-fail",
            setup=serve,
            act=gated_bad_version,
            settled=lambda stage: stage.is_settled(ready=False, reason="GoldenFailed"),
        ),
        Workload(
            name="edit-mid-canary",
            setup=serve,
            act=edit_in_mid_canary,
            settled=lambda stage: stage.is_settled(stable=3, live=(3,)),
        ),
        Workload(name="promote", setup=serve, act=promote_by_hand, settled=_promoted_by_hand, repeats=True),
        Workload(
            repeats=True,
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
        Workload(
            repeats=True,
            name="collision",
            setup=serve,
            act=fight_for_a_name,
            settled=lambda stage: stage.is_settled(stable=2, live=(2,)),
        ),
        Workload(
            repeats=True,
            name="strangers",
            setup=serve_among_strangers,
            act=new_version,
            settled=_among_strangers,
            deployments=(NAME, "rival"),
        ),
        Workload(
            repeats=True,
            name="restore",
            setup=serve,
            act=restore_without_status,
            settled=lambda stage: stage.is_settled(),
        ),
        Workload(
            repeats=True, name="record-lost", setup=serve, act=lose_the_record, settled=lambda stage: stage.is_settled()
        ),
    )
}
