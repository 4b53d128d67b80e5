"""predict.py over real HTTP and gRPC on loopback, against a server that doubles and answers with the header of a router."""

# mypy: disable-error-code="misc, import-untyped"
from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tritonclient.grpc", reason="tritonclient is not installed: these tests run in the runtime image")

import grpc
import numpy
from tritonclient.grpc import service_pb2, service_pb2_grpc

from slipway_runtime.golden import Sample, TensorData
from slipway_runtime.predict import PredictError, Target, predict, read_samples

QUESTION = TensorData("x", "FP32", (2, 2), (1.0, 2.0, 3.0, 4.0))
DOUBLED = TensorData("y", "FP32", (2, 2), (2.0, 4.0, 6.0, 8.0))


class Http(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        length = int(self.headers["Inference-Header-Content-Length"])
        values = numpy.frombuffer(body[length:], dtype=numpy.float32) * 2
        if self.headers["x-slipway-revision"] == "99":
            self.answer(404, b'{"error": "revision 99 is not live; live are 3 and 4"}', 0)
            return
        output = {"name": "y", "datatype": "FP32", "shape": [2, 2], "parameters": {"binary_data_size": values.nbytes}}
        document = {"model_name": self.path.split("/")[3], "model_version": "4", "outputs": [output]}
        head = json.dumps(document).encode()
        self.answer(200, head + values.tobytes(), len(head))

    def answer(self, status: int, body: bytes, head: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if head:
            self.send_header("Inference-Header-Content-Length", str(head))
            self.send_header("x-slipway-revision", self.headers["x-slipway-revision"] or "4")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


class Grpc(service_pb2_grpc.GRPCInferenceServiceServicer):
    def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802 - the name is the protocol's
        pinned = dict(context.invocation_metadata()).get("x-slipway-revision")
        if pinned == "99":
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "revision 99 is not live; live are 3 and 4")
        context.send_initial_metadata((("x-slipway-revision", pinned or "4"),))
        values = numpy.frombuffer(request.raw_input_contents[0], dtype=numpy.float32) * 2
        response = service_pb2.ModelInferResponse(model_name=request.model_name, model_version="4")
        response.outputs.add(name="y", datatype="FP32", shape=list(request.inputs[0].shape))
        response.raw_output_contents.append(values.tobytes())
        return response


@pytest.fixture(scope="module")
def addresses() -> Iterator[dict[str, str]]:
    web = HTTPServer(("127.0.0.1", 0), Http)
    thread = threading.Thread(target=web.serve_forever, daemon=True)
    thread.start()
    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool)
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Grpc(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield {"http": f"127.0.0.1:{web.server_port}", "grpc": f"127.0.0.1:{port}"}
        server.stop(0).wait()
    web.shutdown()
    web.server_close()
    thread.join()


def target(protocol: str, addresses: dict[str, str], revision: str | None = None) -> Target:
    return Target(
        address=addresses[protocol], protocol=protocol, model="fraud", version="", revision=revision, timeout_s=10.0
    )


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize("revision", [None, "3"])
def test_an_answer_carries_version_revision_and_values(
    protocol: str, revision: str | None, addresses: dict[str, str]
) -> None:
    outcome = predict(target(protocol, addresses, revision), Sample((QUESTION,), (DOUBLED,), 0.0, 0.0), None, None)
    assert outcome.passed
    assert outcome.answer.outputs == (DOUBLED,)
    assert (outcome.answer.model_name, outcome.answer.model_version) == ("fraud", "4")
    assert outcome.answer.revision == (revision or "4")


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_wrong_answer_does_not_pass(protocol: str, addresses: dict[str, str]) -> None:
    other = TensorData("y", "FP32", (2, 2), (2.0, 4.0, 6.0, 9.0))
    outcome = predict(target(protocol, addresses), Sample((QUESTION,), (other,), 0.0, 0.5), None, None)
    assert not outcome.passed


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_refusal_keeps_the_servers_words(protocol: str, addresses: dict[str, str]) -> None:
    with pytest.raises(PredictError, match="revision 99 is not live; live are 3 and 4"):
        predict(target(protocol, addresses, "99"), Sample((QUESTION,), (), 0.0, 0.0), None, None)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_nobody_listening_is_a_predict_error(protocol: str) -> None:
    with pytest.raises(PredictError, match=r"127\.0\.0\.1:1 "):
        predict(target(protocol, {protocol: "127.0.0.1:1"}), Sample((QUESTION,), (), 0.0, 0.0), None, None)


def test_an_array_file_becomes_one_input(tmp_path: Path) -> None:
    numpy.save(tmp_path / "x.npy", numpy.array([[1.0, 2.0], [3.0, 4.0]], dtype=numpy.float32))
    (sample,) = read_samples(tmp_path / "x.npy", "x")
    assert sample.inputs == (QUESTION,)
