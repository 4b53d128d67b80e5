"""What the record should be after this pass: what a person asks, what the spec asks, the rollout's step, the table's step.

From most to least binding: what stands without a place in the record, the action, the spec, the gate's result, the step of
the rollout, who leaves, the weights, and what the routers do beside them. The record is written whole, with the route
table, in one write; so everything in here is decided for the same moment.
"""

from __future__ import annotations

from dataclasses import replace

from slipway.api.types import Placement
from slipway.build.route_table import Beside
from slipway.core import actions as wishes
from slipway.core import beside, comparison, gates, recreate, timing, traffic
from slipway.core import rollout as machine
from slipway.core import watch as watching
from slipway.core.capacity import pods_for, share_of, wanted_pods
from slipway.core.diagnosis import is_ready, stands_for_s
from slipway.core.facts import Facts
from slipway.core.questions import gate_pods, revision_of
from slipway.core.record import GateResult, Record
from slipway.core.retire import adopt_orphans, adopt_strays, retire
from slipway.core.revisions import spec_hash
from slipway.core.trial import Target, Trial, aim_weight, is_baking


class Decision(Facts):
    """Derived from the facts of one pass; it writes nothing."""

    __slots__ = ()

    def decide(self, confirmation: traffic.Confirmation | None) -> tuple[Record, bool]:
        """The record after this pass: what a person asks, what the spec asks, the rollout's step, the table's step."""
        now, spec, target = self.snapshot.now, self.spec, self._target()
        standing = (*self.present.by_kind["Deployment"].values(), *self.present.by_kind["Service"].values())
        numbers = [revision_of(item) for item in standing]
        record = adopt_orphans(self.before, (number for number in numbers if number is not None))
        wish = wishes.read_wish(self.snapshot.resource)
        record, may_remove = wishes.execute(self._refreshed(record), wish, target)
        if not spec.paused or record.stable is None:
            record = adopt_strays(machine.retarget(record, target))
        if self.new is not None:
            record = replace(record, highest_revision=max(record.highest_revision, self.new.number))
        record, gate = self._gated(record)
        seen = watch = None
        if record.rollout is not None:
            record = self._watched(record, confirmation)
            watch = record.watch
            seen = self._seen(record, confirmation)
            trial = replace(self._trial(record, confirmation, seen), gate=gate)
            record = machine.advance(record, target, trial)
        if not self.is_held(record):
            record = retire(record, spec.rollout, confirmation, self.ready, now)
        confirmed = confirmation.weights if confirmation is not None and confirmation.complete else {}
        record = recreate.with_gap(record, self.ready, confirmed, alone=self._is_alone(record), now=now)
        routed = traffic.next_table(record, self._aim(record), self.ready, confirmation)
        record = replace(record, routed=routed)
        record = replace(record, beside=self._beside(record, confirmation))
        if not same_table(self.before, record):
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
        run = self.gate_under_way(record)
        known = gates.result_of(record, run)
        if run is None or known is not None:
            return record, known
        pods = gate_pods(self.snapshot.resource, self.snapshot.children, run.job)
        job, platform = self.present.get("Job", run.job), self.snapshot.platform
        found = gates.read_result(run, job, pods, self.snapshot.now, platform)
        return (record if found is None else replace(record, gate=found)), None

    def gate_under_way(self, record: Record) -> gates.Run | None:
        return gates.under_way(record, self.spec.rollout, self.snapshot.resource["metadata"]["name"])

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

    def _seen(self, record: Record, confirmation: traffic.Confirmation | None) -> watching.Watch | None:
        """The comparison as of now."""
        asked, watch = self.snapshot.comparison, record.watch
        if asked is None or watch is None or (asked.canary, asked.stable) != (watch.canary, watch.stable):
            return None
        judging, snapshot = self.spec.rollout.judging, self.snapshot
        confirmed = confirmation is not None and confirmation.complete
        times = timing.advanced(
            watch.timing,
            judging,
            snapshot.times,
            canary=watch.canary,
            weight=self.before.weight_of(watch.canary) if confirmed else None,
            now=snapshot.now,
        )
        return replace(watching.advanced(watch, judging, snapshot.routers), timing=times)

    def suspects(self, record: Record, confirmation: traffic.Confirmation | None) -> bool:
        """Whether the next bad answers may decide: nothing follows from it but that the next look comes sooner."""
        state = record.rollout
        if state is None or record.watch is None:
            return False
        seen = self._seen(record, confirmation) or record.watch
        return comparison.suspects(comparison.findings(seen, self.spec.rollout, state.step))

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
        number, stable = record.rollout.revision, record.stable or 0
        confirmed = confirmation is not None and confirmation.complete
        answers = [view.answer for view in self.snapshot.routers if view.answer is not None]
        ready = [pod for pod in self.pods.get(stable, ()) if is_ready(pod)]
        return Trial(
            needed=self._needed(record),
            ready=self.standing.get(number, 0),
            cause=self.troubles.get(number),
            verified_weight=confirmation.weight_of(number) if confirmation is not None and confirmed else 0,
            table_confirmed=confirmed,
            found=comparison.findings(seen or record.watch, self.spec.rollout, record.rollout.step),
            alone=self._is_alone(record),
            stable_answers=bool(ready) or any(answer.healthy_members.get(stable, 0) for answer in answers),
            stable_stands_s=max((stands_for_s(pod, self.snapshot.now) for pod in ready), default=0.0),
        )

    def _aim(self, record: Record) -> traffic.Aim:
        state = record.rollout
        if state is None:
            return traffic.Aim(revision=record.stable, weight=100, needed_members=1)
        weight = aim_weight(state, self.spec.rollout)
        if self.is_held(record):
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
            held=self.is_held(record),
            may_come=may_come,
            takes_copies=state is not None and beside.takes_copies(self.revisions.get(state.revision)),
        )

    def _needed(self, record: Record) -> int:
        """Pods that the present step of the revision on trial needs."""
        state, rollout = record.rollout, self.spec.rollout
        assert state is not None  # the caller has checked it
        aim = aim_weight(state, rollout)
        return wanted_pods(record, rollout, self.spec.replicas, aim, state.revision)

    def is_held(self, record: Record) -> bool:
        """By spec.paused or by hand: no pod, weight or route changes, except for safety and to repair drift."""
        by_hand = record.rollout is not None and record.rollout.held
        return (self.spec.paused or by_hand) and record.stable is not None and not self._is_alone(record)

    def _is_alone(self, record: Record) -> bool:
        return recreate.is_alone(record, self.asked.get(record.stable or 0))


def same_table(before: Record, after: Record) -> bool:
    return (before.routed, before.beside) == (after.routed, after.beside)
