"""The one door to the API server: plain dicts in and out, every failure one of our errors, every request counted.

`kubernetes.aio` gives connection, TLS and kubeconfig through its generic ApiClient; the typed API classes would cost
180 MB. Children are created by POST, because only that says atomically whether the name was free, and are then kept by
server-side apply with one field manager and the observed uid and resourceVersion as preconditions.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import load_kube_config

from slipway import telemetry
from slipway.adapters import managed_fields
from slipway.adapters.access import Access, KubeconfigFile, TokenFile
from slipway.adapters.annotations import removal_patch, still_there
from slipway.adapters.answers import Expired, Silent, decode, error_for
from slipway.adapters.clock import Clock
from slipway.adapters.event_manifest import event_manifest
from slipway.adapters.request import APPLY_PATCH, JSON, JSON_PATCH, MERGE_PATCH, Request, selectors
from slipway.adapters.resources import EVENTS, Resource, resource_for
from slipway.adapters.watching import Lines, WatchEvent
from slipway.api import names
from slipway.api.types import JsonObject
from slipway.errors import Conflict, NotFound, Rejected, Unreachable

CONNECT_S = 5.0
REQUEST_S = 20.0
# A watch that says nothing for so long may be a dead connection (bookmarks come about once a minute where anything
# changes at all; the same figure as kopf's).
SILENCE_S = 70.0

Objects = list[dict[str, Any]]  # named here because the class has a method `list`


class Cluster:
    """Every method raises errors of slipway.errors: TransientError (Conflict, Unreachable) for what may succeed later,
    NotFound, AlreadyExists, Rejected."""

    def __init__(self, client: Any, token: Callable[[], str] | None, clock: Clock, *, instance: str) -> None:
        self._client = client
        self._token = token
        self._clock = clock
        self._instance = instance

    @classmethod
    async def connect(cls, access: Access, clock: Clock, *, instance: str = "slipway-operator") -> Cluster:
        """Prepares everything; the first request opens the first connection. `instance` is named in our Events."""
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
        # Proxy variables and ~/.netrc must not redirect our token, and looking them up doubles the CPU of a call.
        configuration.client_session_kwargs = {"trust_env": False}
        client = ApiClient(configuration)
        client.user_agent = names.USER_AGENT
        return cls(client, token, clock, instance=instance)

    async def close(self) -> None:
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
            middlewares=(authorise,),
            headers={"User-Agent": names.USER_AGENT},
            trust_env=False,
            read_bufsize=2**21,
        )

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        return await self._call(Request("get", "GET", resource, namespace, name))

    async def list(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        limit: int = 500,
    ) -> tuple[Objects, str]:
        """All objects as of one resourceVersion, read in pages of `limit`."""
        query = selectors(label_selector, field_selector)
        try:
            return await self._pages(resource, namespace, {**query, "limit": str(limit)})
        except Expired:
            # The server compacted the snapshot between two pages. Its offer to go on with a newer one would mix two
            # moments, and a deletion between them would be missed: read everything at once instead.
            return await self._pages(resource, namespace, query)

    async def _pages(self, resource: Resource, namespace: str | None, query: dict[str, str]) -> tuple[Objects, str]:
        items: Objects = []
        while True:
            page = await self._call(Request("list", "GET", resource, namespace, query=query))
            for item in page.get("items") or ():
                # The items of a list do not say what they are.
                items.append({"apiVersion": resource.api_version, "kind": resource.kind, **item})
            metadata = page["metadata"]
            if not metadata.get("continue"):
                return items, str(metadata["resourceVersion"])
            query = {**query, "continue": metadata["continue"]}

    async def watch(
        self,
        resource: Resource,
        resource_version: str,
        *,
        timeout_s: float,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        silence_s: float = SILENCE_S,
    ) -> AsyncGenerator[WatchEvent, None]:
        """Events after `resource_version`, bookmarks included, until the server ends the stream after `timeout_s`.

        Raises Expired when that version is too old, Silent when nothing came for `silence_s`, TransientError for a
        stream that was cut inside an event. Close it with `contextlib.aclosing`.
        """
        query = {
            **selectors(label_selector, field_selector),
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(max(1, int(timeout_s))),
        }
        request = Request("watch", "GET", resource, namespace, query=query)
        what = str(request)
        lines = Lines(what)
        with _foreign_errors(what):
            async with asyncio.timeout(REQUEST_S):
                response = await self._open(request, None, what)
        try:
            while True:
                # Only the reading is timed: a consumer that takes its time is not a silent server.
                try:
                    with _foreign_errors(what):
                        async with asyncio.timeout(silence_s) as limit:
                            chunk = await response.content.readany()
                except Unreachable as error:
                    if limit.expired():
                        raise Silent(f"{what}: nothing came for {silence_s:g} s, not even a bookmark") from error
                    raise
                if not chunk:
                    lines.finish()
                    return
                for event in lines.feed(chunk):
                    yield event
        finally:
            # An ordinary close says goodbye in TLS and waits for the server's answer, after this process has ended.
            if (connection := response.connection) is not None and connection.transport is not None:
                connection.transport.abort()
            response.close()

    # ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def create(self, manifest: JsonObject) -> dict[str, Any]:
        """POST. Raises AlreadyExists if somebody has the name."""
        resource, namespace, name = _place(manifest)
        query = {"fieldManager": names.FIELD_MANAGER}
        return await self._call(
            Request("create", "POST", resource, namespace, None, query=query, body=manifest), about=name
        )

    async def apply(
        self, manifest: JsonObject, *, uid: str, resource_version: str, live: JsonObject | None
    ) -> dict[str, Any]:
        """Server-side apply of the full intended set: a field of ours that is left out disappears, foreign fields stay.

        Raises Conflict if the object is not the one with `uid` and `resource_version` any more. `live` is that object
        as cached (its managedFields decide whether our POST must be turned into an apply first).
        """
        resource, namespace, name = _place(manifest)
        if managed_fields.needs_upgrade(live, names.FIELD_MANAGER):
            resource_version = await self._take_over_posted_fields(resource, namespace, name, uid, resource_version)
        metadata = {**manifest["metadata"], "uid": uid, "resourceVersion": resource_version}
        return await self._call(
            Request(
                "apply",
                "PATCH",
                resource,
                namespace,
                name,
                query={"fieldManager": names.FIELD_MANAGER, "force": "true"},
                body={**manifest, "metadata": metadata},
                content_type=APPLY_PATCH,
            )
        )

    async def _take_over_posted_fields(
        self, resource: Resource, namespace: str, name: str, uid: str, resource_version: str
    ) -> str:
        """Turns the fields of our POST into fields of our apply (managed_fields.py); the resourceVersion after it."""
        live = await self.get(resource, namespace, name)
        metadata = live["metadata"]
        if (metadata["uid"], metadata["resourceVersion"]) != (uid, resource_version):
            raise Conflict(f"apply {resource.kind} {namespace}/{name}: somebody wrote it since it was read")
        patch = managed_fields.upgrade_patch(live, names.FIELD_MANAGER)
        if patch is None:
            return resource_version
        written = await self._call(
            Request(
                "patch",
                "PATCH",
                resource,
                namespace,
                name,
                query={"fieldManager": names.FIELD_MANAGER},
                body=patch,
                content_type=JSON_PATCH,
            )
        )
        return str(written["metadata"]["resourceVersion"])

    async def apply_status(
        self, resource: Resource, manifest: JsonObject, *, uid: str, resource_version: str | None = None
    ) -> dict[str, Any]:
        """Server-side apply on /status with the status field manager. Raises NotFound if there is no such object, and
        Conflict if it is not the one with `uid`.

        A uid is no precondition on /status: the API server takes the metadata from the stored object and answers 200
        (seen on 1.34). `resource_version` is one, and should be given; without it a namesake keeps the wrong status
        until its own first pass.
        """
        _, namespace, name = _place(manifest)
        identity = {"uid": uid} | ({"resourceVersion": resource_version} if resource_version else {})
        request = Request(
            "apply",
            "PATCH",
            resource,
            namespace,
            name,
            "status",
            query={"fieldManager": names.STATUS_FIELD_MANAGER, "force": "true"},
            body={**manifest, "metadata": {**manifest["metadata"], **identity}},
            content_type=APPLY_PATCH,
        )
        written = await self._call(request)
        if written["metadata"]["uid"] != uid:
            raise Conflict(f"{request}: the object was deleted and another one of its name has come")
        return written

    async def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str, resource_version: str | None = None
    ) -> dict[str, Any] | None:
        """DELETE with preconditions; what the object owns follows in the background.

        None if it is gone, also if it was gone already; otherwise the object as it waits for its finalizers. Raises
        Conflict if another object has the name now, or if it was written since `resource_version`.
        """
        preconditions = {"uid": uid} | ({"resourceVersion": resource_version} if resource_version else {})
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": preconditions,
        }
        try:
            answer = await self._call(Request("delete", "DELETE", resource, namespace, name, body=options))
        except NotFound:
            return None
        # Gone is answered with a Status, by Services with the object as it was (seen on 1.34); only an object that is
        # still there carries a deletionTimestamp.
        return answer if answer.get("metadata", {}).get("deletionTimestamp") else None

    async def patch_annotation(
        self, resource: Resource, namespace: str, name: str, key: str, value: str, *, uid: str
    ) -> dict[str, Any]:
        """Sets one annotation of the object with `uid`, nothing else. Raises Conflict if another object has the name."""
        body = {"metadata": {"uid": uid, "annotations": {key: value}}}
        request = Request(
            "patch",
            "PATCH",
            resource,
            namespace,
            name,
            query={"fieldManager": names.FIELD_MANAGER},
            body=body,
            content_type=MERGE_PATCH,
        )
        try:
            return await self._call(request)
        except Rejected as error:
            # To a patch, another uid is an attempt to change an immutable field.
            if error.code == 422 and "metadata.uid" in str(error):
                raise Conflict(f"{request}: the object was deleted and another one of its name has come") from error
            raise

    async def remove_annotations(
        self, resource: Resource, namespace: str, name: str, expected: Mapping[str, str], *, uid: str
    ) -> dict[str, Any]:
        """Removes the annotations in `expected` from the object with `uid`, all or none, and nothing else. Raises
        Conflict if one of them is absent or has another value by now, or if another object has the name."""
        request = Request(
            "patch",
            "PATCH",
            resource,
            namespace,
            name,
            query={"fieldManager": names.FIELD_MANAGER},
            body=removal_patch(expected, uid),
            content_type=JSON_PATCH,
        )
        try:
            return await self._call(request)
        except Rejected as error:
            if error.code != 422:
                raise
            # A test that fails and an object that is refused are both 422, and only the words differ: look.
            if still_there(await self.get(resource, namespace, name), expected, uid):
                raise
            raise Conflict(f"{request}: the annotations are not those that were answered any more") from error

    async def create_event(self, regarding: JsonObject, *, type_: str, reason: str, message: str) -> None:
        """A Kubernetes Event about `regarding`."""
        manifest = event_manifest(
            regarding, type_=type_, reason=reason, message=message, at=self._clock.now(), instance=self._instance
        )
        await self._call(Request("create", "POST", EVENTS, regarding["metadata"]["namespace"], body=manifest))

    # ── one request ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _call(self, request: Request, *, about: str = "") -> dict[str, Any]:
        what = f"{request}/{about}" if about else str(request)
        with _foreign_errors(what):
            response = await self._open(request, REQUEST_S, what)
            body = await response.read()
        return decode(body, what)

    async def _open(self, request: Request, total_s: float | None, what: str) -> aiohttp.ClientResponse:
        """The answer's headers are there and say success; the body is still to be read."""
        headers = {"Accept": JSON, "User-Agent": names.USER_AGENT, "Content-Type": request.content_type}
        if self._token is not None:
            headers["Authorization"] = self._token()
        code, began = 0, time.perf_counter()
        try:
            answer = await self._client.rest_client.request(
                request.method,
                self.server + request.path,
                headers=headers,
                body=request.plain_body(),
                _request_timeout=aiohttp.ClientTimeout(total=total_s, sock_connect=CONNECT_S),
            )
            response: aiohttp.ClientResponse = answer.response
            code = response.status
        finally:
            telemetry.kube_requests.labels(request.verb, request.resource.plural, str(code)).inc()
            telemetry.kube_request_seconds.labels(request.verb).observe(time.perf_counter() - began)
        if code >= 400:
            raise error_for(what, code, await response.read(), response.headers)
        return response


def _place(manifest: JsonObject) -> tuple[Resource, str, str]:
    metadata = manifest["metadata"]
    return resource_for(manifest["apiVersion"], manifest["kind"]), metadata["namespace"], metadata["name"]


@contextmanager
def _foreign_errors(what: str) -> Iterator[None]:
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
