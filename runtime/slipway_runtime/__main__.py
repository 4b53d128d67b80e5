"""`slipway-runtime VERB …`: reads arguments, calls one module, prints, and chooses the exit code.

Exit codes: 0 ok, 1 failed (the sentence is on stderr), 2 wrong usage. Each verb imports its module when it runs, so that
`fetch` starts in an image without torch, numpy and tritonclient.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from slipway_runtime import __version__
from slipway_runtime.failures import Failure, FormatError

OK, FAILED, USAGE = 0, 1, 2


class UsageError(Exception):
    """The arguments make no sense together."""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code. argparse itself exits with 2."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    try:
        code: int = arguments.run(arguments)
    except UsageError as error:
        sys.stderr.write(f"slipway-runtime {arguments.verb}: {error}\n")
        return USAGE
    except Failure as failure:
        sys.stderr.write(f"{failure.reason}: {failure.message} {failure.next_step}\n")
        return FAILED
    except (FormatError, OSError) as error:
        sys.stderr.write(f"slipway-runtime {arguments.verb}: {error}\n")
        return FAILED
    except ModuleNotFoundError as error:
        extra = "torch" if arguments.verb == "package" else "client"
        sys.stderr.write(f"{arguments.verb} needs {error.name}, which is not here: install slipway-runtime[{extra}]\n")
        return FAILED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="slipway-runtime", description="What runs beside a model.")
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    package = verbs.add_parser("package", help="turn a PyTorch model into an artefact directory")
    what = package.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--entrypoint", metavar="MODULE:FACTORY", help="callable without arguments that returns the nn.Module"
    )
    what.add_argument("--scripted", type=Path, metavar="FILE", help="a TorchScript file instead")
    package.add_argument("--weights", type=Path, metavar="FILE", help="state_dict, loaded with weights_only=True")
    package.add_argument(
        "--example",
        action="append",
        required=True,
        metavar="TYPE:DIMS|FILE.npy",
        help="one per input, in order, batch dimension first: fp32:1x1000 (random by --seed) or an array file",
    )
    package.add_argument("--max-batch-size", type=int, default=64, help="most rows in one call (default %(default)s)")
    package.add_argument("--rtol", type=float, default=1e-4, help="allowed relative difference (default %(default)s)")
    package.add_argument("--atol", type=float, default=1e-5, help="allowed absolute difference (default %(default)s)")
    package.add_argument("--seed", type=int, default=0)
    package.add_argument(
        "--extra-file", action="append", type=Path, default=[], metavar="FILE", help="put FILE in as well"
    )
    package.add_argument("--output", type=Path, required=True, metavar="DIR")
    package.set_defaults(run=_package)

    fetch = verbs.add_parser("fetch", help="copy and verify an artefact into Triton's model repository")
    fetch.add_argument("--serving", type=Path, required=True, metavar="FILE", help="serving.json")
    fetch.add_argument("--frozen-digest", type=Path, metavar="FILE", help="digest of the first fetch; may be absent")
    fetch.add_argument("--source", type=Path, required=True, metavar="DIR")
    fetch.add_argument("--repository", type=Path, required=True, metavar="DIR")
    fetch.add_argument("--report", type=Path, metavar="FILE", help="where the termination report goes")
    fetch.set_defaults(run=_fetch)

    verify = verbs.add_parser("verify", help="hash every file of an artefact again")
    verify.add_argument("directory", type=Path)
    verify.add_argument("--digest", metavar="sha256:HEX", help="what the artefact must be")
    verify.set_defaults(run=_verify)

    inspect = verbs.add_parser("inspect", help="show an artefact's manifest")
    inspect.add_argument("directory", type=Path)
    inspect.add_argument("--json", action="store_true")
    inspect.set_defaults(run=_inspect)

    predict = verbs.add_parser("predict", help="ask a served model and compare with the recorded answers")
    predict.add_argument("--address", required=True, metavar="HOST:PORT")
    predict.add_argument("--protocol", choices=("http", "grpc"), default="http")
    predict.add_argument("--model", required=True)
    predict.add_argument("--model-version", default="", help="default: the server chooses")
    predict.add_argument("--revision", help="pin the request with the header x-slipway-revision")
    question = predict.add_mutually_exclusive_group(required=True)
    question.add_argument("--artefact", type=Path, metavar="DIR", help="send the golden samples of this artefact")
    question.add_argument("--input", type=Path, metavar="FILE", help="golden.json, a JSON request, or an .npy array")
    predict.add_argument("--input-name", default="INPUT__0", help="for an .npy file (default %(default)s)")
    predict.add_argument("--rtol", type=float, help="default: as recorded")
    predict.add_argument("--atol", type=float, help="default: as recorded")
    predict.add_argument("--timeout", type=float, default=30.0, metavar="SECONDS")
    predict.add_argument("--json", action="store_true")
    predict.set_defaults(run=_predict)

    gates = verbs.add_parser("gate", help="measure a new revision, for a step of its rollout")
    kinds = gates.add_subparsers(dest="kind", required=True, metavar="KIND")
    for kind, words in (("golden", "are answers as recorded"), ("parity", "do both revisions answer alike")):
        _add_replay(kinds.add_parser(kind, help=words))
    _add_metric(kinds.add_parser("prometheus", help="does the value of a PromQL query keep its bounds"))
    return parser


def _add_replay(gate: argparse.ArgumentParser) -> None:
    """Recorded requests for a new revision and for stable."""
    gate.add_argument("--model", required=True)
    for subject in ("candidate", "stable"):
        gate.add_argument(f"--{subject}", required=True, metavar="URL", help="http://HOST:PORT of its pods")
        gate.add_argument(f"--{subject}-version", required=True, metavar="N")
        gate.add_argument(f"--{subject}-artefact", type=Path, metavar="DIR", help="its package")
        gate.add_argument(f"--{subject}-digest", metavar="sha256:HEX", help="what the package must be")
    gate.add_argument(
        "--requests", type=Path, metavar="FILE", help="golden.json for both; default: the candidate's own"
    )
    gate.add_argument("--rtol", type=float, help="default: as recorded")
    gate.add_argument("--atol", type=float, help="default: as recorded")
    gate.add_argument(
        "--top-k", metavar="OUTPUT=K", help="golden: the K largest of OUTPUT agree, in place of a tolerance"
    )
    gate.add_argument("--timeout", type=float, default=30.0, metavar="SECONDS", help="for one answer")
    gate.add_argument("--report", type=Path, metavar="FILE", help="where the figures go")
    gate.set_defaults(run=_gate)


def _add_metric(gate: argparse.ArgumentParser) -> None:
    gate.add_argument("--url", required=True, metavar="URL", help="http://HOST:PORT/PATH of Prometheus")
    gate.add_argument("--query", required=True, metavar="PROMQL")
    gate.add_argument("--min", type=float, help="the least value that is good")
    gate.add_argument("--max", type=float, help="the largest value that is good")
    gate.add_argument("--initial-delay", type=float, default=0.0, metavar="SECONDS")
    gate.add_argument("--interval", type=float, default=60.0, metavar="SECONDS")
    gate.add_argument("--count", type=int, default=1, help="looks (default %(default)s)")
    gate.add_argument("--failure-limit", type=int, default=0, help="looks that may be out of bounds")
    gate.add_argument("--inconclusive-limit", type=int, default=0, help="looks that may come to no value")
    gate.add_argument("--consecutive-error-limit", type=int, default=4, help="looks in a row that nobody may answer")
    gate.add_argument(
        "--ends-at", type=float, metavar="EPOCH", help="no look begins later; default: when it is decided"
    )
    gate.add_argument("--timeout", type=float, default=30.0, metavar="SECONDS", help="for one answer")
    gate.add_argument("--report", type=Path, metavar="FILE", help="where the counts go")
    gate.set_defaults(run=_metric)


def _package(arguments: argparse.Namespace) -> int:
    if arguments.scripted is not None and arguments.weights is not None:
        raise UsageError("--weights belongs to --entrypoint; a scripted file has its weights inside")
    if arguments.max_batch_size < 1:
        raise UsageError(f"--max-batch-size is {arguments.max_batch_size}, expected at least 1")
    from slipway_runtime.package import package_torch_model
    from slipway_runtime.torch_models import load_entrypoint, load_scripted, parse_examples

    examples = parse_examples(arguments.example, arguments.seed)
    if arguments.scripted is not None:
        model = load_scripted(arguments.scripted)
    else:
        model = load_entrypoint(arguments.entrypoint, arguments.weights)
    packaged = package_torch_model(
        model,
        examples,
        arguments.output,
        max_batch_size=arguments.max_batch_size,
        rtol=arguments.rtol,
        atol=arguments.atol,
        extra_files={path.name: path.read_bytes() for path in arguments.extra_file},
    )
    for note in packaged.notes:
        sys.stderr.write(f"note: {note}\n")
    sys.stdout.write(f"{packaged.digest}  {packaged.path}\n")
    return OK


def _fetch(arguments: argparse.Namespace) -> int:
    from slipway_runtime.fetch import FetchRequest, run_fetch

    request = FetchRequest(
        serving=arguments.serving,
        frozen_digest=arguments.frozen_digest,
        source=arguments.source,
        repository=arguments.repository,
    )
    return run_fetch(request, arguments.report)


def _verify(arguments: argparse.Namespace) -> int:
    from slipway_runtime.artefact import verify_artefact
    from slipway_runtime.manifest import DIGEST_PATTERN

    if arguments.digest is not None and re.fullmatch(DIGEST_PATTERN, arguments.digest) is None:
        raise UsageError(f"--digest is {arguments.digest!a}, expected sha256: and 64 lower-case hex digits")
    artefact = verify_artefact(arguments.directory, arguments.digest)
    sys.stdout.write(f"{artefact.digest}  {artefact.path}: {len(artefact.manifest.files)} files as listed\n")
    return OK


def _inspect(arguments: argparse.Namespace) -> int:
    from slipway_runtime.artefact import artefact_table, describe_artefact, load_artefact

    artefact = load_artefact(arguments.directory)
    sys.stdout.write(
        json.dumps(describe_artefact(artefact), indent=2) + "\n" if arguments.json else artefact_table(artefact)
    )
    return OK


def _predict(arguments: argparse.Namespace) -> int:
    from slipway_runtime.predict import PredictError, Target, predict, read_samples, split_address
    from slipway_runtime.prediction_report import prediction_document, prediction_text

    target = Target(
        address=arguments.address,
        protocol=arguments.protocol,
        model=arguments.model,
        version=arguments.model_version,
        revision=arguments.revision,
        timeout_s=arguments.timeout,
    )
    try:
        split_address(arguments.address)
    except FormatError as error:
        raise UsageError(str(error)) from error
    path = arguments.input
    if arguments.artefact is not None:
        from slipway_runtime.artefact import load_artefact

        path = arguments.artefact / load_artefact(arguments.artefact).manifest.golden
    samples = read_samples(path, arguments.input_name)
    try:
        outcomes = [predict(target, sample, arguments.rtol, arguments.atol) for sample in samples]
    except PredictError as error:
        if arguments.json:
            sys.stdout.write(json.dumps({"ok": False, "error": str(error)}) + "\n")
        sys.stderr.write(f"slipway-runtime predict: {error}\n")
        return FAILED
    sys.stdout.write(json.dumps(prediction_document(outcomes)) + "\n" if arguments.json else prediction_text(outcomes))
    return OK if all(outcome.passed for outcome in outcomes) else FAILED


def _gate(arguments: argparse.Namespace) -> int:
    from slipway_runtime.figures import Options
    from slipway_runtime.gate import Gate, Subject, run_gate

    if arguments.requests is None and arguments.candidate_artefact is None:
        raise UsageError("needs --requests, or --candidate-artefact, which has recorded ones")
    output, separator, count = (arguments.top_k or "").rpartition("=")
    if arguments.top_k is not None and not (separator and output and count.isdigit() and int(count) > 0):
        raise UsageError(f"--top-k is {arguments.top_k!a}, expected OUTPUT=K")
    gate = Gate(
        kind=arguments.kind,
        model=arguments.model,
        candidate=Subject(
            url=arguments.candidate,
            version=arguments.candidate_version,
            artefact=arguments.candidate_artefact,
            digest=arguments.candidate_digest,
        ),
        stable=Subject(
            url=arguments.stable,
            version=arguments.stable_version,
            artefact=arguments.stable_artefact,
            digest=arguments.stable_digest,
        ),
        requests=arguments.requests,
        options=Options(
            rtol=arguments.rtol,
            atol=arguments.atol,
            top_k=(output, int(count)) if arguments.top_k is not None else None,
        ),
        timeout_s=arguments.timeout,
    )
    return run_gate(gate, arguments.report)


def _metric(arguments: argparse.Namespace) -> int:
    from slipway_runtime.metric import Metric, run_metric

    if arguments.min is None and arguments.max is None:
        raise UsageError("needs --min, --max or both")
    metric = Metric(
        url=arguments.url,
        query=arguments.query,
        least=arguments.min,
        most=arguments.max,
        initial_delay_s=arguments.initial_delay,
        interval_s=arguments.interval,
        count=arguments.count,
        failure_limit=arguments.failure_limit,
        inconclusive_limit=arguments.inconclusive_limit,
        consecutive_error_limit=arguments.consecutive_error_limit,
        left_s=math.inf if arguments.ends_at is None else arguments.ends_at - time.time(),
        timeout_s=arguments.timeout,
    )
    return run_metric(metric, arguments.report)


if __name__ == "__main__":
    sys.exit(main())
