"""One pass: a Snapshot becomes a Plan. Pure: the same snapshot always gives the same plan.

The order of the questions is the safety argument: a resource that goes away is left alone, a record that cannot be read
changes nothing, a revision is frozen only once it can start, what leaves is deleted only on what an earlier pass wrote.
"""

from __future__ import annotations

from dataclasses import replace

from slipway.api import names
from slipway.api.parse import parse_spec
from slipway.api.status import Cause, Reason
from slipway.api.types import JsonObject, Placement
from slipway.build.envoy_routes import RouteFiles
from slipway.build.route_table import Beside
from slipway.core import actions as wishes
from slipway.core import beside, comparison, gates, placement, recreate, traffic
from slipway.core import children as kids
from slipway.core import rollout as machine
from slipway.core import watch as watching
from slipway.core.capacity import pods_for, share_of, wanted_pods
from slipway.core.children import Running
from slipway.core.diagnosis import has_ended, is_ready
from slipway.core.facts import Facts, spec_cause
from slipway.core.findings import PREREQUISITE_RECHECK_S, Outcome, collect, confirmed_table, next_look
from slipway.core.news import news_of, turned
from slipway.core.ownership import left_by_predecessor
from slipway.core.plan import Action, Create, Delete, Plan, RemoveAnnotations
from slipway.core.questions import gate_pods, revision_of, router_pods
from slipway.core.record import GateResult, Record, RecordError, read_record
from slipway.core.report import Findings, build_status
from slipway.core.retire import adopt_orphans, forget, removable, retire
from slipway.core.revisions import spec_hash
from slipway.core.salvage import salvage
from slipway.core.sizes import Fleet, sizes
from slipway.core.snapshot import RouterView, Snapshot
from slipway.core.trial import Target, Trial, aim_weight, is_baking
from slipway.errors import SpecError

DELETION_RECHECK_S = 2.0
STALE_RECHECK_S = 2.0


def plan_pass(snapshot: Snapshot) -> Plan:
    """The plan of this pass. Never raises for anything that a user, an admin or a cluster can do."""
    resource = snapshot.resource
    if resource["metadata"].get("deletionTimestamp") is not None:
        return Plan(actions=(), status=None)
    if not (resource.get("status") or {}).get("conditions"):
        # The first sight is reported before any work: a resource without conditions reads as done to kstatus.
        accepted = Cause(reason=Reason.ACCEPTED, message="the operator has seen this spec and begins to work on it")
        return _halted(snapshot, accepted, 0.0, ready=None)
    children = snapshot.children
    everything = (*children.deployments, *children.services, *children.config_maps, *children.controller_revisions)
    if old := left_by_predecessor(everything, resource):
        what = f"{old[0].get('kind', 'object')} {old[0]['metadata']['name']}"
        message = f"{what} of an older ModelDeployment of this name is still being deleted"
        return _halted(snapshot, Cause(reason=Reason.WAITING_FOR_DELETION, message=message), DELETION_RECHECK_S)
    present = kids.owned(children, resource)
    try:
        spec = parse_spec(resource)
        record = read_record(present.get("ConfigMap", names.router_name(resource["metadata"]["name"])))
        if record is None:
            numbers = {number for item in present.by_kind["Deployment"].values() if (number := revision_of(item))}
            record = salvage(resource, snapshot.routers, numbers)
        if (stale := _older_than(record, resource)) is not None:
            return _halted(snapshot, stale, STALE_RECHECK_S)
        return _Pass.gather(snapshot, spec, present, record).plan()
    except SpecError as error:
        return _halted(snapshot, spec_cause(error), PREREQUISITE_RECHECK_S)
    except RecordError as error:
        return _halted(snapshot, Cause(reason=Reason.RECORD_DAMAGED, message=str(error)), PREREQUISITE_RECHECK_S)


class _Pass(Facts):
    """The decisions of one pass over its facts."""

    __slots__ = ()

    def plan(self) -> Plan:
        resource, now, spec = self.snapshot.resource, self.snapshot.now, self.spec
        table = self._render(self.before) if self.before.routed else None
        strict, shown = self._confirmations(table)
        after, may_remove = self._decide(strict)
        leaving = () if self._is_held(after) else removable(self.before, strict, self.ready)
        gone = tuple(number for number in leaving if after.retires(number) is not None)  # not one that is wanted again
        planned = self._sizes(after, strict, gone)
        deletions: list[Delete] = []
        for number in self._without_pods(gone, planned):
            drained = kids.drained_children(resource, self.present, number)
            deletions.extend(drained)
            if not drained:
                after = forget(after, (number,))
        after = placement.at_rest(after)
        is_same = _same_table(self.before, after) and self.before.stable == after.stable
        files = table if table is not None and is_same else self._render(after)
        running = self._running(after, planned, deletions)
        desired = kids.desired_children(resource, spec, self.snapshot.platform, after, files, running, self.new)
        routers = router_pods(self.snapshot.resource, self.snapshot.children)
        if self._holds_routers(after, routers):
            desired = kids.with_held_router(desired, self.present, resource["metadata"]["name"])
        actions = kids.actions_towards(desired, self.present)
        if kids.writes_routes(actions, resource["metadata"]["name"]) and not _same_table(self.before, after):
            actions += traffic.pokes(routers, now)
        elif strict is not None and strict.lagging:
            actions += traffic.repeated_pokes(routers, strict.lagging, self.before.changed_at, now)
        keep = [number for number in (self.update,) if number is not None]
        keep += machine.window_of(after, spec.rollout)
        actions += (
            *deletions,
            *(item for item in kids.surplus_budgets(desired, self.present) if item not in deletions),
            *kids.collected(resource, after, self.present, spec.revision_history_limit, keep),
        )
        if may_remove:
            actions += (self._acknowledge(),)
        # Last: a Job that is refused keeps back nothing that matters more.
        actions += self._job_actions(after)
        return self._report(Outcome(facts=self, after=after, strict=strict, shown=shown), actions)

    def _report(self, outcome: Outcome, actions: tuple[Action, ...]) -> Plan:
        findings = collect(outcome)
        status = build_status(self.snapshot.resource, findings, self.snapshot.now)
        return Plan(
            actions=actions,
            status=status,
            announcements=(
                *news_of(self.before, outcome.after, self.spec.rollout),
                *turned(self.snapshot.resource, status),
            ),
            confirmed=confirmed_table(outcome),
            recheck_s=next_look(outcome, findings, busy=bool(actions)),
        )

    def _render(self, record: Record) -> RouteFiles:
        """The route table that this record asks for. Half of a pass's time, so it is done once where nothing moves."""
        snapshot = self.snapshot
        return kids.route_files(snapshot.resource, record, self.revisions, self.spec.model_name, snapshot.platform)

    def _confirmations(
        self, files: RouteFiles | None
    ) -> tuple[traffic.Confirmation | None, traffic.Confirmation | None]:
        """The routers' word on the table that the record describes: strict for decisions, patient for the status."""
        if files is None:
            return None, None

        def ask(views: list[RouterView], *, patient: bool) -> traffic.Confirmation:
            return traffic.confirm(
                routes_version=files.routes_version,
                clusters_version=files.clusters_version,
                routers=views,
                changed_at=self.before.changed_at,
                now=self.snapshot.now,
                tolerate_silence=patient,
            )

        strict = ask(list(self.snapshot.routers), patient=False)
        if self.before.stable is None:
            return strict, strict
        # Once confirmed, only routers that get connections count for the status: one that starts is not a doubt.
        return strict, ask([view for view in self.snapshot.routers if view.pod_ready], patient=True)

    def _decide(self, confirmation: traffic.Confirmation | None) -> tuple[Record, bool]:
        """The record after this pass: what a person asks, what the spec asks, the rollout's step, the table's step."""
        now, spec, target = self.snapshot.now, self.spec, self._target()
        standing = (*self.present.by_kind["Deployment"].values(), *self.present.by_kind["Service"].values())
        numbers = [revision_of(item) for item in standing]
        record = adopt_orphans(self.before, (number for number in numbers if number is not None))
        wish = wishes.read_wish(self.snapshot.resource)
        record, may_remove = wishes.execute(self._refreshed(record), wish, target)
        if not spec.paused or record.stable is None:
            record = machine.retarget(record, target)
        if self.new is not None:
            record = replace(record, highest_revision=max(record.highest_revision, self.new.number))
        record, gate = self._gated(record)
        seen = watch = None
        if record.rollout is not None:
            record = self._watched(record, confirmation)
            watch = record.watch
            seen = self._seen(record)
            trial = replace(self._trial(record, confirmation, seen), gate=gate)
            record = machine.advance(record, target, trial)
        if not self._is_held(record):
            record = retire(record, spec.rollout, confirmation, self.ready, now)
        confirmed = confirmation.weights if confirmation is not None and confirmation.complete else {}
        record = recreate.with_gap(record, self.ready, confirmed, alone=self._is_alone(record), now=now)
        routed = traffic.next_table(record, self._aim(record), self.ready, confirmation)
        record = replace(record, routed=routed)
        record = replace(record, beside=self._beside(record, confirmation))
        if not _same_table(self.before, record):
            record = replace(record, changed_at=now)
        if seen is not None and record.watch is not None:
            if watch is None or record.watch.baked_from != watch.baked_from:  # the bake began in this pass
                seen = replace(seen, baked_from=record.watch.baked_from)
            record = replace(record, watch=self._written(record, record.watch, seen, confirmation))
        if record != self.before:
            record = replace(record, generation=self.snapshot.resource["metadata"]["generation"])
        return record, may_remove

    def _gated(self, record: Record) -> tuple[Record, GateResult | None]:
        """A gate's result is written in a pass of its own; only what an earlier pass wrote decides anything."""
        run = self._gate(record)
        known = gates.result_of(record, run)
        if run is None or known is not None:
            return record, known
        pods = gate_pods(self.snapshot.resource, self.snapshot.children, run.job)
        found = gates.read_result(run, self.present.get("Job", run.job), pods, self.snapshot.now)
        return (record if found is None else replace(record, gate=found)), None

    def _gate(self, record: Record) -> gates.Run | None:
        return gates.under_way(record, self.spec.rollout, self.snapshot.resource["metadata"]["name"])

    def _job_actions(self, after: Record) -> tuple[Action, ...]:
        run, resource, wanted = self._gate(after), self.snapshot.resource, None
        if run is not None and gates.result_of(after, run) is None and not self._is_held(after):
            wanted = gates.wanted_job(run, resource, self.revisions, self.digests, self.snapshot.platform)
        return kids.job_actions(resource, self.present, wanted, gates.kept_jobs(after, run))

    def _watched(self, record: Record, confirmation: traffic.Confirmation | None) -> Record:
        """The comparison begins in the pass in which every router confirms the first weight; at 100 % there is nothing to
        compare, but a bake that comes without a weight before it may have limits to keep."""
        asked, state = self.snapshot.comparison, record.rollout
        if record.watch is not None or asked is None or state is None or confirmation is None:
            return record
        if not confirmation.complete or (asked.canary, asked.stable) != (state.revision, record.stable):
            return record
        weight = confirmation.weight_of(asked.canary)
        judging, now = self.spec.rollout.judging, self.snapshot.now
        keeps_limits = weight == 100 and judging.has_limits and is_baking(state, self.spec.rollout)
        if not 0 < weight < 100 and not keeps_limits:
            return record
        begun = watching.begin(asked.canary, asked.stable, weight, judging, self.snapshot.routers, now)
        return replace(record, watch=begun)

    def _seen(self, record: Record) -> watching.Watch | None:
        """The comparison as of now."""
        asked, watch = self.snapshot.comparison, record.watch
        if asked is None or watch is None or (asked.canary, asked.stable) != (watch.canary, watch.stable):
            return None
        return watching.advanced(watch, self.spec.rollout.judging, self.snapshot.routers)

    def _written(
        self, record: Record, before: watching.Watch, seen: watching.Watch, confirmation: traffic.Confirmation | None
    ) -> watching.Watch:
        """What the record keeps of it: everything in a pass that writes the record anyway, else only when it is due."""
        now, weight = self.snapshot.now, before.weight
        if confirmation is not None and confirmation.complete:
            weight = self.before.weight_of(before.canary)  # a pod that comes and goes closes no segment
        if record == self.before and not watching.is_due(before, seen, weight=weight, now=now):
            return before
        return watching.written(before, seen, weight=weight, now=now)

    def _target(self) -> Target:
        wanted, stable = spec_hash(self.snapshot.resource), self.revisions.get(self.before.stable or 0)
        return Target(
            spec_hash=wanted,
            update=self.update,
            versions={number: revision.version for number, revision in self.revisions.items()},
            hashes={number: revision.spec_hash for number, revision in self.revisions.items()},
            rollout=self.spec.rollout,
            replicas=self.spec.replicas,
            paused=self.spec.paused,
            outdated=self.update in self.outdated,
            refreshes=stable is not None and stable.number != self.update and stable.spec_hash == wanted,
            now=self.snapshot.now,
        )

    def _refreshed(self, record: Record) -> Record:
        """A wish to refresh ends with the new revision, or with the reason why there can be none."""
        if record.refreshing is None or (
            self.update is not None and self.update <= record.refreshing and not self.obstacle
        ):
            return record
        ended = replace(record, refreshing=None)
        if self.obstacle is None or record.last_action is None:
            return ended
        refusal = replace(record.last_action, result="Rejected", message=self.obstacle.message)
        return replace(ended, last_action=refusal)

    def _trial(self, record: Record, confirmation: traffic.Confirmation | None, seen: watching.Watch | None) -> Trial:
        assert record.rollout is not None  # the caller has checked it
        number = record.rollout.revision
        confirmed = confirmation is not None and confirmation.complete
        return Trial(
            needed=self._needed(record),
            ready=self.standing.get(number, 0),
            cause=self.troubles.get(number),
            verified_weight=confirmation.weight_of(number) if confirmation is not None and confirmed else 0,
            table_confirmed=confirmed,
            found=comparison.findings(seen or record.watch, self.spec.rollout, record.rollout.step),
            alone=self._is_alone(record),
        )

    def _aim(self, record: Record) -> traffic.Aim:
        state = record.rollout
        if state is None:
            return traffic.Aim(revision=record.stable, weight=100, needed_members=1)
        weight = aim_weight(state, self.spec.rollout)
        if self._is_held(record):
            if not record.is_routed(state.revision):
                return traffic.Aim(revision=None, weight=0, needed_members=1)
            weight = min(weight, record.weight_of(state.revision))
        # Where nothing else answers, one ready pod may serve; otherwise the capacity for the share comes first.
        if record.stable is None or self._is_alone(record):
            return traffic.Aim(revision=state.revision, weight=weight, needed_members=1)
        replicas, place = self.spec.replicas, self.spec.rollout.placement
        now_weight, standing = record.weight_of(state.revision), self.standing.get(state.revision, 0)
        if place is Placement.REPLACE:
            # On the way to the step's weight the share follows each pod that has changed sides.
            weight = max(min(weight, share_of(standing, replicas)), min(weight, now_weight))
        needed = pods_for(weight, replicas, place)
        if standing < needed:
            weight = min(weight, now_weight)  # ready, but not for minReadySeconds yet
        return traffic.Aim(revision=state.revision, weight=weight, needed_members=needed)

    def _beside(self, record: Record, confirmation: traffic.Confirmation | None) -> Beside:
        """Pods before routes, as before weights: those of the present step, in a place that is confirmed already."""
        state, may_come = record.rollout, False
        if state is not None and confirmation is not None and confirmation.complete:
            number, least = state.revision, self._needed(record)
            seen = min(self.standing.get(number, 0), confirmation.members.get(number, 0))
            may_come = self.before.is_routed(number) and seen >= least
        return beside.next_beside(
            record,
            self.spec.rollout,
            held=self._is_held(record),
            may_come=may_come,
            takes_copies=state is not None and beside.takes_copies(self.revisions.get(state.revision)),
        )

    def _needed(self, record: Record) -> int:
        """Pods that the present step of the revision on trial needs."""
        state, rollout = record.rollout, self.spec.rollout
        assert state is not None  # the caller has checked it
        aim = aim_weight(state, rollout)
        return wanted_pods(record, rollout, self.spec.replicas, aim, state.revision)

    def _is_held(self, record: Record) -> bool:
        """By spec.paused or by hand: no pod, weight or route changes, except for safety and to repair drift."""
        by_hand = record.rollout is not None and record.rollout.held
        return (self.spec.paused or by_hand) and record.stable is not None and not self._is_alone(record)

    def _is_alone(self, record: Record) -> bool:
        return recreate.is_alone(record, self.asked.get(record.stable or 0))

    def _sizes(self, after: Record, strict: traffic.Confirmation | None, gone: tuple[int, ...]) -> dict[int, int]:
        """Every revision that should have pods, and how many."""
        fleet = Fleet(
            before=self.before,
            after=after,
            rollout=self.spec.rollout,
            replicas=self.spec.replicas,
            asked=self.asked,
            pods={number: sum(1 for pod in pods if not has_ended(pod)) for number, pods in self.pods.items()},
            confirmed=strict is not None and strict.complete,
            leaving=frozenset(gone),
            held=self._is_held(after),
        )
        return sizes(fleet)

    def _without_pods(self, gone: tuple[int, ...], planned: dict[int, int]) -> tuple[int, ...]:
        """Of those that may be deleted, the ones whose places nobody waits for: the others' pods are seen to go first."""
        places = {number for number in gone if planned.get(number) == 0 and self.pods.get(number)}
        return tuple(number for number in gone if number not in places)

    def _running(self, after: Record, planned: dict[int, int], deletions: list[Delete]) -> tuple[Running, ...]:
        """The same as children, but for what is deleted in this pass."""
        name = self.snapshot.resource["metadata"]["name"]
        deleted = {item.name for item in deletions if item.kind == "Deployment"}
        return tuple(
            Running(
                revision=self.revisions[number],
                replicas=replicas,
                digest=self.digests.get(number),
                restarted=after.restarted.get(number),
            )
            for number, replicas in planned.items()
            if number in self.revisions and names.revision_name(name, number) not in deleted
        )

    def _holds_routers(self, after: Record, routers: tuple[JsonObject, ...]) -> bool:
        """A new router template waits for a quiet moment, of this deployment and of the fleet; unless no router is ready:
        then there is nothing to protect, and the new template may be the cure."""
        if not any(is_ready(pod) for pod in routers):
            return False
        is_busy = any(record.rollout is not None or record.retiring for record in (self.before, after))
        return is_busy or self.snapshot.router_rolls_elsewhere >= kids.ROUTER_ROLLS

    def _acknowledge(self) -> RemoveAnnotations:
        metadata = self.snapshot.resource["metadata"]
        return RemoveAnnotations(
            namespace=metadata["namespace"],
            name=metadata["name"],
            uid=metadata["uid"],
            expected=wishes.to_remove(self.snapshot.resource),
        )


def _same_table(before: Record, after: Record) -> bool:
    return (before.routed, before.beside) == (after.routed, after.beside)


def _older_than(record: Record, resource: JsonObject) -> Cause | None:
    """The caches of two kinds can lag behind each other. A spec that is older than the one which the record is about would
    undo a rollout that was just asked for; a status that says so is refused by the API server while that is the reason."""
    generation = resource["metadata"]["generation"]
    if record.generation <= generation:
        return None
    message = (
        f"state.json is about generation {record.generation} of the spec, generation {generation} was read: an old copy; "
        "nothing is changed until the newer one is seen"
    )
    return Cause(reason=Reason.RECORD_DAMAGED, message=message)


def _halted(snapshot: Snapshot, cause: Cause, recheck_s: float, *, ready: bool | None = False) -> Plan:
    """Nothing is changed; status says why. What serves, serves on."""
    findings = Findings(cause=cause, ready=ready)
    status = build_status(snapshot.resource, findings, snapshot.now)
    return Plan(actions=(), status=status, announcements=turned(snapshot.resource, status), recheck_s=recheck_s)


def failed_status(snapshot: Snapshot, cause: Cause) -> Plan:
    """What to report when an action of the plan failed: never what was planned, always what stands."""
    return _halted(snapshot, cause, PREREQUISITE_RECHECK_S)


def creates(plan: Plan) -> tuple[str, ...]:
    """Kind and name of what the plan creates; for logs."""
    return tuple(
        f"{action.manifest['kind']}/{action.manifest['metadata']['name']}"
        for action in plan.actions
        if isinstance(action, Create)
    )
