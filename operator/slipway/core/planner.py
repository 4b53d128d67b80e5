"""One pass: a Snapshot becomes a Plan. Pure: the same snapshot always gives the same plan.

The order of the questions is the safety argument: a resource that goes away is left alone, a record that cannot be read
changes nothing, a revision is frozen only once it can start, what leaves is deleted only on what an earlier pass wrote.
"""

from __future__ import annotations

from dataclasses import replace

from slipway.api import names
from slipway.api.parse import parse_spec
from slipway.api.profile import parse_profile
from slipway.api.status import Cause, Kind, Reason
from slipway.core import actions as wishes
from slipway.core import children as kids
from slipway.core import rollout as machine
from slipway.core import traffic
from slipway.core.children import Running
from slipway.core.diagnosis import is_terminating
from slipway.core.facts import Facts, spec_cause
from slipway.core.judgement import Evidence, availability, judge, pause_cause
from slipway.core.news import news_of, turned
from slipway.core.ownership import left_by_predecessor
from slipway.core.plan import Action, Confirmed, Create, Delete, Plan, RemoveAnnotations
from slipway.core.questions import revision_of, router_pods
from slipway.core.record import Record, RecordError, read_record
from slipway.core.report import Findings, RevisionReport, RolloutReport, build_status
from slipway.core.retire import adopt_orphans, forget, next_look_s, removable, retire
from slipway.core.revisions import Revision, profile_hash, spec_hash
from slipway.core.snapshot import RouterView, Snapshot
from slipway.errors import SpecError

PREREQUISITE_RECHECK_S = 10.0  # a claim, a profile, a name may appear without an event for us
DELETION_RECHECK_S = 2.0
FAILURE_RECHECK_S = 15.0  # a pod that failed may be mended from outside
PROGRESS_RECHECK_S = 5.0
QUIET_RECHECK_S = 60.0  # routers are asked again; it costs the API server nothing


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
        return _Pass.gather(snapshot, spec, present, record or Record()).plan()
    except SpecError as error:
        return _halted(snapshot, spec_cause(error), PREREQUISITE_RECHECK_S)
    except RecordError as error:
        return _halted(snapshot, Cause(reason=Reason.RECORD_DAMAGED, message=str(error)), PREREQUISITE_RECHECK_S)


class _Pass(Facts):
    """The decisions of one pass over its facts."""

    __slots__ = ()

    def plan(self) -> Plan:
        resource, now, spec = self.snapshot.resource, self.snapshot.now, self.spec
        strict, shown = self._confirmations()
        after, may_remove = self._decide(strict)
        gone = removable(self.before, strict)
        deletions: list[Delete] = []
        for number in gone:
            drained = kids.drained_children(resource, self.present, number)
            deletions.extend(drained)
            if not drained:
                after = forget(after, (number,))
        files = kids.route_files(resource, after, self.revisions, spec.model_name, self.snapshot.platform)
        running = self._running(after, gone)
        desired = kids.desired_children(resource, spec, self.snapshot.platform, after, files, running, self.new)
        actions = kids.actions_towards(desired, self.present)
        routers = router_pods(self.snapshot.resource, self.snapshot.children)
        if kids.writes_routes(actions, resource["metadata"]["name"]) and after.routed != self.before.routed:
            actions += traffic.pokes(routers, None, now)
        elif strict is not None and strict.lagging:
            actions += traffic.pokes(routers, strict.lagging, now)
        keep = [number for number in (self.update,) if number is not None]
        actions += (
            *deletions,
            *(item for item in kids.surplus_budgets(desired, self.present) if item not in deletions),
            *kids.collected(resource, after, self.present, spec.revision_history_limit, keep),
        )
        if may_remove:
            actions += (self._acknowledge(),)
        return self._report(after, strict, shown, actions)

    def _confirmations(self) -> tuple[traffic.Confirmation | None, traffic.Confirmation | None]:
        """The routers' word on the table that the record describes: strict for decisions, patient for the status."""
        if not self.before.routed:
            return None, None
        files = kids.route_files(
            self.snapshot.resource, self.before, self.revisions, self.spec.model_name, self.snapshot.platform
        )

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
        now, spec, wanted = self.snapshot.now, self.spec, spec_hash(self.snapshot.resource)
        versions = {number: revision.version for number, revision in self.revisions.items()}
        with_pods = [revision_of(item) for item in self.present.by_kind["Deployment"].values()]
        record = adopt_orphans(self.before, (number for number in with_pods if number is not None))
        wish = wishes.read_wish(self.snapshot.resource)
        record, may_remove = wishes.execute(record, wish, spec.rollout, wanted, self.update, versions, now)
        if not spec.paused or record.stable is None:
            record = machine.retarget(record, wanted, self.update, versions, now)
        if self.new is not None:
            record = replace(record, highest_revision=max(record.highest_revision, self.new.number))
        if record.rollout is not None:
            trial = self._trial(record, confirmation)
            record = machine.advance(record, spec.rollout, trial, wanted, versions, now, paused=spec.paused)
        record = retire(record, spec.rollout, confirmation, now)
        routed = traffic.next_table(record, self._aim(record), self.ready, confirmation)
        if routed != self.before.routed:
            record = replace(record, routed=routed, changed_at=now)
        return record, may_remove

    def _trial(self, record: Record, confirmation: traffic.Confirmation | None) -> machine.Trial:
        assert record.rollout is not None  # the caller has checked it
        number = record.rollout.revision
        confirmed = confirmation is not None and confirmation.complete
        return machine.Trial(
            needed=self._wanted_replicas(record, number),
            ready=self.ready.get(number, 0),
            cause=self.troubles.get(number),
            verified_weight=confirmation.weight_of(number) if confirmation is not None and confirmed else 0,
            table_confirmed=confirmed,
        )

    def _aim(self, record: Record) -> traffic.Aim:
        state = record.rollout
        if state is None:
            return traffic.Aim(revision=record.stable, weight=100, needed_members=1)
        weight = machine.aim_weight(state, self.spec.rollout)
        if self.spec.paused and record.stable is not None:
            weight = min(weight, record.weight_of(state.revision))
        # The first candidate may serve as soon as one pod is ready; later ones bring the capacity for their share first.
        needed = 1 if record.stable is None else machine.replicas_for(weight, self.spec.replicas)
        return traffic.Aim(revision=state.revision, weight=weight, needed_members=needed)

    def _wanted_replicas(self, record: Record, number: int) -> int:
        state = record.rollout
        if number == record.stable or state is None or state.direct or record.stable is None:
            return self.spec.replicas
        weight = max(machine.aim_weight(state, self.spec.rollout), record.weight_of(number))
        return machine.replicas_for(weight, self.spec.replicas)

    def _running(self, after: Record, gone: tuple[int, ...]) -> tuple[Running, ...]:
        """Every revision that should have pods, and how many. One that leaves keeps what it has until it has drained."""
        found = []
        for number in after.live:
            revision = self.revisions.get(number)
            if revision is None or number in gone:
                continue
            leaving = after.retires(number) is not None
            if leaving:
                name = names.revision_name(self.snapshot.resource["metadata"]["name"], number)
                live = self.present.get("Deployment", name)
                if live is None:
                    continue
                replicas = int(live["spec"].get("replicas", 1))
            else:
                replicas = self._wanted_replicas(after, number)
            found.append(Running(revision=revision, replicas=replicas, digest=self.digests.get(number)))
        return tuple(found)

    def _acknowledge(self) -> RemoveAnnotations:
        metadata = self.snapshot.resource["metadata"]
        return RemoveAnnotations(
            namespace=metadata["namespace"],
            name=metadata["name"],
            uid=metadata["uid"],
            expected=wishes.to_remove(self.snapshot.resource),
        )

    def _report(
        self,
        after: Record,
        strict: traffic.Confirmation | None,
        shown: traffic.Confirmation | None,
        actions: tuple[Action, ...],
    ) -> Plan:
        resource, now = self.snapshot.resource, self.snapshot.now
        routers = router_pods(self.snapshot.resource, self.snapshot.children)
        evidence = Evidence(
            resource=resource,
            spec=self.spec,
            present=self.present,
            record=after,
            revisions=self.revisions,
            update=self.update,
            obstacle=self.obstacle,
            ready=self.ready,
            troubles=self.troubles,
            routers=routers,
            shown=shown,
            drifted=self.drifted,
        )
        cause, serves = judge(evidence)
        serving = after.stable if after.stable is not None else (after.rollout.revision if after.rollout else None)
        standing = sum(self.ready.get(entry.revision, 0) for entry in after.routed if entry.weight > 0)
        available = availability(standing if after.routed else self.ready.get(serving or 0, 0), routers)
        findings = Findings(
            cause=cause,
            ready=serves,
            paused=pause_cause(evidence),
            available=available,
            is_available=available.reason.kind is Kind.WELL,
            stable=after.stable,
            update=self.update if self.update is not None else serving,
            revisions=tuple(self._line(number, after, shown) for number in after.live),
            rollout=self._rollout_report(after),
            history=after.history,
            last_action=after.last_action,
            signature=self.snapshot.signature,
        )
        status = build_status(resource, findings, now)
        return Plan(
            actions=actions,
            status=status,
            announcements=(*news_of(self.before, after), *turned(resource, status)),
            confirmed=self._confirmed(strict),
            recheck_s=self._recheck_s(after, cause, strict, shown, serves=serves, busy=bool(actions)),
        )

    def _confirmed(self, strict: traffic.Confirmation | None) -> Confirmed | None:
        written_at = self.before.changed_at
        if strict is None or not strict.complete or written_at is None:
            return None
        if any(strict.weight_of(entry.revision) != entry.weight for entry in self.before.routed):
            return None
        return Confirmed(written_at=written_at, after_s=(self.snapshot.now - written_at).total_seconds())

    def _line(self, number: int, after: Record, shown: traffic.Confirmation | None) -> RevisionReport:
        revision = self.revisions.get(number)
        pods = self.pods.get(number, ())
        if after.retires(number) is not None:
            role = "Retiring"
        elif number == after.stable:
            role = "Stable"
        else:
            role = "Candidate" if after.stable is None else "Canary"
        verified = shown.weight_of(number) if shown is not None else 0
        if shown is not None and not shown.heard and shown.complete:
            verified = after.weight_of(number)  # all routers miss an answer or two: what was confirmed stands for 30 s
        return RevisionReport(
            revision=number,
            version=revision.version if revision is not None else "",
            role=role,
            digest=self.digests.get(number),
            replicas=sum(1 for pod in pods if not is_terminating(pod)),
            ready_replicas=self.ready.get(number, 0),
            weight=after.weight_of(number),
            verified_weight=verified,
            outdated=revision is not None and self._is_outdated(revision),
        )

    def _is_outdated(self, revision: Revision) -> bool:
        if not revision.profile_hash:
            return False
        try:
            return profile_hash(parse_profile(revision.profile, self.snapshot.profiles.data)) != revision.profile_hash
        except SpecError:
            return False  # a profile that is gone or broken says nothing about what runs

    def _rollout_report(self, after: Record) -> RolloutReport | None:
        state = after.rollout
        if state is None:
            return None
        stage, message, until = machine.describe(after, self.spec.rollout, paused=self.spec.paused)
        steps = 0 if state.direct else len(self.spec.rollout.steps)
        return RolloutReport(
            stage=stage,
            revision=state.revision,
            step_index=min(state.step, steps),
            step_count=steps,
            step_hash=state.step_hash,
            started_at=state.started_at,
            until=until,
            message=message,
        )

    def _recheck_s(
        self,
        after: Record,
        cause: Cause,
        strict: traffic.Confirmation | None,
        shown: traffic.Confirmation | None,
        *,
        serves: bool,
        busy: bool,
    ) -> float:
        """The earliest moment at which something that makes no event can have changed."""
        waits = [QUIET_RECHECK_S if serves else PROGRESS_RECHECK_S]
        if cause.reason.kind is Kind.STALL:
            waits = [FAILURE_RECHECK_S]
        if self.obstacle is not None:
            waits.append(PREREQUISITE_RECHECK_S)
        if after != self.before or busy:
            waits.append(traffic.CONFIRM_RECHECK_S)
        for confirmation in (strict, shown):
            if confirmation is not None and confirmation.recheck_s is not None:
                waits.append(confirmation.recheck_s)
        _, _, until = machine.describe(after, self.spec.rollout, paused=self.spec.paused)
        if until is not None:
            waits.append(max(0.05, (until - self.snapshot.now).total_seconds()))
        elif after.rollout is not None:
            waits.append(traffic.MEMBERS_RECHECK_S if after.routed else PROGRESS_RECHECK_S)
        if (wait := next_look_s(after, self.spec.rollout, self.snapshot.now)) is not None:
            waits.append(wait)
        return min(waits)


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
