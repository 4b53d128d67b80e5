"""A real Prometheus scrapes real Triton pods, and the step `prometheus` judges new versions by it under load: one that breaks its
bound is given up, a query that cannot be blames nobody, one that keeps its bounds is promoted, and without a Prometheus nothing
goes on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.cluster import network
from tests.cluster.kube import Object
from tests.demo.journey import Journey, condition, install_operator
from tests.e2e.conftest import NAMESPACE, manifest
from tests.load.background import Load
from tests.load.tally import Report
from tests.support.prometheus import Prometheus, PrometheusMissing, binary

NAME = "metrics"
PORT = 19090
STABLE, OTHER = "1.0.0", "2.1.0"
REVISIONS = {"1.0.0": 1, "2.1.0-greedy": 2, "2.1.0-typo": 3, "2.1.0-good": 4, "2.1.0-blind": 5}
ANSWERS = 'sum(rate(nv_inference_request_success{model="{{modelName}}",version="{{revision}}"}[10s]))'
FAILURES = 'sum(rate(nv_inference_request_failure{model="{{modelName}}",version="{{revision}}"}[10s])) or vector(0)'
LOOKS = {"initialDelaySeconds": 20, "intervalSeconds": 2, "count": 3}


@dataclass(frozen=True)
class Story:
    report: Report
    greedy: Object  # the ModelDeployment after each version
    typo: Object
    good: Object
    blind: Object
    log: str  # of the Job of the version that breaks its bound


def deployment(version: str, **metric: Any) -> dict[str, Any]:
    steps = [{"setWeight": 20}, *([{"prometheus": {**LOOKS, **metric}}] if metric else [])]
    rollout = {"canary": {"steps": steps}, "scaleDownDelaySeconds": 3}
    uri = f"pvc://models/fraud/{STABLE if version == STABLE else OTHER}"
    return manifest(NAME, uri=uri, model={"version": version}, rollout=rollout)


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
    return journey.kube.wait(f"mdep/{NAME}", what, holds, namespace=NAMESPACE, timeout_s=180)


def begin(journey: Journey, prometheus: Prometheus, version: str, **metric: Any) -> None:
    """Apply it, and once its pods stand let Prometheus scrape them: the looks begin 20 s later."""
    journey.kube.apply(deployment(version, **metric), namespace=NAMESPACE)
    until(journey, version, "RollingOut", "asking Prometheus")
    pods = journey.kube.list("pods", NAMESPACE, selector=f"slipway.dev/deployment={NAME},slipway.dev/component=model")
    addresses = [pod["status"]["podIP"] for pod in pods if pod["status"].get("podIP")]
    prometheus.scrape("triton", *(f"{address}:8002" for address in addresses))


@pytest.fixture(scope="module")
def listen(journey: Journey) -> Iterator[str]:
    """Where Prometheus listens on the node, and where the operator knows it for the time of these tests."""
    try:
        binary()
    except PrometheusMissing as missing:
        pytest.skip(str(missing))
    address = f"{journey.local.state.addresses.node}:{PORT}"
    install_operator(journey.local, journey.kube, prometheus_url=f"http://{address}")
    yield address
    journey.kube.delete(f"mdep/{NAME}", NAMESPACE)
    install_operator(journey.local, journey.kube)


@pytest.fixture(scope="module")
def story(journey: Journey, listen: str, tmp_path_factory: pytest.TempPathFactory) -> Story:
    journey.provide({OTHER: 2})
    within = network.enter(journey.local.layout)
    with Prometheus.start(tmp_path_factory.mktemp("prometheus"), listen=listen, within=within) as prometheus:
        journey.kube.apply(deployment(STABLE), namespace=NAMESPACE)
        journey.wait_ready(NAME, lambda reason, _: print(reason))
        service = journey.kube.get(f"service/{NAME}", NAMESPACE)
        assert service is not None
        address, folder = service["spec"]["clusterIP"], journey.volume / "fraud"
        artefacts = {"1": folder / STABLE, **{str(number): folder / OTHER for number in range(2, 6)}}
        load = Load.in_cluster(http=f"{address}:8000", grpc=f"{address}:8001", model=NAME, artefacts=artefacts)
        with load:
            begin(journey, prometheus, "2.1.0-greedy", query=ANSWERS, max="0.5")
            greedy = until(journey, "2.1.0-greedy", "MetricOutOfBounds", "out of bounds")
            job = condition(greedy, "Ready")["message"].partition("(kubectl logs ")[2].partition(")")[0]
            log = journey.kube.kubectl("logs", job, f"--namespace={NAMESPACE}")
            begin(journey, prometheus, "2.1.0-typo", query="sum(rate(nv_inference_request_success[10s])", max="1")
            typo = until(journey, "2.1.0-typo", "PausedAtStep", "Prometheus refuses the query")
            begin(journey, prometheus, "2.1.0-good", query=f"({FAILURES}) / ({ANSWERS})", max="0.01")
            good = journey.wait_ready(NAME, lambda reason, text: print(reason, text), timeout_s=240)
            load.wait(lambda report: report.by_revision.get("4", 0) > 50, "reach the promoted version")
            report = load.stop()
    print(report.text())
    dead = {"query": ANSWERS, "min": "0", "consecutiveErrorLimit": 1, "initialDelaySeconds": 0}
    journey.kube.apply(deployment("2.1.0-blind", **dead), namespace=NAMESPACE)
    blind = until(journey, "2.1.0-blind", "PausedAtStep", "Prometheus gave no answer")
    return Story(report=report, greedy=greedy, typo=typo, good=good, blind=blind, log=log)


def test_a_version_beyond_its_bound_is_given_up_with_the_value(story: Story) -> None:
    last = story.greedy["status"]["history"][0]
    print(last["reason"])
    assert (last["version"], last["outcome"]) == ("2.1.0-greedy", "Aborted")
    found = re.match(
        r"the query's value is ([0-9.]+), expected of at most 0.5: out of bounds in 1 of 1 looks", last["reason"]
    )
    assert found is not None, last["reason"]
    assert 1.0 < float(found[1]) < 30.0, "a fifth of 30 requests a second, or the whole of them in a burst"
    assert condition(story.greedy, "Stalled")["status"] == "True"
    assert condition(story.greedy, "Available")["status"] == "True"


def test_the_log_of_its_job_has_the_query_as_it_was_put_and_each_look(story: Story) -> None:
    print(story.log)
    assert 'nv_inference_request_success{model="metrics",version="2"}[10s]' in story.log
    assert ", out of bounds" in story.log


def test_a_query_that_cannot_be_blames_nobody(story: Story) -> None:
    print(condition(story.typo, "Ready")["message"])
    assert "parse error: unclosed left parenthesis" in condition(story.typo, "Ready")["message"]
    assert story.typo["status"]["rollout"]["stage"] == "Paused"


def test_a_version_that_keeps_its_bounds_is_promoted(story: Story) -> None:
    assert story.good["status"]["stableRevision"] == REVISIONS["2.1.0-good"]
    last = story.good["status"]["history"][0]
    assert (last["version"], last["outcome"]) == ("2.1.0-good", "Promoted")


def test_without_a_prometheus_nothing_goes_on_and_nothing_passes(story: Story) -> None:
    print(condition(story.blind, "Ready")["message"])
    (canary,) = (line for line in story.blind["status"]["revisions"] if line["role"] == "Canary")
    assert canary["weight"] == 20
    assert story.blind["status"]["stableRevision"] == REVISIONS["2.1.0-good"]


def test_no_request_failed_meanwhile(story: Story) -> None:
    assert story.report.failed == 0, story.report.text()
    assert story.report.wrong == 0, story.report.text()
    assert story.report.checked > 100
