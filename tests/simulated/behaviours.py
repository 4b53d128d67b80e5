"""What a simulated Triton pod does, by annotations that an admin's profile puts on it (`podAnnotations`).

    profile of the bed        slipway.test/behaviour   the pod
    triton                    ok                       Ready in a few hundred milliseconds
    simulated-bad-load        load-fails               runs, never Ready; the repository index says UNAVAILABLE and why
    simulated-bad-fetch       fetch-fails              its init container `fetch` ends with exit code 1 and a report
    simulated-crash           crashes                  Ready, then its container ends, again and again
    simulated-slow-load       slow-load                Ready after some seconds of loading

A pod that is never scheduled needs no behaviour: it asks for a resource that no node has (`example.com/none`).
stages.yaml plays these to the API server, standin.py to whoever asks the pod.
"""

from __future__ import annotations

from collections.abc import Mapping

import yaml

BEHAVIOUR = "slipway.test/behaviour"
# A duration such as "8s" each; stages.yaml has the defaults.
LOAD_TIME = "slipway.test/load-time"  # of slow-load: how long Triton loads; default 5s
CRASH_AFTER = "slipway.test/crash-after"  # of crashes: how long the container lives once it is ready; default 5s

OK = "ok"
LOAD_FAILS = "load-fails"
FETCH_FAILS = "fetch-fails"
CRASHES = "crashes"
SLOW_LOAD = "slow-load"

LOAD_FAILURE = "failed to load the model: simulated: a layer has the wrong shape"
_IMAGE = {"image": "slipway.test/triton:simulated", "tritonRelease": "26.08", "backends": ["pytorch", "python"]}

PROFILES: Mapping[str, Mapping[str, str]] = {
    "triton": {},
    "simulated-bad-load": {BEHAVIOUR: LOAD_FAILS},
    "simulated-bad-fetch": {BEHAVIOUR: FETCH_FAILS},
    "simulated-crash": {BEHAVIOUR: CRASHES},
    "simulated-slow-load": {BEHAVIOUR: SLOW_LOAD},
}


def chart_profiles(profiles: Mapping[str, Mapping[str, str]] = PROFILES) -> dict[str, object]:
    """The chart's value `profiles`, from annotations by profile."""
    return {name: {**_IMAGE, "podAnnotations": dict(annotations)} for name, annotations in profiles.items()}


def profile_data(profiles: Mapping[str, Mapping[str, str]] = PROFILES) -> dict[str, str]:
    """The data of the profiles ConfigMap, for a test that changes it while the operator runs."""
    return {name: yaml.safe_dump(value, sort_keys=False) for name, value in chart_profiles(profiles).items()}
