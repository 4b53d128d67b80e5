"""The one door to the API server: plain dicts in and out. Here are the writes; reading.py has the reads.

Children are created by POST, because only that says atomically whether the name was free, and are then kept by
server-side apply with one field manager and the observed uid and resourceVersion as preconditions. Every write passes
the gate in connection.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiohttp

from slipway.adapters import managed_fields
from slipway.adapters.access import Access
from slipway.adapters.annotations import removal_patch, still_there
from slipway.adapters.clock import Clock
from slipway.adapters.connection import Connection
from slipway.adapters.election import AlwaysLeader, Gate
from slipway.adapters.event_manifest import event_manifest
from slipway.adapters.reach import Reach
from slipway.adapters.reading import Reading
from slipway.adapters.request import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, Request
from slipway.adapters.resources import EVENTS, Resource, resource_for
from slipway.api import names
from slipway.api.types import JsonObject
from slipway.errors import Conflict, NotFound, Rejected


class Cluster(Reading):
    """Every method raises errors of slipway.errors: TransientError (Conflict, Unreachable, LeadershipLost) for what may
    succeed later, NotFound, AlreadyExists, Rejected."""

    def __init__(self, connection: Connection, clock: Clock, *, instance: str) -> None:
        super().__init__(connection)
        self._clock = clock
        self._instance = instance

    @classmethod
    async def connect(
        cls, access: Access, clock: Clock, *, instance: str = "slipway-operator", gate: Gate | None = None
    ) -> Cluster:
        """Prepares everything; the first request opens the first connection. `instance` is named in our Events; without
        a `gate` every write passes."""
        return cls(await Connection.connect(access, gate or AlwaysLeader()), clock, instance=instance)

    async def close(self) -> None:
        await self._connection.close()

    @property
    def server(self) -> str:
        return self._connection.server

    @property
    def reach(self) -> Reach:
        """Whether the API server answers us."""
        return self._connection.reach

    def new_session(self) -> aiohttp.ClientSession:
        """An HTTP session with our credentials, and our gate, for another client (kopf)."""
        return self._connection.new_session()

    async def create(self, manifest: JsonObject) -> dict[str, Any]:
        """POST. Raises AlreadyExists if somebody has the name."""
        resource, namespace, name = _place(manifest)
        query = {"fieldManager": names.FIELD_MANAGER}
        return await self._connection.call(
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
            patch = managed_fields.renaming_patch(live, names.FIELD_MANAGER, resource_version)
            if patch is None:
                patch = await self._read_upgrade(resource, namespace, name, uid, resource_version)
            if patch is not None:
                resource_version = await self._take_over_posted_fields(resource, namespace, name, patch)
        metadata = {**manifest["metadata"], "uid": uid, "resourceVersion": resource_version}
        return await self._connection.call(
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

    async def _read_upgrade(
        self, resource: Resource, namespace: str, name: str, uid: str, resource_version: str
    ) -> list[dict[str, Any]] | None:
        """The patch for an object of which the caches know too little, None if there is nothing to turn."""
        live = await self.get(resource, namespace, name)
        metadata = live["metadata"]
        if (metadata["uid"], metadata["resourceVersion"]) != (uid, resource_version):
            raise Conflict(f"apply {resource.kind} {namespace}/{name}: somebody wrote it since it was read")
        return managed_fields.upgrade_patch(live, names.FIELD_MANAGER)

    async def _take_over_posted_fields(
        self, resource: Resource, namespace: str, name: str, patch: list[dict[str, Any]]
    ) -> str:
        """Turns the fields of our POST into fields of our apply (managed_fields.py); the resourceVersion after it."""
        written = await self._connection.call(
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
        written = await self._connection.call(request)
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
            answer = await self._connection.call(Request("delete", "DELETE", resource, namespace, name, body=options))
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
            return await self._connection.call(request)
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
            return await self._connection.call(request)
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
        await self._connection.call(
            Request("create", "POST", EVENTS, regarding["metadata"]["namespace"], body=manifest)
        )


def _place(manifest: JsonObject) -> tuple[Resource, str, str]:
    metadata = manifest["metadata"]
    return resource_for(manifest["apiVersion"], manifest["kind"]), metadata["namespace"], metadata["name"]
