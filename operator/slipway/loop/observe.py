"""Reads everything that one pass needs into a Snapshot: caches first, then the few questions that only live parts answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from slipway.adapters.clock import Clock
from slipway.adapters.store import Stores
from slipway.api.types import JsonObject, Platform
from slipway.core import questions
from slipway.core.diagnosis import is_ready
from slipway.core.snapshot import (
    Children,
    Comparison,
    ModelState,
    Profiles,
    RouterAnswer,
    RouterView,
    Signature,
    Snapshot,
    Times,
    TimesView,
)
from slipway.errors import SlipwayError, Unreachable
from slipway.loop.fleet import Fleet

# Between two questions for Triton's own times, in seconds; after one that had no answer a slow pod must not make every pass
# of the rollout slow.
TIMES_EVERY_S, TIMES_AFTER_SILENCE_S = 2.0, 10.0


async def as_known(resource: JsonObject) -> JsonObject | None:
    return resource


class RouterDoor(Protocol):
    async def inspect(self, pod_ip: str, comparison: Comparison | None = None) -> RouterAnswer: ...


class TritonDoor(Protocol):
    async def model_state(self, pod: str, ip: str, model: str, revision: int) -> ModelState: ...

    async def signature(self, ip: str, model: str, revision: int) -> Signature: ...

    async def times(self, ip: str, model: str, revision: int) -> Times: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Observer:
    """The reading half of the loop. The only memory is since when a router has been silent, losing which costs 30 s, and
    when Tritons are to be asked for their times again, losing which costs a question."""

    stores: Stores
    routers: RouterDoor
    triton: TritonDoor
    clock: Clock
    platform: Platform
    profiles: Callable[[], Profiles]
    fleet: Fleet
    claim_exists: Callable[[str, str], Awaitable[bool]]
    owner: Callable[[JsonObject], Awaitable[JsonObject | None]] = as_known  # None: its children are being collected
    # namespace, name → router pod uid → monotonic seconds; of the pods that were silent when last asked
    silent_since: dict[tuple[str, str], dict[str, float]] = field(default_factory=dict)
    # namespace, name → monotonic seconds; of rollouts that are judged by Triton's own times
    times_again_at: dict[tuple[str, str], float] = field(default_factory=dict)

    async def observe(self, namespace: str, name: str) -> Snapshot | None:
        """The snapshot of one ModelDeployment, None if it is gone. Raises TransientError if the API server must be asked
        and does not answer; silent routers and Tritons are facts, not errors."""
        resource = self.stores.model_deployments.get(namespace, name)
        if resource is not None:
            resource = await self.owner(resource)
        if resource is None:
            self.silent_since.pop((namespace, name), None)
            self.times_again_at.pop((namespace, name), None)
            return None
        children = self._children(namespace, name)
        claim = questions.claim_to_look_up(resource, children)
        comparison = questions.comparison_under_way(resource, children)
        model_name = (resource.get("spec") or {}).get("modelName") or name
        timed = questions.times_to_read(resource, children, comparison, self.clock.now())
        routers, models, times, signature, claim_exists = await asyncio.gather(
            self._ask_routers(namespace, name, questions.routers_to_ask(resource, children), comparison),
            asyncio.gather(*(self._ask_model(pod, model_name) for pod in questions.models_to_ask(resource, children))),
            self._read_times(namespace, name, timed, model_name),
            self._read_signature(questions.signature_to_read(resource, children), model_name),
            self._look_up(namespace, claim),
        )
        return Snapshot(
            now=self.clock.now(),
            resource=resource,
            platform=self.platform,
            profiles=self.profiles(),
            children=children,
            comparison=comparison,
            routers=routers,
            models=tuple(model for model in models if model is not None),
            times=times,
            signature=signature,
            router_rolls_elsewhere=self.fleet.rolling_elsewhere(namespace, name),
            claim_exists=claim_exists,
        )

    def _children(self, namespace: str, name: str) -> Children:
        stores = self.stores
        return Children(
            deployments=stores.deployments.for_deployment(namespace, name),
            services=stores.services.for_deployment(namespace, name),
            config_maps=stores.config_maps.for_deployment(namespace, name),
            controller_revisions=stores.controller_revisions.for_deployment(namespace, name),
            disruption_budgets=stores.disruption_budgets.for_deployment(namespace, name),
            replica_sets=stores.replica_sets.for_deployment(namespace, name),
            jobs=stores.jobs.for_deployment(namespace, name),
            pods=stores.pods.for_deployment(namespace, name),
        )

    async def _ask_routers(
        self, namespace: str, name: str, pods: tuple[JsonObject, ...], comparison: Comparison | None
    ) -> tuple[RouterView, ...]:
        """All at once. Who is silent now is remembered until it answers or is gone."""
        before = self.silent_since.pop((namespace, name), {})
        silent: dict[str, float] = {}
        views = await asyncio.gather(*(self._ask_router(pod, before, silent, comparison) for pod in pods))
        if silent:
            self.silent_since[namespace, name] = silent
        return tuple(views)

    async def _ask_router(
        self, pod: JsonObject, before: dict[str, float], silent: dict[str, float], comparison: Comparison | None
    ) -> RouterView:
        uid, name = pod["metadata"]["uid"], pod["metadata"]["name"]
        facts: dict[str, Any] = {"pod": name, "key": questions.router_key(pod), "pod_ready": is_ready(pod)}
        try:
            answer = await self.routers.inspect(questions.pod_ip(pod), comparison)
        except Unreachable as error:
            now = self.clock.monotonic()
            silent[uid] = before.get(uid, now)
            silent_s = now - silent[uid]
            return RouterView(answer=None, error=str(error), unreachable_s=silent_s, **facts)
        return RouterView(answer=answer, **facts)

    async def _ask_model(self, pod: JsonObject, model: str) -> ModelState | None:
        revision = questions.revision_of(pod)
        if revision is None:
            return None
        return await self.triton.model_state(pod["metadata"]["name"], questions.pod_ip(pod), model, revision)

    async def _read_times(
        self, namespace: str, name: str, pods: tuple[JsonObject, ...], model: str
    ) -> tuple[TimesView, ...]:
        """All at once, and not in every pass."""
        now, again_at = self.clock.monotonic(), self.times_again_at.pop((namespace, name), 0.0)
        if not pods:
            return ()
        if now < again_at:
            self.times_again_at[namespace, name] = again_at
            return ()
        views = await asyncio.gather(*(self._read_times_of(pod, model) for pod in pods))
        all_told = all(view.times is not None for view in views)
        self.times_again_at[namespace, name] = now + (TIMES_EVERY_S if all_told else TIMES_AFTER_SILENCE_S)
        return tuple(views)

    async def _read_times_of(self, pod: JsonObject, model: str) -> TimesView:
        revision = questions.revision_of(pod) or 0
        times, error = None, ""
        try:
            times = await self.triton.times(questions.pod_ip(pod), model, revision)
        except Unreachable as refusal:
            error = str(refusal)
        name, key = pod["metadata"]["name"], questions.triton_key(pod)
        return TimesView(pod=name, revision=revision, key=key, times=times, error=error)

    async def _read_signature(self, place: tuple[JsonObject, int] | None, model: str) -> Signature | None:
        if place is None:
            return None
        pod, revision = place
        try:
            return await self.triton.signature(questions.pod_ip(pod), model, revision)
        except SlipwayError:
            return None  # asked again in the next pass; a signature is information, never a condition

    async def _look_up(self, namespace: str, claim: str | None) -> bool | None:
        return None if claim is None else await self.claim_exists(namespace, claim)
