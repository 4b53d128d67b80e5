"""Puts together what a pass found for the status: the cause, a line for each revision, the rollout, when to look again.

Decides nothing about the cluster; the decisions are in planner.py, the words of the causes in judgement.py, the shape of
the status in report.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from slipway.api.reasons import Kind
from slipway.api.types import Placement
from slipway.build.quantities import parse_quantity
from slipway.core import comparison, fast_forward, stages, traffic
from slipway.core.diagnosis import is_ready, is_terminating, stands_for_s
from slipway.core.facts import Facts
from slipway.core.judgement import Evidence, availability, judge, pause_cause
from slipway.core.plan import Confirmed
from slipway.core.questions import router_pods
from slipway.core.record import Record
from slipway.core.report import Findings, RevisionReport, RolloutReport
from slipway.core.retire import next_look_s
from slipway.core.trial import takes_no_steps

PREREQUISITE_RECHECK_S = 10.0  # a claim, a profile, a name may appear without an event for us
FAILURE_RECHECK_S = 15.0  # a pod that failed may be mended from outside
PROGRESS_RECHECK_S = 5.0
COMPARE_RECHECK_S = 1.0  # routers count without an event; a bad revision is stopped at the look that decides
SUSPECT_RECHECK_S = 0.25  # the next bad answers may decide; few good revisions ever get here (core/analysis.py)
QUIET_RECHECK_S = 60.0  # routers are asked again; it costs the API server nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a pass knew and what it decided."""

    facts: Facts
    after: Record
    strict: traffic.Confirmation | None  # the routers' word for decisions; None: no table yet
    shown: traffic.Confirmation | None  # the same with patience, for people
    suspected: bool  # the revision on trial is half of the way to being given up by what the routers count


def collect(outcome: Outcome) -> Findings:
    """Everything that the status shows."""
    facts, after = outcome.facts, outcome.after
    routers = router_pods(facts.snapshot.resource, facts.snapshot.children)
    evidence = Evidence(
        resource=facts.snapshot.resource,
        spec=facts.spec,
        present=facts.present,
        record=after,
        revisions=facts.revisions,
        update=facts.update,
        obstacle=facts.obstacle,
        ready=facts.ready,
        troubles=facts.troubles,
        routers=routers,
        shown=outcome.shown,
        drifted=facts.drifted,
    )
    cause, serves = judge(evidence)
    serving = after.stable if after.stable is not None else (after.rollout.revision if after.rollout else None)
    standing = sum(facts.ready.get(entry.revision, 0) for entry in after.routed if entry.weight > 0)
    available = availability(standing if after.routed else facts.ready.get(serving or 0, 0), routers, after)
    return Findings(
        cause=cause,
        ready=serves,
        paused=pause_cause(evidence),
        available=available,
        is_available=available.reason.kind is Kind.WELL,
        stable=after.stable,
        update=facts.update if facts.update is not None else serving,
        revisions=tuple(_line(outcome, number) for number in after.live),
        rollout=_rollout(outcome),
        history=after.history,
        last_action=after.last_action,
        signature=facts.snapshot.signature,
    )


def confirmed_table(outcome: Outcome) -> Confirmed | None:
    """The table that every router has in force, None while one of them has another."""
    strict, before = outcome.strict, outcome.facts.before
    if strict is None or not strict.complete or before.changed_at is None:
        return None
    if any(strict.weight_of(entry.revision) != entry.weight for entry in before.routed):
        return None
    return Confirmed(
        written_at=before.changed_at, after_s=(outcome.facts.snapshot.now - before.changed_at).total_seconds()
    )


def next_look(outcome: Outcome, findings: Findings, *, busy: bool) -> float:
    """Seconds to the earliest moment at which something that makes no event can have changed."""
    facts, after = outcome.facts, outcome.after
    waits = [QUIET_RECHECK_S if findings.ready else PROGRESS_RECHECK_S]
    if findings.cause.reason.kind is Kind.STALL:
        waits = [FAILURE_RECHECK_S]
    if facts.obstacle is not None:
        waits.append(PREREQUISITE_RECHECK_S)
    if after != facts.before or busy:
        waits.append(traffic.CONFIRM_RECHECK_S)
    for confirmation in (outcome.strict, outcome.shown):
        if confirmation is not None and confirmation.recheck_s is not None:
            waits.append(confirmation.recheck_s)
    stage, _, until = stages.describe(after, facts.spec.rollout, paused=facts.spec.paused)
    if until is not None:
        waits.append(max(0.05, (until - facts.snapshot.now).total_seconds()))
    elif after.rollout is not None:
        if (least_s := facts.spec.rollout.min_ready_s) and after.stable is not None:
            on_trial = facts.pods.get(after.rollout.revision, ())
            left = [least_s - stands_for_s(pod, facts.snapshot.now) for pod in on_trial if is_ready(pod)]
            waits += [wait for wait in left if wait > 0]
        # Routers see pods come without an event; a pause for a person may last for days, and needs no hurry.
        waits.append(traffic.MEMBERS_RECHECK_S if after.routed and stage != "Paused" else PROGRESS_RECHECK_S)
    if after.watch is not None:
        waits.append(SUSPECT_RECHECK_S if outcome.suspected else COMPARE_RECHECK_S)
    if after.rollout is not None and (wait := fast_forward.next_look_s(after.rollout, facts.snapshot.now)) is not None:
        waits.append(wait)
    if (wait := next_look_s(after, facts.spec.rollout, facts.snapshot.now)) is not None:
        waits.append(wait)
    return min(waits)


def _line(outcome: Outcome, number: int) -> RevisionReport:
    facts, after, shown = outcome.facts, outcome.after, outcome.shown
    revision, pods = facts.revisions.get(number), facts.pods.get(number, ())
    if after.retires(number) is not None:
        role = "Retiring"
    elif number == after.stable:
        role = "Stable"
    else:
        role = "Candidate" if after.stable is None else "Canary"
    verified = shown.towards(after.weight_of(number), number) if shown is not None else 0
    if shown is not None and not shown.heard and shown.complete:
        verified = after.weight_of(number)  # all routers miss an answer or two: what was confirmed stands for 30 s
    return RevisionReport(
        revision=number,
        version=revision.version if revision is not None else "",
        role=role,
        digest=facts.digests.get(number),
        replicas=sum(1 for pod in pods if not is_terminating(pod)),
        ready_replicas=facts.ready.get(number, 0),
        weight=after.weight_of(number),
        verified_weight=verified,
        outdated=number in facts.outdated,
    )


def _rollout(outcome: Outcome) -> RolloutReport | None:
    facts, state = outcome.facts, outcome.after.rollout
    if state is None:
        return None
    stage, message, until = stages.describe(outcome.after, facts.spec.rollout, paused=facts.spec.paused)
    steps = 0 if takes_no_steps(state) else len(facts.spec.rollout.steps)
    peaks = _peaks(outcome)
    return RolloutReport(
        stage=stage,
        revision=state.revision,
        step_index=min(state.step, steps),
        step_count=steps,
        step_hash=state.step_hash,
        started_at=state.started_at,
        until=until,
        message=message,
        peak_replicas=max(sum(peak.values()) for peak in peaks),
        peak_devices=_devices(facts, peaks),
        placement=_placement(outcome),
        placement_reason=outcome.after.gave_way,
        fast_forward_reason=fast_forward.reason(outcome.after, state),
        header_routes=tuple(entry.name for entry in outcome.after.beside.headers),
        mirror_routes=tuple(entry.name for entry in outcome.after.beside.mirrors),
        # As it was last written: what a pass sees beyond that would be a write of status for every look.
        analysis=comparison.findings(outcome.after.watch, facts.spec.rollout, state.step)
        if outcome.after.watch is not None
        else (),
    )


def _placement(outcome: Outcome) -> str:
    if not outcome.facts.spec.rollout.automatic or outcome.after.stable is None:
        return ""
    return (Placement.REPLACE if outcome.after.gave_way else Placement.SURGE).value


def _peaks(outcome: Outcome) -> tuple[dict[int, int], ...]:
    """Revision → pods at the moment with the most of them: stable stays whole until the new one has all traffic, and what
    retires keeps its pods until it has drained. Where the sum stays spec.replicas, the two ends: all of stable's, all of
    the new one's."""
    facts, after = outcome.facts, outcome.after
    state = after.rollout
    assert state is not None  # the caller has looked
    if after.stable is not None and (state.recreate or facts.spec.rollout.placement is Placement.REPLACE):
        return ({after.stable: facts.spec.replicas}, {state.revision: facts.spec.replicas})
    peak = {state.revision: facts.spec.replicas}
    if after.stable is not None:
        peak.setdefault(after.stable, facts.spec.replicas)
    for entry in after.retiring:
        peak.setdefault(entry.revision, len(facts.pods.get(entry.revision, ())))
    return (peak,)


def _devices(facts: Facts, peaks: tuple[dict[int, int], ...]) -> dict[str, int]:
    """Extended resources, such as nvidia.com/gpu, that the peak takes. Whole numbers by definition (Kubernetes, "Managing
    Resources for Containers", extended resources)."""
    totals = [_devices_of(facts, peak) for peak in peaks]
    most = {name: max(total.get(name, 0) for total in totals) for total in totals for name in total}
    return {name: amount for name, amount in sorted(most.items()) if amount}


def _devices_of(facts: Facts, peak: dict[int, int]) -> dict[str, int]:
    total: dict[str, int] = {}
    for number, pods in peak.items():
        revision = facts.revisions.get(number)
        containers = revision.deployment["spec"]["template"]["spec"]["containers"] if revision is not None else ()
        for container in containers:
            limits = (container.get("resources") or {}).get("limits") or {}
            for name, amount in limits.items():
                if "/" in name:
                    total[name] = total.get(name, 0) + pods * int(parse_quantity(amount))
    return total
