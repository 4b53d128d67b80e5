"""The fault proxy: TLS on loopback between one operator and the API server. Logs every request, and does to it what a
perturbation says. The operator's own client certificate is presented upstream, so its real access rights apply.

    operator ──TLS──▶ proxy ──TLS, the operator's identity──▶ API server
                        └─ narrows cluster-wide lists and watches to one namespace: operators run side by side
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from yarl import URL

from tests.faults import calls
from tests.faults.answers import Upstream, as_object, controller_uid, kept_headers, passed_headers, refusal, relayed
from tests.faults.calls import Call
from tests.faults.journal import Entry, Journal
from tests.faults.streams import Death, Mode, Stream, Streams, reset
from tests.faults.verdict import Fate, Perturbation, Verdict

# Longer than the operator's own limit of a request (20 s in adapters/cluster.py).
HANG_S = 24.0


@dataclass(slots=True)
class Session:
    """What belongs to one run: one operator's namespace, its journal, and what is to go wrong."""

    namespace: str
    perturbation: Perturbation
    kill: Callable[[float], None] = lambda _: None  # the operator; it comes back after so many seconds
    wipe: Callable[[], None] = lambda: None
    journal: Journal = field(default_factory=Journal)
    streams: Streams = field(default_factory=Streams)
    armed: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    stale_at: dict[str, str] = field(
        default_factory=dict
    )  # resource → resourceVersion that its lists are answered as of
    armed_version: str = "0"
    outage_way: str = ""


class Proxy:
    """One listening port; `session` changes from run to run."""

    def __init__(self, upstream: str, identity: ssl.SSLContext | None, server: ssl.SSLContext | None) -> None:
        self._upstream = upstream
        self._identity = identity
        self._context = server
        self._client: aiohttp.ClientSession | None = None
        self._web = web.Server(self._handle, handler_cancellation=True, access_log=None)
        self._listener: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self._session: Session | None = None

    async def start(self) -> None:
        connector = aiohttp.TCPConnector(ssl=self._identity or False, limit=0)
        self._client = aiohttp.ClientSession(
            connector=connector, trust_env=False, read_bufsize=2**22, timeout=aiohttp.ClientTimeout(total=None)
        )
        await self._listen()

    async def stop(self) -> None:
        if self._session is not None:
            self._session.streams.close()
        for task in self._tasks:
            task.cancel()
        await self._refuse()
        await self._web.shutdown(0.1)
        if self._client is not None:
            await self._client.close()

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(
            self._web, "127.0.0.1", self.port, ssl=self._context, reuse_address=True
        )
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _refuse(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self._reset_all()

    def _reset_all(self) -> None:
        for connection in self._web.connections:
            reset(connection.transport)

    @property
    def session(self) -> Session:
        assert self._session is not None  # `serve` comes first
        return self._session

    def serve(self, session: Session) -> None:
        """From now on requests belong to this run; whatever still runs of the one before is cut."""
        if self._session is not None:
            self._session.streams.close()
            self._reset_all()
        self._session = session

    # ── levers ───────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def streams(self) -> Streams:
        return self.session.streams

    def arm(self, resource_version: str) -> None:
        """From now on writes are counted and perturbed. `resource_version` is the present that stale lists will show."""
        self.session.armed_version = resource_version
        self.session.armed = True
        self.session.perturbation.begin(self)

    def kill_operator(self, down_s: float = 0.05) -> None:
        self.session.kill(down_s)

    def wipe_status(self) -> None:
        self.session.wipe()

    def stale(self, resources: tuple[str, ...], seconds: float) -> None:
        session = self.session
        for resource in resources:
            session.stale_at[resource] = session.armed_version
            session.streams.gate(resource, Mode.HOLD, seconds)
        asyncio.get_running_loop().call_later(seconds, session.stale_at.clear)

    def outage(self, way: str, seconds: float) -> None:
        task = asyncio.ensure_future(self._outage(self.session, way, seconds))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _outage(self, session: Session, way: str, seconds: float) -> None:
        session.outage_way = way
        if way == "refuse":
            await self._refuse()
        elif way == "hang":
            session.streams.kill((), Death.SILENT)
        else:
            session.streams.kill((), Death.RESET)
        try:
            await asyncio.sleep(seconds)
        finally:
            session.outage_way = ""
            if way == "refuse":
                await self._listen()
            else:
                self._reset_all()

    # ── one request ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        session = self.session
        call = calls.parse_call(request.method, request.path, request.query)
        raw = await request.read()
        body = as_object(raw) if call.is_write else None
        name = calls.label(call, body)
        nth = session.counts[name] + 1
        entry = session.journal.begin(call, name, armed=session.armed, nth=nth)
        entry.owner = controller_uid(body)
        try:
            return await self._judged(session, request, call, entry, raw)
        finally:
            entry.ended_at = asyncio.get_running_loop().time()

    async def _judged(
        self, session: Session, request: web.BaseRequest, call: Call, entry: Entry, raw: bytes
    ) -> web.StreamResponse:
        if session.outage_way:
            entry.fault = f"outage {session.outage_way}"
            verdict = Verdict(Fate.ANSWER, 503) if session.outage_way == "503" else Verdict(Fate.HANG)
            return await self._unforwarded(session, request, entry, verdict)
        if call.verb == "watch":
            if (code := session.streams.refusal(call)) is not None:
                entry.fault = f"rewatch {code}"
                return await self._unforwarded(session, request, entry, Verdict(Fate.ANSWER, code))
            return await self._watch(session, request, call, entry)
        if call.is_write and session.armed:
            verdict = session.perturbation.before(entry)
            if verdict.fate is not Fate.PASS:
                entry.fault = f"{verdict} before"
                return await self._unforwarded(session, request, entry, verdict)
        answer = await asyncio.shield(self._forward(session, request, call, entry, raw))
        if answer is None:
            return await self._unforwarded(session, request, entry, Verdict(Fate.RESET))
        if not call.is_write or not session.armed:
            entry.code = answer.status
            return relayed(answer)
        return await self._relay(session, request, entry, answer)

    async def _relay(
        self, session: Session, request: web.BaseRequest, entry: Entry, answer: Upstream
    ) -> web.StreamResponse:
        """The answer to a write, or what the perturbation makes of it."""
        verdict = session.perturbation.after(entry)
        if verdict.fate not in (Fate.PASS, Fate.KILL_AFTER):
            entry.fault = f"{verdict} after the commit"
            response = await self._unforwarded(session, request, entry, verdict)
            session.perturbation.relayed(entry)
            return response
        entry.code = answer.status
        response = relayed(answer)
        with suppress(ConnectionError):  # the operator has gone away meanwhile
            await response.prepare(request)
            await response.write_eof()
        if verdict.fate is Fate.KILL_AFTER:
            entry.fault = str(verdict)
            session.kill(0.05)
        session.perturbation.relayed(entry)
        return response

    async def _unforwarded(
        self, session: Session, request: web.BaseRequest, entry: Entry, verdict: Verdict
    ) -> web.StreamResponse:
        if verdict.fate is Fate.ANSWER:
            entry.code = verdict.code
            return refusal(verdict.code)
        if verdict.fate is Fate.KILL:
            session.kill(0.05)
        elif verdict.fate is Fate.HANG:
            await asyncio.sleep(HANG_S)
        reset(request.transport)
        return web.Response(status=500)  # to a connection that is gone

    async def _forward(
        self, session: Session, request: web.BaseRequest, call: Call, entry: Entry, raw: bytes
    ) -> Upstream | None:
        """None if the API server broke off: on a busy machine that happens without our doing."""
        try:
            return await self._exchange(session, request, call, entry, raw)
        except aiohttp.ClientError as error:
            entry.fault = f"the API server: {type(error).__name__}"
            return None

    async def _exchange(
        self, session: Session, request: web.BaseRequest, call: Call, entry: Entry, raw: bytes
    ) -> Upstream:
        assert self._client is not None
        query = dict(request.query)
        if call.verb == "list" and call.resource in session.stale_at and "continue" not in query:
            query |= {"resourceVersion": session.stale_at[call.resource], "resourceVersionMatch": "Exact"}
            entry.fault = f"stale {query['resourceVersion']}"
        async with self._client.request(
            request.method, self._url(session, request, call, query), data=raw or None, headers=passed_headers(request)
        ) as answer:
            body = await answer.read()
            headers = kept_headers(answer.headers)
        entry.upstream = answer.status
        if call.is_write:
            self._note_effect(session, call, entry, raw, body)
        return Upstream(answer.status, headers, body)

    def _note_effect(self, session: Session, call: Call, entry: Entry, raw: bytes, body: bytes) -> None:
        """An apply carries the version that was observed; an answer with the same one changed nothing."""
        written = as_object(body)
        entry.resource_version = str((written.get("metadata") or {}).get("resourceVersion") or "")
        entry.owner = entry.owner or controller_uid(written)
        sent = as_object(raw)
        entry.uid = str((sent.get("preconditions") or {}).get("uid") or "")
        given = str((sent.get("metadata") or {}).get("resourceVersion") or "")
        changed = call.verb in ("create", "delete") or entry.resource_version != given
        entry.effective = entry.upstream < 300 and changed
        if entry.effective and session.armed:
            session.counts[entry.label] += 1

    async def _watch(self, session: Session, request: web.BaseRequest, call: Call, entry: Entry) -> web.StreamResponse:
        assert self._client is not None
        url = self._url(session, request, call, dict(request.query))
        try:
            async with self._client.get(url, headers=passed_headers(request)) as upstream:
                entry.upstream = entry.code = upstream.status
                if upstream.status != 200:
                    body = await upstream.read()
                    return web.Response(status=upstream.status, body=body, content_type="application/json")
                response = web.StreamResponse(headers={"Content-Type": "application/json"})
                response.enable_chunked_encoding()
                await response.prepare(request)
                await session.streams.pump(Stream(call, response, request.transport), upstream)
                return response
        except aiohttp.ClientError as error:
            entry.fault = f"the API server: {type(error).__name__}"
            return await self._unforwarded(session, request, entry, Verdict(Fate.RESET))

    def _url(self, session: Session, request: web.BaseRequest, call: Call, query: dict[str, str]) -> URL:
        path = calls.scoped_path(call, request.path, session.namespace)
        return URL(self._upstream).with_path(path).with_query(query)
