"""Versions that load but answer wrongly, or NaN, are given up by their gates under load, and never have a request; a record
that stable does not meet either blames nobody; a good version passes both gates and is promoted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from tests.cluster.kube import Object
from tests.demo.journey import MANIFESTS, Journey, condition, rewrite_manifest
from tests.e2e.conftest import NAMESPACE, manifest
from tests.load.background import Load
from tests.load.tally import Report

NAME = "gates"
STABLE, GOOD, SCALED, NAN = "1.0.0", "2.1.0", "7.7.7", "8.8.8"
REVISIONS = {STABLE: 1, SCALED: 2, NAN: 3, GOOD: 4}
STALE_RECORD = "stale-record"
REST: list[dict[str, Any]] = [{"setWeight": 20}, {"pause": {"durationSeconds": 5}}]
GOLDEN: dict[str, Any] = {"golden": {}}
PARITY = {"parity": {"maxMismatchPercent": 100}}  # another model may answer otherwise, but never NaN
# Runs in the runtime image, which has torch. In a file, because TorchScript reads the source of what it compiles.
BREAK_THEM = f"""
import torch

class Changed(torch.nn.Module):
    def __init__(self, inner, factor: float):
        super().__init__()
        self.inner = inner
        self.factor = factor

    def forward(self, features: torch.Tensor):
        return self.inner(features) * self.factor

for version, factor in (("{SCALED}", 1.5), ("{NAN}", float("nan"))):
    path = f"/models/fraud/{{version}}/model.pt"
    torch.jit.script(Changed(torch.jit.load(path), factor)).save(path)
"""


@dataclass(frozen=True)
class Story:
    report: Report
    scaled: Object  # the ModelDeployment after each version
    nan: Object
    blameless: Object
    promoted: Object
    log: str  # of the Job that failed the scaled version
    jobs_left: list[Object]


def break_two_versions(journey: Journey) -> None:
    """Packages with the golden.json of 1.0.0 whose models answer otherwise: by half more, and NaN."""
    folder = journey.volume / "fraud"
    for version in (SCALED, NAN):
        shutil.rmtree(folder / version, ignore_errors=True)
        shutil.copytree(folder / STABLE, folder / version)
        (folder / version / "model.pt").chmod(0o666)  # the Job is nobody's friend on this volume
        (folder / version).chmod(0o777)
    (folder / "break_them.py").write_text(BREAK_THEM)
    job = yaml.safe_load((MANIFESTS / "train.yaml").read_text())
    job["metadata"]["name"] = "break-them"
    job["spec"]["template"]["spec"]["containers"][0]["command"] = ["python", "/models/fraud/break_them.py"]
    journey.kube.delete("job/break-them", NAMESPACE)
    journey.kube.apply(job, namespace=NAMESPACE)
    journey.finish_training("job/break-them")
    for version in (SCALED, NAN):
        rewrite_manifest(folder / version, "model.pt")


def write_stale_record(journey: Journey) -> None:
    """A ConfigMap with requests whose recorded answers no version gives."""
    samples = json.loads((journey.volume / "fraud" / STABLE / "golden.json").read_text())
    for sample in samples:
        for output in sample["outputs"]:
            output["data"] = [value + 1000.0 for value in output["data"]]
    data = {"golden.json": json.dumps(samples)}
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": STALE_RECORD}, "data": data}
    journey.kube.apply(config_map, namespace=NAMESPACE)


def deployment(version: str, *gates: dict[str, Any]) -> dict[str, Any]:
    rollout = {"canary": {"steps": [*gates, *REST]}, "scaleDownDelaySeconds": 3}
    uri = f"pvc://models/fraud/{version}"
    return manifest(NAME, uri=uri, model={"version": version}, replicas=2, rollout=rollout)


def until(journey: Journey, version: str, reason: str, words: str) -> Object:
    def holds(found: Object) -> bool:
        ready = condition(found, "Ready")
        return bool(
            ready["reason"] == reason
            and words in ready["message"]
            and found["status"].get("updateRevision") == REVISIONS[version]
            and ready["observedGeneration"] == found["metadata"]["generation"]
        )

    what = f"be {reason} with version {version}"
    return journey.kube.wait(f"mdep/{NAME}", what, holds, namespace=NAMESPACE, timeout_s=240)


@pytest.fixture(scope="module")
def story(journey: Journey) -> Iterator[Story]:
    break_two_versions(journey)
    write_stale_record(journey)
    journey.train(GOOD, seed=2, epochs=2)
    journey.kube.apply(deployment(STABLE, GOLDEN), namespace=NAMESPACE)
    journey.wait_ready(NAME, lambda reason, _: print(reason))
    service = journey.kube.get(f"service/{NAME}", NAMESPACE)
    assert service is not None
    address = service["spec"]["clusterIP"]
    folder = journey.volume / "fraud"
    load = Load.in_cluster(
        http=f"{address}:8000",
        grpc=f"{address}:8001",
        model=NAME,
        artefacts={"1": folder / STABLE, "4": folder / GOOD},
    )
    with load:
        journey.kube.apply(deployment(SCALED, GOLDEN), namespace=NAMESPACE)
        scaled = until(journey, SCALED, "GoldenFailed", "recorded requests wrongly")
        job = condition(scaled, "Ready")["message"].partition("(kubectl logs ")[2].partition(")")[0]
        log = journey.kube.kubectl("logs", job, f"--namespace={NAMESPACE}")
        journey.kube.apply(deployment(NAN, PARITY), namespace=NAMESPACE)
        nan = until(journey, NAN, "ParityFailed", "NaN")
        stale = {"golden": {"configMapRef": {"name": STALE_RECORD}}}
        journey.kube.apply(deployment(GOOD, stale), namespace=NAMESPACE)
        blameless = until(journey, GOOD, "PausedAtStep", "both fail")
        journey.kube.apply(deployment(GOOD, GOLDEN, PARITY), namespace=NAMESPACE)
        promoted = journey.wait_ready(NAME, lambda reason, text: print(reason, text), timeout_s=300)
        load.wait(lambda report: report.by_revision.get("4", 0) > 50, "reach the promoted version")
        report = load.stop()
    print(report.text())
    jobs = json.loads(
        journey.kube.kubectl(
            *("get", "jobs", "--selector", f"slipway.dev/deployment={NAME}", f"--namespace={NAMESPACE}", "-o", "json")
        )
    )["items"]
    yield Story(report=report, scaled=scaled, nan=nan, blameless=blameless, promoted=promoted, log=log, jobs_left=jobs)
    journey.kube.delete(f"mdep/{NAME}", NAMESPACE)
    journey.kube.delete(f"configmap/{STALE_RECORD}", NAMESPACE)


def test_a_version_that_answers_wrongly_is_given_up_with_the_figures(story: Story) -> None:
    last = story.scaled["status"]["history"][0]
    print(last["reason"])
    assert (last["version"], last["outcome"]) == (SCALED, "Aborted")
    assert "revision 2 answers 1 of 1 recorded requests wrongly (request 0: output " in last["reason"]
    assert "revision 1 answers all 1 of its own as recorded" in last["reason"]
    assert condition(story.scaled, "Stalled")["status"] == "True"
    assert condition(story.scaled, "Available")["status"] == "True"


def test_the_log_of_its_job_says_which_request_and_no_value_of_an_answer(story: Story) -> None:
    print(story.log)
    assert "revision 2, request 0: output " in story.log
    assert "revision 1, request 0: as recorded" in story.log


def test_a_version_that_answers_nan_is_given_up_whatever_parity_allows(story: Story) -> None:
    last = story.nan["status"]["history"][0]
    print(last["reason"])
    assert (last["version"], last["outcome"]) == (NAN, "Aborted")
    assert "holds NaN or an infinity" in last["reason"]


def test_a_record_that_stable_does_not_meet_either_blames_nobody(story: Story) -> None:
    print(condition(story.blameless, "Ready")["message"])
    assert story.blameless["status"]["rollout"]["stage"] == "Paused"
    assert all(line.get("weight") == 0 for line in story.blameless["status"]["revisions"] if line["role"] == "Canary")


def test_a_good_version_passes_both_gates_and_is_promoted(story: Story) -> None:
    assert story.promoted["status"]["stableRevision"] == REVISIONS[GOOD]
    assert story.promoted["status"]["history"][0]["outcome"] == "Promoted"
    assert story.jobs_left == []


def test_nobody_was_ever_answered_by_a_version_that_failed(story: Story) -> None:
    assert set(story.report.by_revision) == {"1", "4"}
    assert story.report.failed == 0, story.report.text()
    assert story.report.wrong == 0, story.report.text()
    assert story.report.checked > 100
