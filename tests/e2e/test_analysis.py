"""A version that answers a fifth of its requests with an error is given up by what the routers count, under load and without
a word about it in the spec; stable never fails, and nobody is hurt beyond the bad version's share."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from tests.cluster.kube import Object
from tests.demo.journey import MANIFESTS, Journey, condition, rewrite_manifest
from tests.e2e.conftest import NAMESPACE, manifest
from tests.load.background import Load
from tests.load.tally import Report

NAME = "judge"
BAD = "5.5.5"
WEIGHT = 10
REQUESTS_PER_SECOND = 80
ERROR_SHARE = 0.2
# Runs in the runtime image, which has torch. The first calls are well: a warm-up that fails would be a failed load, which is
# another story. In a file, because TorchScript reads the source of what it compiles.
MAKE_IT_FAIL = f"""
import torch

class Flaky(torch.nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.calls = 0

    def forward(self, features: torch.Tensor):
        self.calls += 1
        if self.calls > 20 and float(torch.rand(1)) < {ERROR_SHARE}:
            raise RuntimeError("broken on purpose")
        return self.inner(features)

path = "/models/fraud/{BAD}/model.pt"
torch.jit.script(Flaky(torch.jit.load(path))).save(path)
"""


@dataclass(frozen=True)
class Story:
    report: Report
    found: Object  # the ModelDeployment after it
    confirmed_s: float  # from the decision to the look that saw 0 %, confirmed by every router


def break_a_version(journey: Journey) -> None:
    """pvc://models/fraud/5.5.5: a consistent package of a model that fails now and then."""
    folder = journey.volume / "fraud"
    broken = folder / BAD
    shutil.rmtree(broken, ignore_errors=True)
    shutil.copytree(folder / "1.0.0", broken)
    (broken / "model.pt").chmod(0o666)  # the Job is nobody's friend on this volume
    broken.chmod(0o777)
    (folder / "make_it_fail.py").write_text(MAKE_IT_FAIL)
    job = yaml.safe_load((MANIFESTS / "train.yaml").read_text())
    job["metadata"]["name"] = "make-it-fail"
    job["spec"]["template"]["spec"]["containers"][0]["command"] = ["python", "/models/fraud/make_it_fail.py"]
    journey.kube.delete("job/make-it-fail", NAMESPACE)
    journey.kube.apply(job, namespace=NAMESPACE)
    journey.finish_training("job/make-it-fail")
    rewrite_manifest(broken, "model.pt")


def deployment(version: str) -> dict[str, Any]:
    rollout = {"canary": {"steps": [{"setWeight": WEIGHT}, {"pause": {}}]}, "scaleDownDelaySeconds": 3}
    uri = f"pvc://models/fraud/{version}"
    return manifest(NAME, uri=uri, model={"version": version}, replicas=2, rollout=rollout)


@pytest.fixture(scope="module")
def story(journey: Journey) -> Iterator[Story]:
    break_a_version(journey)
    journey.kube.apply(deployment("1.0.0"), namespace=NAMESPACE)
    journey.wait_ready(NAME, lambda reason, _: print(reason))
    service = journey.kube.get(f"service/{NAME}", NAMESPACE)
    assert service is not None
    address = service["spec"]["clusterIP"]
    good = journey.volume / "fraud" / "1.0.0"
    load = Load.in_cluster(
        http=f"{address}:8000",
        grpc=f"{address}:8001",
        model=NAME,
        artefacts={"1": good, "2": good},
        rate=REQUESTS_PER_SECOND,
    )
    with load:
        journey.kube.apply(deployment(BAD), namespace=NAMESPACE)

        def is_taken_back(found: Object) -> bool:
            lines = {line["version"]: line for line in found["status"].get("revisions", [])}
            gone = BAD not in lines or lines[BAD]["verifiedWeight"] == 0
            return condition(found, "Ready")["reason"] == "AnalysisFailed" and gone

        found = journey.kube.wait(f"mdep/{NAME}", "be given up", is_taken_back, namespace=NAMESPACE, timeout_s=180)
        decided = datetime.fromisoformat(found["status"]["history"][0]["endedAt"])
        confirmed_s = (datetime.now(UTC) - decided).total_seconds()
        time.sleep(5)
        report = load.stop()
    print(report.text())
    yield Story(report=report, found=found, confirmed_s=confirmed_s)
    journey.kube.delete(f"mdep/{NAME}", NAMESPACE)


def test_a_version_that_errs_is_given_up_with_the_figures(story: Story) -> None:
    last = story.found["status"]["history"][0]
    assert (last["version"], last["outcome"]) == (BAD, "Aborted")
    assert last["reason"].startswith("errors: ")
    assert "of revision 1" in last["reason"]
    assert condition(story.found, "Stalled")["status"] == "True"
    assert condition(story.found, "Available")["status"] == "True"
    print(last["reason"])


def test_its_share_is_gone_soon_after_the_decision_and_nothing_fails_any_more(story: Story) -> None:
    """The decision's time has whole seconds, so the figure may be a second too high."""
    failed = [second for second, count in enumerate(story.report.failures) if count]
    assert failed, "the version never failed: nothing was tested"
    print(
        f"failures from second {failed[0]} to {failed[-1]} of the load; "
        f"decision to confirmed 0 %: {story.confirmed_s:.1f} s at most"
    )
    assert sum(story.report.failures[-3:]) == 0
    assert story.confirmed_s < 10


def test_only_the_bad_version_s_share_is_hurt(story: Story) -> None:
    """A failed answer of Triton carries the revision in its header only for HTTP; so the sum is compared, not each."""
    report = story.report
    seconds = sum(1 for count in report.failures if count)
    assert report.failed <= 2 * ERROR_SHARE * WEIGHT / 100 * REQUESTS_PER_SECOND * max(seconds, 5) + 10
    assert report.wrong == 0
