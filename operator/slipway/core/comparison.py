"""What the evidence says of the revision on trial, metric by metric, in verdicts and in one sentence for people."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from slipway.api.types import Analysis, LatencyCriterion, Rollout
from slipway.core.analysis import (
    Counts,
    Criterion,
    Evidence,
    Verdict,
    half_way,
    is_suspect,
    is_worse_alone,
    judge,
    requests_needed,
)
from slipway.core.time_findings import TimeFinding, time_findings
from slipway.core.timing import tests_of
from slipway.core.watch import ERRORS, LATENCY, Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class CountFinding:
    """One metric that the routers count: errors, latency."""

    metric: str
    verdict: Verdict
    evidence: Evidence
    criterion: Criterion
    stable: int  # revision
    threshold_ms: int | None  # of latency, None while it is not known
    percentile: int | None
    is_fixed: bool = False  # the threshold is the spec's, not stable's percentile
    baked: Counts | None = None  # the canary's since its bake began, while stable has no requests
    is_suspect: bool = False  # half of the way to being given up

    @property
    def requests(self) -> int:
        """Of the revision on trial."""
        return self.evidence.canary.requests

    @property
    def needed(self) -> int | None:
        """Requests of the revision on trial until it passes, None: it would not, as things stand."""
        return requests_needed(self.evidence.canary, self.evidence.stable, self.criterion)

    @property
    def figures(self) -> str:
        """`errors: 7.1 % of 312 requests against 0.4 % of 2,790 of revision 2`"""
        ours, theirs = self.baked or self.evidence.canary, self.evidence.stable
        if self.metric == ERRORS:
            words = (
                f"errors: {ours.rate:.1%} of {ours.requests:,} requests against {theirs.rate:.1%} of "
                f"{theirs.requests:,} of revision {self.stable}"
            )
        elif self.threshold_ms is None:
            return f"latency: p{self.percentile} of revision {self.stable} is not known yet"
        else:
            limit = "maxMilliseconds" if self.is_fixed else f"p{self.percentile} of revision {self.stable}"
            words = (
                f"latency: {ours.rate:.1%} of {ours.requests:,} requests took more than {self.threshold_ms} ms "
                f"({limit}) against {theirs.rate:.1%} of {theirs.requests:,}"
            )
        if self.criterion.ceiling is not None:
            words += f", at most {self.criterion.ceiling:.0%} may"
        return words.replace("%", " %")

    @property
    def missing(self) -> str:
        """What is missing for a verdict."""
        if self.metric == LATENCY and self.threshold_ms is None:
            return self.figures
        if (needed := self.needed) is None:
            return f"{self.metric} would not pass at the present rates ({self.figures})"
        return f"{self.metric} needs about {needed:,} more requests"


Finding = CountFinding | TimeFinding


def findings(watch: Watch | None, rollout: Rollout, step: int) -> tuple[Finding, ...]:
    """Every metric that is judged. Without a watch there is no data, and no data is inconclusive."""
    judging = rollout.judging
    asked_of = (judging.errors, judging.latency)
    tests = sum(1 if asked.ceiling is None else 2 for asked in asked_of if asked is not None)
    tests += sum(len(tests_of(metric, asked)) for metric, asked in judging.times.items())
    alpha = judging.false_alarm_percent / 100 / max(1, tests)  # Bonferroni
    fewest = _min_requests(rollout, step)
    found: list[Finding] = []
    for metric, asked in zip((ERRORS, LATENCY), asked_of, strict=True):
        if asked is None:
            continue
        evidence = watch.evidence.get(metric, Evidence()) if watch is not None else Evidence()
        criterion = Criterion(
            alpha=alpha, margin=asked.max_increase_percent / 100, min_requests=fewest, ceiling=asked.ceiling
        )
        baked = _baked(watch, metric, evidence)
        is_worse = baked is not None and is_worse_alone(baked, evidence.stable, criterion)
        looks_worse = baked is not None and is_worse_alone(baked, evidence.stable, half_way(criterion))
        found.append(
            CountFinding(
                metric=metric,
                verdict=Verdict.FAILED if is_worse else judge(evidence, criterion),
                baked=baked if is_worse else None,
                is_suspect=looks_worse or is_suspect(evidence, criterion),
                evidence=evidence,
                criterion=criterion,
                stable=watch.stable if watch is not None else 0,
                threshold_ms=watch.threshold_ms if watch is not None else None,
                percentile=asked.percentile if isinstance(asked, LatencyCriterion) else None,
                is_fixed=isinstance(asked, LatencyCriterion) and asked.max_ms is not None,
            )
        )
    timing, stable = (watch.timing, watch.stable) if watch is not None else (None, 0)
    found += time_findings(timing, rollout, alpha=alpha, min_requests=fewest, stable=stable)
    return tuple(found)


def _baked(watch: Watch | None, metric: str, evidence: Evidence) -> Counts | None:
    before = watch.baked_from.get(metric) if watch is not None else None
    if before is None:
        return None
    return Counts(evidence.canary.requests - before.requests, evidence.canary.bad - before.bad)


def _min_requests(rollout: Rollout, step: int) -> int:
    """Of the present analysis step, else of the next one. The background only fails, and needs none."""
    return next((entry.min_requests for entry in rollout.steps[step:] if isinstance(entry, Analysis)), 0)


def failure(found: Iterable[Finding]) -> str | None:
    """The figures of what is worse, None if nothing is shown to be."""
    bad = [entry.figures for entry in found if entry.verdict is Verdict.FAILED]
    return "; ".join(bad) if bad else None


def suspects(found: Iterable[Finding]) -> bool:
    """Any metric that routers count; worth a closer look, and nothing else follows from it. Triton's times are judged by
    whole windows, which no closer look makes shorter."""
    return any(isinstance(entry, CountFinding) and entry.is_suspect for entry in found)


def passes(found: Iterable[Finding]) -> bool:
    """Every metric, and at least one."""
    verdicts = [entry.verdict for entry in found]
    return bool(verdicts) and all(verdict is Verdict.PASSED for verdict in verdicts)


def summary(found: Iterable[Finding]) -> str:
    """The figures of every metric that has any; "" without a request."""
    return "; ".join(entry.figures for entry in found if entry.requests)


def shortage(found: Iterable[Finding]) -> str:
    """What is missing for a verdict: `errors needs about 212 more requests`."""
    return "; ".join(entry.missing for entry in found if entry.verdict is not Verdict.PASSED)
