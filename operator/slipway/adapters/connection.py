"""One request to the API server and its answer: credentials, time limits, metrics, errors of ours; and the gate of writes.

`kubernetes.aio` reads kubeconfigs and gives TLS through its generic ApiClient; the typed API classes would cost 180 MB, and
its own requests are encoded by the standard library, which takes ten times as long as orjson for a frozen revision.

Whatever is not a read asks the gate twice: when the request is made, which also bounds how long it may take, here and
in the API server; and at the last moment before its bytes go out, after the connection was made. In between a process
can be stopped for minutes, and wake up with its lease gone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import load_kube_config
from yarl import URL

from slipway import telemetry
from slipway.adapters.access import Access, KubeconfigFile, TokenFile
from slipway.adapters.answers import decode, error_for
from slipway.adapters.clock import SystemClock
from slipway.adapters.election import Gate
from slipway.adapters.reach import Reach
from slipway.adapters.request import JSON, READS, Request
from slipway.api import names
from slipway.errors import Unreachable

CONNECT_S = 5.0
TOO_MANY_REQUESTS = 429
REQUEST_S = 20.0


class Connection:
    """A pool of connections with one identity. Errors of slipway.errors are all that comes out."""

    def __init__(self, client: Any, token: Callable[[], str] | None, gate: Gate) -> None:
        self.reach = Reach(SystemClock())
        self._client = client
        self._token = token
        self._gate = gate
        self._session = self.new_session()

    @classmethod
    async def connect(cls, access: Access, gate: Gate) -> Connection:
        """Prepares everything; the first request opens the first connection."""
        configuration = Configuration()
        token: Callable[[], str] | None = None
        if isinstance(access, KubeconfigFile):
            await load_kube_config(config_file=access.path, client_configuration=configuration, persist_config=False)
            if words := configuration.api_key.get("BearerToken"):
                token = lambda: str(words)  # noqa: E731 - carries its scheme already
        else:
            configuration.host = access.server
            configuration.ssl_ca_cert = access.ca_file or None
            file = TokenFile(access.token_file)
            token = lambda: f"Bearer {file.read()}"  # noqa: E731
        return cls(ApiClient(configuration), token, gate)

    async def close(self) -> None:
        await self._session.close()
        await self._client.close()
        await asyncio.sleep(0)  # transports that were aborted close their sockets in the next turn of the loop

    @property
    def server(self) -> str:
        return str(self._client.configuration.host)

    def new_session(self) -> aiohttp.ClientSession:
        """An HTTP session with our credentials for another client (kopf); the token is read again for each request."""

        async def authorise(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
            if self._token is not None:
                request.headers["Authorization"] = self._token()
            return await send(request)

        connector = aiohttp.TCPConnector(ssl=self._client.rest_client.ssl_context, limit=0)
        return aiohttp.ClientSession(
            connector=connector,
            request_class=_gated(self._gate),
            middlewares=(authorise,),
            headers={"User-Agent": names.USER_AGENT},
            # Proxy variables and ~/.netrc must not redirect our token, and looking them up doubles the CPU of a call.
            trust_env=False,
            read_bufsize=2**21,
        )

    async def call(self, request: Request, *, about: str = "", total_s: float = REQUEST_S) -> dict[str, Any]:
        """The answer's JSON object. Raises LeadershipLost for a write that must not be sent."""
        what = f"{request}/{about}" if about else str(request)
        if request.is_write:
            total_s = min(total_s, self._gate.seconds_left())
            request = request.ended_after(total_s)
        with foreign_errors(what):
            response = await self.open(request, total_s, what)
            body = await response.read()
        return decode(body, what)

    async def open(self, request: Request, total_s: float | None, what: str) -> aiohttp.ClientResponse:
        """The answer's headers are there and say success; the body is still to be read."""
        headers = {"Accept": JSON, "Content-Type": request.content_type}
        code, began = 0, time.perf_counter()
        try:
            response = await self._session.request(
                request.method,
                URL(self.server + request.path, encoded=True),
                headers=headers,
                data=request.encoded_body(),
                server_hostname=self._client.configuration.tls_server_name or None,
                timeout=aiohttp.ClientTimeout(total=total_s, sock_connect=CONNECT_S),
            )
            code = response.status
        except (aiohttp.ClientError, TimeoutError, OSError):
            self.reach.failed()
            raise
        finally:
            telemetry.kube_requests.labels(request.verb, request.resource.plural, str(code)).inc()
            telemetry.kube_request_seconds.labels(request.verb).observe(time.perf_counter() - began)
        if code >= 500 or code == TOO_MANY_REQUESTS:
            self.reach.failed()
        else:
            self.reach.answered()
        if code >= 400:
            raise error_for(what, code, await response.read(), response.headers)
        return response


def _gated(gate: Gate) -> type[aiohttp.ClientRequest]:
    """Requests that ask the gate when their connection stands and nothing but the writing is left."""

    class GatedRequest(aiohttp.ClientRequest):
        async def send(self, conn: Any) -> aiohttp.ClientResponse:
            if self.method not in READS:
                gate.seconds_left()
            return await super().send(conn)

    return GatedRequest


@contextmanager
def foreign_errors(what: str) -> Iterator[None]:
    """Turns what aiohttp, TLS and the operating system raise into Unreachable."""
    try:
        yield
    except asyncio.CancelledError as error:
        # When kopf ends, it cancels every task younger than itself, aiohttp's helper tasks included. If nobody
        # cancelled *us*, this is a broken connection and no order to stop.
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise Unreachable(f"{what}: the connection was cancelled from outside") from error
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        words = str(error) or "no answer in time"
        raise Unreachable(f"{what}: {type(error).__name__}: {words[:200]}") from error
