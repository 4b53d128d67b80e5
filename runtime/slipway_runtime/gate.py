"""`slipway-runtime gate`: puts recorded requests to a new revision and to stable, and leaves figures as termination message.

golden   new revision as recorded? ── yes ─▶ done
            └ no ─▶ the control: is it the record that is wrong?
                    one set for both (a ConfigMap, or the same package)   stable gets the requests that went wrong
                    a package each                                        stable gets its own recorded requests
parity   every request to both, answer beside answer

The operator judges (core/gates.py); here is only measured. Exit 0: there are figures, whatever they say. Exit 1: there are
none, and the Job may try again. Figures and names of outputs reach the message, never a value of an answer.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slipway_runtime.artefact import load_artefact
from slipway_runtime.failures import Failure, FormatError
from slipway_runtime.fetch_report import encode_report
from slipway_runtime.figures import Fault, Options, Parity, golden_fault, is_finite, parity, worst
from slipway_runtime.golden import MAX_GOLDEN_BYTES, Sample, TensorData, parse_golden
from slipway_runtime.question import NoAnswerError, RefusedError, ask
from slipway_runtime.source import Source, check_entry, hash_file, read_small

SCHEMA_VERSION = 1
RETRY_S = 1.0
GOLDEN, PARITY = "golden", "parity"


class NoFiguresError(Exception):
    """Nothing could be measured; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One of the two revisions."""

    url: str
    version: str  # Triton's, which is the revision's number
    artefact: Path | None = None  # its package, where the claim is mounted
    digest: str | None = None  # what the package was when it was fetched


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    kind: str  # golden | parity
    model: str
    candidate: Subject
    stable: Subject
    requests: Path | None  # a recorded set for both; None: the candidate's package has it
    options: Options
    timeout_s: float = 30.0  # for one answer
    patience_s: float = 60.0  # for somebody who takes the question: names of new pods take a while to be known
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    say: Callable[[str], None] = field(default=lambda line: _say(line))


def run_gate(gate: Gate, report: Path | None) -> int:
    """Measure, write the termination message, return the exit code."""
    try:
        document, code = _measure(gate), 0
    except (NoFiguresError, NoAnswerError, FormatError) as error:
        words = _without_value(error)
        document, code = {"schemaVersion": SCHEMA_VERSION, "gate": gate.kind, "message": words}, 1
        gate.say(f"no figures: {words}")
    if report is not None:
        report.write_bytes(encode_report(document))
    return code


def _measure(gate: Gate) -> dict[str, Any]:
    samples = _samples(gate)
    ranked = gate.options.top_k
    if ranked is not None and not any(tensor.name == ranked[0] for sample in samples for tensor in sample.outputs):
        raise NoFiguresError(f"topK names output {ranked[0]}, which no recorded answer has")
    figures = _golden(gate, samples) if gate.kind == GOLDEN else _parity(gate, samples)
    return {"schemaVersion": SCHEMA_VERSION, "gate": gate.kind, "samples": len(samples), **figures}


def _samples(gate: Gate) -> tuple[Sample, ...]:
    if gate.requests is not None:
        try:
            data = gate.requests.read_bytes()
        except OSError as error:
            # The directory is the mount of a ConfigMap, and has its name.
            raise NoFiguresError(
                f"ConfigMap {gate.requests.parent.name}, key {gate.requests.name}: {error.strerror}"
            ) from error
        return parse_golden(data)
    try:
        return read_recorded(gate.candidate)
    except Failure as failure:
        raise NoFiguresError(f"the package of revision {gate.candidate.version}: {failure.message}") from failure


def read_recorded(subject: Subject) -> tuple[Sample, ...]:
    """The recorded requests of a revision's own package, if it still is what was fetched. Raises Failure, FormatError or
    NoFiguresError."""
    assert subject.artefact is not None  # the caller has looked
    artefact = load_artefact(subject.artefact)
    if subject.digest is not None and artefact.digest != subject.digest:
        raise NoFiguresError(
            f"the package of revision {subject.version} is {artefact.digest}, {subject.digest} was fetched: it was changed"
        )
    entry = artefact.manifest.file(artefact.manifest.golden)
    source = Source(subject.artefact, "", str(subject.artefact))
    with source.open_directory() as directory:
        with source.open_file(directory, entry.path) as file:
            check_entry(source.label, entry, *hash_file(file, entry.size_bytes, None, lambda _: None))
        return parse_golden(read_small(source, directory, entry.path, MAX_GOLDEN_BYTES))


def _golden(gate: Gate, samples: Sequence[Sample]) -> dict[str, Any]:
    faults = _replay(gate, gate.candidate, samples)
    wrong = [index for index, fault in enumerate(faults) if fault is not None]
    figures: dict[str, Any] = {"wrong": len(wrong), "worst": _worst(faults)}
    if not wrong:
        return figures
    stable = gate.stable
    if gate.requests is not None or _is_same_package(gate):
        return {**figures, **_control("same", _replay(gate, stable, [samples[index] for index in wrong]))}
    if stable.artefact is None:
        return {**figures, "control": "none", "note": f"revision {stable.version} has no package to compare with"}
    try:
        recorded = read_recorded(stable)
    except (Failure, FormatError, NoFiguresError) as error:
        words = error.message if isinstance(error, Failure) else _without_value(error)
        return {**figures, "control": "none", "note": f"the package of revision {stable.version}: {words}"}
    return {**figures, **_control("own", _replay(gate, stable, recorded))}


def _is_same_package(gate: Gate) -> bool:
    ours, theirs = gate.candidate, gate.stable
    return ours.artefact == theirs.artefact or (ours.digest is not None and ours.digest == theirs.digest)


def _control(kind: str, faults: Sequence[Fault | None]) -> dict[str, Any]:
    return {
        "control": kind,
        "controlSamples": len(faults),
        "controlWrong": sum(1 for fault in faults if fault is not None),
        "controlWorst": _worst(faults),
    }


def _replay(gate: Gate, subject: Subject, samples: Sequence[Sample]) -> list[Fault | None]:
    found: list[Fault | None] = []
    for index, sample in enumerate(samples):
        answer = _answer(gate, subject, sample)
        fault = answer if isinstance(answer, Fault) else golden_fault(sample, answer, gate.options)
        gate.say(f"revision {subject.version}, request {index}: {fault.words if fault is not None else 'as recorded'}")
        found.append(fault)
    return found


def _parity(gate: Gate, samples: Sequence[Sample]) -> dict[str, Any]:
    measured: list[Parity] = []
    left_out = 0
    for index, sample in enumerate(samples):
        reference = _answer(gate, gate.stable, sample)
        if isinstance(reference, Fault) or not is_finite(reference):
            words = reference.words if isinstance(reference, Fault) else "holds NaN or an infinity"
            gate.say(f"request {index} is left out: stable's answer is no reference: {words}")
            left_out += 1
            continue
        answer = _answer(gate, gate.candidate, sample)
        rtol = sample.rtol if gate.options.rtol is None else gate.options.rtol
        atol = sample.atol if gate.options.atol is None else gate.options.atol
        one = Parity(broken=answer) if isinstance(answer, Fault) else parity(reference, answer, rtol, atol)
        fault = one.broken or one.mismatch
        gate.say(
            f"request {index}: {fault.words if fault is not None else 'alike'}; {one.flips} of {one.rows} rows flip"
        )
        measured.append(one)
    return {
        "leftOut": left_out,
        "broken": sum(1 for one in measured if one.broken is not None),
        "mismatched": sum(1 for one in measured if one.broken is None and one.mismatch is not None),
        "maxDifference": max((one.difference for one in measured), default=0.0),
        "maxRelativeDifference": max((one.relative for one in measured), default=0.0),
        "rows": sum(one.rows for one in measured),
        "flips": sum(one.flips for one in measured),
        "worst": _words(worst([fault for one in measured if (fault := one.broken or one.mismatch) is not None])),
    }


def _answer(gate: Gate, subject: Subject, sample: Sample) -> tuple[TensorData, ...] | Fault:
    """The outputs, or the error that the model answered with. Asks again while nobody takes the question."""
    end = gate.clock() + gate.patience_s
    while True:
        try:
            reply = ask(subject.url, gate.model, subject.version, sample.inputs, gate.timeout_s)
        except RefusedError as error:
            return Fault(f"is answered with status {error.status}", float("inf"))
        except NoAnswerError as error:
            if gate.clock() >= end:
                raise
            gate.say(f"revision {subject.version}: {error}; asking again")
            gate.sleep(RETRY_S)
        else:
            return reply.outputs


def _worst(faults: Sequence[Fault | None]) -> str:
    """`request 3: output SCORE__0 differs by 0.41 …`, "" without a fault."""
    found = [fault for fault in faults if fault is not None]
    largest = worst(found)
    return "" if largest is None else f"request {faults.index(largest)}: {largest.words}"


def _without_value(error: Exception) -> str:
    """A FormatError shows what it found, which may be a value of a recorded request."""
    if isinstance(error, FormatError):
        return f"the recorded requests: {error.path or 'the document'}: expected {error.expected}"
    return str(error)


def _words(fault: Fault | None) -> str:
    return "" if fault is None else fault.words


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
