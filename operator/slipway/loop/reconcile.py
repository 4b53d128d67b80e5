"""One pass for one ModelDeployment.

observe ──▶ plan ──▶ apply ──▶ report
            pure
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import datetime

from slipway.core.plan import Plan
from slipway.core.planner import creates, failed_status, plan_pass
from slipway.errors import Rejected, TransientError
from slipway.loop.apply import Applier, NameTakenError, failure_cause
from slipway.loop.observe import Observer
from slipway.loop.report import Reporter
from slipway.telemetry import route_confirm_seconds

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciler:
    observer: Observer
    applier: Applier
    reporter: Reporter
    confirmed: dict[tuple[str, str], datetime] = field(default_factory=dict)  # table already counted, by its moment

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """Seconds until the next look, None if only an event can change the answer. Raises TransientError for a call
        that may succeed later; anything else that is raised is a bug, and was reported as InternalError first."""
        snapshot = await self.observer.observe(namespace, name)
        if snapshot is None:
            self.confirmed.pop((namespace, name), None)
            self.reporter.forget(namespace, name)
            return None
        plan = None
        try:
            plan = plan_pass(snapshot)
            if created := creates(plan):
                log.info("creating", extra={"namespace": namespace, "deployment": name, "objects": created})
            await self.applier.apply(snapshot.resource, plan.actions)
        except Exception as error:
            # A namespace on its way out refuses every new object; that needs neither a status nor an alarm.
            if isinstance(error, Rejected) and "is being terminated" in str(error):
                return 10.0
            failed = failed_status(snapshot, failure_cause(error))
            if not _is_fleeting(error):
                await self.reporter.report(snapshot.resource, failed)
            if isinstance(error, NameTakenError):
                return failed.recheck_s
            if isinstance(error, Rejected):
                raise TransientError(str(error)) from error
            raise
        self._count_confirmation(namespace, name, plan)
        due_s = await self.reporter.report(snapshot.resource, plan)
        return min((wait for wait in (plan.recheck_s, due_s) if wait is not None), default=None)

    def _count_confirmation(self, namespace: str, name: str, plan: Plan) -> None:
        """From the decision about a route to its confirmation by every router, once for each table. The first one seen
        after a start may be old: it is noted and not counted."""
        found = plan.confirmed
        if found is None or self.confirmed.get((namespace, name)) == found.written_at:
            return
        is_first = (namespace, name) not in self.confirmed
        self.confirmed[namespace, name] = found.written_at
        if not is_first:
            route_confirm_seconds.observe(found.after_s)
            facts = {"namespace": namespace, "deployment": name, "seconds": round(found.after_s, 3)}
            log.info("route confirmed", extra=facts)


def _is_fleeting(error: Exception) -> bool:
    """A conflict or a busy API server is retried in moments: a status that says so would be two writes for nothing,
    and would have to pass the same API server."""
    return isinstance(error, TransientError)
