"""The exception tree. Four kinds, four behaviours.

    SlipwayError
    ├── SpecError            the user's: a condition with the YAML path, no retry until something changes
    ├── TransientError       conflict, 429, 5xx, timeout, refused connection: retried after `retry_after_s`
    │   ├── Conflict             409 on a write: the next pass reads again
    │   ├── Unreachable          nobody answered
    │   └── LeadershipLost       this process may not write now; the pass ends, another one decides anew
    ├── NotFound             404
    ├── AlreadyExists        409 AlreadyExists on a create: somebody has the name
    └── Rejected             the API server refuses the object for a reason that a retry alone cannot cure (403, 422)

*Waiting* is not an error: it is a reason in the plan and a `recheck_s`. Anything outside this tree is a bug:
traceback in the log, `InternalError` in the status, traffic left where it is.
"""

from __future__ import annotations


class SlipwayError(Exception):
    """Base of all our errors."""


class SpecError(SlipwayError):
    """Something the user (or the admin) wrote cannot be carried out.

    `path` is the place as written in YAML, e.g. `spec.model.storageUri`; `reason` is a value of api.reasons.Reason.
    """

    def __init__(self, path: str, message: str, *, reason: str = "InvalidSpec") -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = message
        self.reason = reason


class TransientError(SlipwayError):
    """The same call may succeed later. `retry_after_s` is the server's wish, if it had one."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Conflict(TransientError):
    """Somebody wrote the object since we read it."""


class Unreachable(TransientError):
    """No answer: refused, reset, timed out."""


class LeadershipLost(TransientError):
    """A write was not sent: the lease is not ours any more, or the pass began in an earlier term."""


class NotFound(SlipwayError):
    """The object is not there."""


class AlreadyExists(SlipwayError):
    """An object of this name is there already."""


class Rejected(SlipwayError):
    """The API server refuses the object: admission, quota, validation, missing permission."""

    def __init__(self, message: str, *, code: int) -> None:
        super().__init__(message)
        self.code = code
