from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from slipway.adapters.triton import Triton
from slipway.core.snapshot import ModelState, Tensor, Times
from slipway.errors import Unreachable
from tests.unit.adapters.fake_http import FakeSession

INDEX = "POST /v2/repository/index"
READY = "GET /v2/models/fraud/versions/3/ready"
METADATA = "GET /v2/models/fraud/versions/3"
METRICS = "GET /metrics"


def triton(**answers: Any) -> Triton:
    paths = {"index": INDEX, "ready": READY, "metadata": METADATA, "metrics": METRICS}
    return Triton(FakeSession({paths[name]: answer for name, answer in answers.items()}).session)


async def state(index: Any, ready: Any = (400, "")) -> ModelState:
    return await triton(index=index, ready=ready).model_state("pod-a", "10.0.0.7", "fraud", 3)


async def test_a_ready_model_is_ready() -> None:
    index = (200, [{"name": "fraud", "version": "3", "state": "READY"}])
    assert await state(index, (200, "")) == ModelState(pod="pod-a", ready=True, state="READY")


async def test_readiness_is_asked_by_itself_because_the_index_does_not_know_the_backends_health() -> None:
    index = (200, [{"name": "fraud", "version": "3", "state": "READY"}])
    assert await state(index, (400, "")) == ModelState(pod="pod-a", ready=False, state="READY")


async def test_a_failed_load_brings_tritons_reason() -> None:
    index = (200, [{"name": "fraud", "version": "3", "state": "UNAVAILABLE", "reason": "Internal: bad magic"}])
    seen = await state(index)
    assert (seen.ready, seen.state, seen.reason) == (False, "UNAVAILABLE", "Internal: bad magic")


async def test_a_model_that_failed_before_it_had_versions_has_its_reason_too() -> None:
    index = (200, [{"name": "fraud", "version": "", "state": "UNAVAILABLE", "reason": "no model version was found"}])
    assert (await state(index)).reason == "no model version was found"


async def test_a_version_that_triton_does_not_list_after_its_start_will_not_come() -> None:
    index = (
        200,
        [{"name": "fraud", "version": "2", "state": "READY"}, {"name": "x", "version": "3", "state": "READY"}],
    )
    seen = await state(index)
    assert (seen.ready, seen.state) == (False, "UNAVAILABLE")
    assert seen.reason == "Triton does not list version 3 of model fraud; its log says why"


@pytest.mark.parametrize(
    "index", [aiohttp.ClientConnectionError("refused"), TimeoutError(), (200, "no json"), None], ids=str
)
async def test_while_nobody_answers_properly_the_state_is_empty(index: Any) -> None:
    assert await state(index) == ModelState(pod="pod-a", ready=False)


@pytest.mark.parametrize("index", [(200, {}), (200, "5"), (200, [{"name": "fraud", "version": 3, "state": 5}])])
async def test_a_malformed_index_crashes_nobody(index: Any) -> None:
    assert (await state(index)).state == ""


async def test_a_reason_without_end_is_cut() -> None:
    index = (200, [{"name": "fraud", "version": "3", "state": "UNAVAILABLE", "reason": "x" * 100_000}])
    assert len((await state(index)).reason) == 2000


async def test_the_signature_is_the_models_metadata() -> None:
    metadata = {
        "name": "fraud",
        "versions": ["3"],
        "platform": "python",
        "inputs": [{"name": "INPUT__0", "datatype": "FP32", "shape": [-1, 1000]}],
        "outputs": [{"name": "OUTPUT__0", "datatype": "FP32", "shape": [-1, 1]}],
    }
    signature = await triton(metadata=(200, metadata)).signature("10.0.0.7", "fraud", 3)
    assert signature.revision == 3
    assert signature.inputs == (Tensor(name="INPUT__0", datatype="FP32", shape=(-1, 1000)),)
    assert signature.outputs == (Tensor(name="OUTPUT__0", datatype="FP32", shape=(-1, 1)),)


@pytest.mark.parametrize(
    "metadata",
    [
        (400, {"error": "x"}),
        (200, []),
        (200, {}),
        (200, {"inputs": [{"shape": ["a"]}], "outputs": []}),
        (200, {"inputs": [3], "outputs": []}),
        TimeoutError(),
    ],
    ids=str,
)
async def test_a_signature_that_makes_no_sense_is_unreachable(metadata: Any) -> None:
    with pytest.raises(Unreachable):
        await triton(metadata=metadata).signature("10.0.0.7", "fraud", 3)


def counters(model: str = "fraud", version: str = "3", more: str = "", **values: str) -> str:
    """As a Triton 2.51 writes them; tests/integration/triton asks a real one."""
    facts = {
        "request_success": "312",
        "queue_duration_us": "12792000",
        "compute_infer_duration_us": "3.12e+06",
        **values,
    }
    lines = ["# HELP nv_gpu_utilization GPU utilization rate [0.0 - 1.0)", "# TYPE nv_gpu_utilization gauge"]
    for name, value in facts.items():
        lines += [
            f"# HELP nv_inference_{name} Words",
            f"# TYPE nv_inference_{name} counter",
            f'nv_inference_{name}{{{more}model="{model}",version="{version}"}} {value}',
        ]
    return "\n".join(lines) + "\n"


async def times(body: Any, status: int = 200) -> Times:
    return await triton(metrics=(status, body)).times("10.0.0.7", "fraud", 3)


async def test_the_times_are_the_counters_of_this_model_version() -> None:
    others = counters(version="2") + counters(model="other")
    assert await times(others + counters()) == Times(requests=312, queue_us=12_792_000, compute_us=3_120_000)


async def test_a_model_on_several_devices_is_the_sum_of_them() -> None:
    text = "".join(counters(more=f'gpu_uuid="GPU-{device}",') for device in ("a", "b"))
    assert await times(text) == Times(requests=624, queue_us=25_584_000, compute_us=6_240_000)


async def test_the_metrics_port_is_the_one_that_tritons_are_started_with() -> None:
    session = FakeSession({METRICS: (200, counters())})
    await Triton(session.session).times("10.0.0.7", "fraud", 3)
    assert session.asked == ["http://10.0.0.7:8002/metrics"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("", "has no counters of model fraud version 3 (compute_us, queue_us, requests)"),
        (counters(version="4"), "has no counters of model fraud version 3"),
        (counters(queue_duration_us="NaN"), "answered impossible counters"),
        (counters(request_success="-1"), "answered impossible counters"),
        (counters(request_success="1e300"), "answered impossible counters"),
        (counters(request_success="many"), "answered text that is no Prometheus format"),
        ('nv_inference_request_success{model="fraud', "answered text that is no Prometheus format"),
        (f'nv_inference_request_success{{model="{"x" * 3000}"}} 1', "answered more lines than Triton has"),
        ('nv_inference_request_success{version="1"} 1\n' * 4000, "answered more lines than Triton has"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_times_that_make_no_sense_are_none(body: str, words: str) -> None:
    with pytest.raises(Unreachable) as caught:
        await times(body)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "answer", [(404, "x"), TimeoutError(), aiohttp.ClientConnectionError("refused"), None], ids=str
)
async def test_a_triton_that_does_not_tell_its_times_is_unreachable(answer: Any) -> None:
    with pytest.raises(Unreachable):
        await triton(metrics=answer).times("10.0.0.7", "fraud", 3)


async def test_lines_of_other_families_cost_nothing_whatever_they_are() -> None:
    assert (await times("}{ nonsense\n" * 20_000 + counters())).requests == 312
