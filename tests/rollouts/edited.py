"""Chapter about a stranger's hand: the routers' ConfigMap is edited in the middle of a rollout, and put back at once."""

from __future__ import annotations

import json
import time

from slipway.api import names
from tests.cluster.errors import ClusterError
from tests.rollouts.expectations import note, require, told
from tests.survive.scene import Scene
from tests.survive.service import Service

PUT_BACK_S = 5.0
TOLD_S = 5.0


def put_back(scene: Scene) -> None:
    service = scene.service
    new = service.other()
    service.apply(new)
    service.paused_openly()  # nothing of ours is written meanwhile that could replace the edit unseen
    events, before = told(service, "RouteRestored"), _routes(service)
    text = json.dumps({**json.loads(before), "version_info": "edited by somebody else"})
    config_map = f"configmap/{names.router_name(service.name)}"
    service.kubectl("patch", config_map, "--type=merge", "--patch", json.dumps({"data": {names.ROUTES_KEY: text}}))
    edited = time.monotonic()
    while _routes(service) != before:
        if time.monotonic() - edited > PUT_BACK_S:
            raise ClusterError(f"the edited routes are not put back after {PUT_BACK_S:g} s")
        time.sleep(0.05)
    note(f"put back {time.monotonic() - edited:.1f} s after the edit")
    while (more := told(service, "RouteRestored") - events) == 0 and time.monotonic() - edited < PUT_BACK_S + TOLD_S:
        time.sleep(0.25)
    require(more == 1, f"{more} Events RouteRestored, expected 1")
    service.act("promote")
    service.serves(new)


def _routes(service: Service) -> str:
    found = service.journey.kube.get(f"configmap/{names.router_name(service.name)}", service.journey.namespace)
    if found is None:
        raise ClusterError("the routers' ConfigMap is gone")
    return str(found["data"][names.ROUTES_KEY])
