"""What can go wrong, as values that a person can act on.

Failure                a reason, a path in the user's YAML, a sentence with found and expected, and the next step
FormatError            one place in a JSON document is not what it must be; the caller knows whose document it is
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Closed set; the operator copies it into status and alerts match on it."""

    ARTIFACT_NOT_FOUND = "ArtifactNotFound"
    ARTIFACT_INVALID = "ArtifactInvalid"
    DIGEST_MISMATCH = "DigestMismatch"  # other bytes than spec.model.digest or the manifest say
    DIGEST_DRIFT = "DigestDrift"  # other bytes than the first verified fetch of this revision
    FORMAT_NOT_SUPPORTED = "FormatNotSupported"  # no backend of the profile can run it
    FETCH_FAILED = "FetchFailed"  # input or output failed; a retry may help


# Where in the ModelDeployment the user has to look.
SPEC_URI = "spec.model.storageUri"
SPEC_DIGEST = "spec.model.digest"
SPEC_FORMAT = "spec.model.format"
SPEC_PROFILE = "spec.runtime.profile"
SPEC_MAX_BATCH_SIZE = "spec.model.config.maxBatchSize"
SPEC_DYNAMIC_BATCHING = "spec.model.config.dynamicBatching"


class Failure(Exception):
    """The work cannot be done. `message` says found and expected, `next_step` what a person does now."""

    def __init__(self, reason: Reason, path: str, message: str, next_step: str) -> None:
        super().__init__(f"{reason}: {path}: {message} {next_step}")
        self.reason = reason
        self.path = path
        self.message = message
        self.next_step = next_step


class FormatError(ValueError):
    """A document breaks its schema at one place, e.g. `files[3].path is "/etc/passwd", expected a relative path`."""

    def __init__(self, path: str, found: str, expected: str) -> None:
        super().__init__(f"{path or 'the document'} is {found}, expected {expected}")
        self.path = path
        self.found = found
        self.expected = expected


def brief(value: object, limit: int = 80) -> str:
    """Show a foreign value in one bounded line: control characters escaped, the middle left out when long."""
    shown = ascii(value) if not isinstance(value, str) else '"' + ascii(value)[1:-1] + '"'
    return shown if len(shown) <= limit else f"{shown[: limit // 2]}…{shown[-(limit // 4) :]}"
