"""One pass: a Snapshot becomes a Plan. Pure: the same snapshot always gives the same plan.

The order of the questions is the safety argument: a resource that goes away is left alone, a record that cannot be read
changes nothing, a revision is frozen only once it can start, what leaves is deleted only on what an earlier pass wrote.
"""

from __future__ import annotations

from slipway.api import names
from slipway.api.parse import parse_spec
from slipway.api.reasons import Reason
from slipway.api.status import Cause
from slipway.api.types import JsonObject
from slipway.build.envoy_routes import RouteFiles
from slipway.core import actions as wishes
from slipway.core import children as kids
from slipway.core import gates, placement, traffic
from slipway.core import rollout as machine
from slipway.core.children import Running
from slipway.core.decision import Decision, same_table
from slipway.core.diagnosis import has_ended, is_ready
from slipway.core.facts import spec_cause
from slipway.core.findings import PREREQUISITE_RECHECK_S, Outcome, collect, confirmed_table, next_look
from slipway.core.news import news_of, restored, turned
from slipway.core.ownership import left_by_predecessor
from slipway.core.plan import Action, Create, Delete, Plan, RemoveAnnotations
from slipway.core.questions import revision_of, router_pods
from slipway.core.record import Record, RecordError, read_record
from slipway.core.report import Findings, build_status
from slipway.core.retire import forget, removable
from slipway.core.salvage import salvage
from slipway.core.sizes import Fleet, sizes
from slipway.core.snapshot import RouterView, Snapshot
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


class _Pass(Decision):
    """The decision of one pass over its facts, and the actions that carry it out."""

    __slots__ = ()

    def plan(self) -> Plan:
        resource, now, spec = self.snapshot.resource, self.snapshot.now, self.spec
        table = self._render(self.before) if self.before.routed else None
        strict, shown = self._confirmations(table)
        after, may_remove = self.decide(strict)
        leaving = () if self.is_held(after) else removable(self.before, strict, self.ready)
        gone = tuple(number for number in leaving if after.retires(number) is not None)  # not one that is wanted again
        planned = self._sizes(after, strict, gone)
        deletions: list[Delete] = []
        for number in self._without_pods(gone, planned):
            drained = kids.drained_children(resource, self.present, number)
            deletions.extend(drained)
            if not drained:
                after = forget(after, (number,))
        after = placement.at_rest(after)
        is_same = same_table(self.before, after) and self.before.stable == after.stable
        files = table if table is not None and is_same else self._render(after)
        running = self._running(after, planned, deletions)
        desired = kids.desired_children(resource, spec, self.snapshot.platform, after, files, running, self.new)
        routers = router_pods(self.snapshot.resource, self.snapshot.children)
        if self._holds_routers(after, routers):
            desired = kids.with_held_router(desired, self.present, resource["metadata"]["name"])
        actions = kids.actions_towards(desired, self.present)
        if kids.writes_routes(actions, resource["metadata"]["name"]) and not same_table(self.before, after):
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
        outcome = Outcome(facts=self, after=after, strict=strict, shown=shown, suspected=self.suspects(after, strict))
        return self._report(outcome, actions, kids.edited_routes(desired, self.present, resource["metadata"]["name"]))

    def _report(self, outcome: Outcome, actions: tuple[Action, ...], edited: tuple[str, ...]) -> Plan:
        findings = collect(outcome)
        status = build_status(self.snapshot.resource, findings, self.snapshot.now)
        return Plan(
            actions=actions,
            status=status,
            announcements=(
                *news_of(self.before, outcome.after, self.spec.rollout),
                *restored(edited),
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

    def _job_actions(self, after: Record) -> tuple[Action, ...]:
        run, resource, wanted = self.gate_under_way(after), self.snapshot.resource, None
        if run is not None and gates.result_of(after, run) is None and not self.is_held(after):
            wanted = gates.wanted_job(run, resource, self.revisions, self.digests, self.snapshot.platform)
        return kids.job_actions(resource, self.present, wanted, gates.kept_jobs(after, run))

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
            held=self.is_held(after),
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
