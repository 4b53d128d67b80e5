"""Every reason that a condition or an Event can carry: what it means, and what to do next.

A Reason is public API: alerts match on it. Its text here is the source of docs/reasons.md (`make generate`).
"""

from __future__ import annotations

from enum import Enum


class Kind(Enum):
    """What a reason means for the conditions."""

    WELL = "well"
    PROGRESS = "progress"  # Reconciling
    STALL = "stall"  # Stalled


class Reason(Enum):
    """Every reason that a condition or an Event can carry: (name, kind, meaning, next step)."""

    SERVING = (
        "Serving",
        Kind.WELL,
        "The newest revision serves all traffic; every router confirms it.",
        "Nothing to do.",
    )
    SINGLE_REPLICA = (
        "SingleReplica",
        Kind.WELL,
        "One pod serves. Its planned removal or death costs requests until it is replaced.",
        "Set spec.replicas to 2 or more if the service must survive the loss of a pod.",
    )
    ACCEPTED = (
        "Accepted",
        Kind.PROGRESS,
        "The operator has seen this spec and has begun to work on it.",
        "Wait; the reason changes within a second or two.",
    )
    WAITING_FOR_DELETION = (
        "WaitingForDeletion",
        Kind.PROGRESS,
        "Objects of an older ModelDeployment of the same name are still being deleted.",
        "Wait; Kubernetes' garbage collector removes them. If it lasts, look for finalizers on the objects named.",
    )
    WAITING_FOR_CAPACITY = (
        "WaitingForCapacity",
        Kind.PROGRESS,
        "No node can take a pod now; the message has the scheduler's words.",
        "Free GPUs or add a node, or lower spec.runtime.resources; the operator goes on by itself.",
    )
    STARTING = (
        "Starting",
        Kind.PROGRESS,
        "Pods are scheduled; the kubelet pulls images and mounts volumes.",
        "Wait; if it lasts, `kubectl describe pod` of the pod named shows the kubelet's events.",
    )
    FETCHING = (
        "Fetching",
        Kind.PROGRESS,
        "The artefact is being copied and verified.",
        "Wait; `kubectl logs POD -c fetch` shows how far it is.",
    )
    LOADING = (
        "Loading",
        Kind.PROGRESS,
        "Triton is loading the model.",
        "Wait; spec.runtime.startupTimeoutSeconds bounds it. `kubectl logs POD -c triton` shows Triton's log.",
    )
    WAITING_FOR_ROUTER = (
        "WaitingForRouter",
        Kind.PROGRESS,
        "The model is loaded; no router pod is running yet.",
        "Wait; if it lasts, look at the pods of the router's Deployment.",
    )
    VERIFYING_TRAFFIC = (
        "VerifyingTraffic",
        Kind.PROGRESS,
        "The route is written; the operator waits until every router confirms it and sees healthy members.",
        "Wait; this takes about a second, plus the DNS cache of the cluster for new pods.",
    )
    ROUTER_SLOW = (
        "RouterSlow",
        Kind.PROGRESS,
        "A router has not taken up a route for more than 5 seconds. Traffic stays as that router last knew it.",
        "Look at the kubelet on the router's node: it syncs the ConfigMap volume.",
    )
    REPLICAS_NOT_READY = (
        "ReplicasNotReady",
        Kind.PROGRESS,
        "Fewer replicas are ready than asked for; what is ready serves.",
        "Wait; if it lasts, look at the pods that are not ready.",
    )
    TRAFFIC_UNVERIFIED = (
        "TrafficUnverified",
        Kind.STALL,
        "Model and routers are ready, but the operator can reach no router to confirm the weights. Clients are served.",
        "Let the operator reach TCP 9902 of the router pods: look for a NetworkPolicy or a mesh in between.",
    )
    ROUTER_UNREACHABLE = (
        "RouterUnreachable",
        Kind.STALL,
        "One router has not answered on its ops port for 30 seconds. Weights stay as they are.",
        "Look at the pod named; let the operator reach TCP 9902 of it, or delete the pod.",
    )
    ROUTER_REJECTED = (
        "RouterRejected",
        Kind.STALL,
        "Envoy refused the route that the operator wrote; it keeps the one before.",
        "This is a bug in Slipway: report Envoy's words from the message. Traffic stays where it was.",
    )
    INVALID_SPEC = (
        "InvalidSpec",
        Kind.STALL,
        "A field has a value that cannot be carried out; the message has its path. What served before serves on.",
        "Correct the field named in the message.",
    )
    PROFILE_NOT_FOUND = (
        "ProfileNotFound",
        Kind.STALL,
        "spec.runtime.profile names a profile that the admin does not offer.",
        "Choose one of the profiles in the message, or ask the admin to add it to the profiles ConfigMap.",
    )
    PROFILE_INVALID = (
        "ProfileInvalid",
        Kind.STALL,
        "The profile exists but cannot be used; the message says where it is wrong.",
        "The admin mends the profiles ConfigMap; the operator looks again by itself.",
    )
    CLAIM_NOT_FOUND = (
        "ClaimNotFound",
        Kind.STALL,
        "The PersistentVolumeClaim in spec.model.storageUri does not exist in this namespace.",
        "Create the claim, or correct spec.model.storageUri; the operator looks again every 10 seconds.",
    )
    ARTIFACT_NOT_FOUND = (
        "ArtifactNotFound",
        Kind.STALL,
        "The directory in spec.model.storageUri holds no packaged model.",
        "Put the artefact there (`slipway-runtime package`), or correct the path; the pod tries again by itself.",
    )
    ARTIFACT_INVALID = (
        "ArtifactInvalid",
        Kind.STALL,
        "The artefact's manifest cannot be used, or asks for what its files do not hold.",
        "Package the model again with `slipway-runtime package`.",
    )
    DIGEST_MISMATCH = (
        "DigestMismatch",
        Kind.STALL,
        "The bytes differ from spec.model.digest or from the artefact's own manifest. They are not served.",
        "Restore the artefact, or state the digest of the one that you mean.",
    )
    DIGEST_DRIFT = (
        "DigestDrift",
        Kind.STALL,
        "The artefact changed since this revision first fetched it. New pods refuse it; running ones serve on.",
        "Restore the artefact; publish changes as a new version in a directory of its own.",
    )
    FORMAT_NOT_SUPPORTED = (
        "FormatNotSupported",
        Kind.STALL,
        "No backend of the profile can run the artefact's format as asked for.",
        "Choose another profile or package the model in another format.",
    )
    FETCH_FAILED = (
        "FetchFailed",
        Kind.STALL,
        "The fetch container could not copy the artefact; the message has its words.",
        "Look at `kubectl logs POD -c fetch`; the kubelet tries again with growing pauses.",
    )
    IMAGE_PULL_FAILED = (
        "ImagePullFailed",
        Kind.STALL,
        "The kubelet cannot pull an image; the message has its words.",
        "Correct the image in the profile, or spec.runtime.imagePullSecrets; the kubelet tries again by itself.",
    )
    CONTAINER_FAILED = (
        "ContainerFailed",
        Kind.STALL,
        "A container cannot be started or keeps ending; the message has the cause.",
        "Look at `kubectl logs POD -c triton --previous`; an exit by OOMKilled needs more memory in spec.runtime.resources.",
    )
    MODEL_LOAD_FAILED = (
        "ModelLoadFailed",
        Kind.STALL,
        "Triton cannot load the model; the message has Triton's own reason.",
        "Correct the model, package it as a new version, and apply that.",
    )
    PODS_REFUSED = (
        "PodsRefused",
        Kind.STALL,
        "Kubernetes refuses to create the pods: a quota, a policy, a missing service account. The message has its words.",
        "Ask for what the message names; the ReplicaSet tries again by itself.",
    )
    NAME_COLLISION = (
        "NameCollision",
        Kind.STALL,
        "An object that Slipway needs to create exists already and belongs to somebody else. It is left untouched.",
        "Rename the ModelDeployment, or remove the object named in the message.",
    )
    APPLY_REJECTED = (
        "ApplyRejected",
        Kind.STALL,
        "The API server refuses an object of this deployment: admission, quota or permission. The message has its words.",
        "Resolve what the message names; the operator tries again with growing pauses.",
    )
    RECORD_DAMAGED = (
        "RecordDamaged",
        Kind.STALL,
        "The durable record (state.json in the router ConfigMap) cannot be read. Nothing is changed on a guess.",
        "Restore the ConfigMap, or delete it: the operator writes it anew from the revisions that exist.",
    )
    API_UNAVAILABLE = (
        "ApiUnavailable",
        Kind.PROGRESS,
        "A write did not succeed for now: a conflict, a timeout, or the API server is busy.",
        "Wait; the operator tries again.",
    )
    NO_READY_REPLICA = (
        "NoReadyReplica",
        Kind.PROGRESS,
        "No model pod is ready, so nothing answers.",
        "The condition Ready has the cause.",
    )
    NO_READY_ROUTER = (
        "NoReadyRouter",
        Kind.PROGRESS,
        "No router pod is ready, so nothing answers.",
        "Look at the pods of the router's Deployment.",
    )
    RECREATING = (
        "Recreating",
        Kind.PROGRESS,
        "Strategy Recreate: the old revision was stopped to make room for the new one, and nothing answers until it is ready.",
        "Wait: a new revision that fails is given up and the old one brought back. status.history has how long it took.",
    )
    NOT_RECONCILING = ("NotReconciling", Kind.WELL, "Nothing is being changed.", "Nothing to do.")
    NOT_STALLED = ("NotStalled", Kind.WELL, "Nothing waits for a person.", "Nothing to do.")
    INTERNAL_ERROR = (
        "InternalError",
        Kind.STALL,
        "A bug in Slipway ended the pass. Traffic stays where it is.",
        "Report it with the operator's log; the operator tries again with growing pauses.",
    )
    ROLLING_OUT = (
        "RollingOut",
        Kind.PROGRESS,
        "A new revision is being brought up and gets its share in verified steps; stable serves the rest.",
        "Wait; status.rollout says which step it is and what it waits for.",
    )
    STABLE_UNHEALTHY = (
        "StableUnhealthy",
        Kind.PROGRESS,
        "Stable has had no ready pod for a minute: the new revision takes over without its steps but golden (spec.rollout.stableUnhealthy).",
        "Wait; `slipway.dev/action=abort` gives the new revision up, `pause` holds it. Look at stable's pods for what stopped them.",
    )
    STABLE_RECOVERED = (
        "StableRecovered",
        Kind.WELL,
        "Event only: stable answered again before the new revision got more of its traffic; the rollout went back to its steps.",
        "Nothing to do.",
    )
    PAUSED_AT_STEP = (
        "PausedAtStep",
        Kind.PROGRESS,
        "The rollout is at a pause step: timed, or open until a person promotes.",
        "For an open pause: look at the new revision, then `kubectl annotate mdep NAME slipway.dev/action=promote`, or abort.",
    )
    HELD = (
        "Held",
        Kind.PROGRESS,
        "spec.paused or the action pause holds: no pod, weight or route changes, except for safety and to repair drift.",
        "Set spec.paused to false, or annotate slipway.dev/action=resume; the message says which of the two.",
    )
    NOT_PAUSED = ("NotPaused", Kind.WELL, "Nothing holds the rollout.", "Nothing to do.")
    PROGRESS_DEADLINE_EXCEEDED = (
        "ProgressDeadlineExceeded",
        Kind.STALL,
        "The new revision was not ready within spec.rollout.progressDeadlineSeconds and was given up. Stable serves on.",
        "Mend the cause in the message, then change the spec or annotate slipway.dev/action=retry.",
    )
    ANALYSIS_FAILED = (
        "AnalysisFailed",
        Kind.STALL,
        "The new revision is worse than stable, or above a limit, by what routers and Triton counted; the message has the figures. Stable serves on.",
        "Look at the new version's logs, mend it and apply a new version; or annotate slipway.dev/action=retry.",
    )
    ANALYSIS_INCONCLUSIVE = (
        "AnalysisInconclusive",
        Kind.STALL,
        "An analysis step came to no verdict within its maxDurationSeconds; the message says how many requests are missing.",
        "Wait for more traffic, raise the weight before the step, or decide by hand: slipway.dev/action=promote or retry.",
    )
    MIRROR_UNAVAILABLE = (
        "MirrorUnavailable",
        Kind.STALL,
        "A step setMirrorRoute cannot be carried out: an earlier release froze the revision without clusters for copies.",
        "Remove the step, or apply the model under another spec.model.version: the revision that this makes has them.",
    )
    GOLDEN_FAILED = (
        "GoldenFailed",
        Kind.STALL,
        "The new revision does not answer recorded requests as recorded, and stable shows that records hold here. Stable serves on.",
        "Read the figures in the message and `kubectl logs` of the Job named; mend the model, or the record, and apply a new version.",
    )
    PARITY_FAILED = (
        "ParityFailed",
        Kind.STALL,
        "The new revision answers the same requests otherwise than stable, by more than the step allows. Stable serves on.",
        "Read the figures in the message; mend the model, or allow the difference in the step and annotate slipway.dev/action=retry.",
    )
    METRIC_OUT_OF_BOUNDS = (
        "MetricOutOfBounds",
        Kind.STALL,
        "The value of a prometheus step's query was out of its bounds more often than failureLimit allows. Stable serves on.",
        "Read the figures in the message; mend the model and apply a new version, or correct the bound and annotate "
        "slipway.dev/action=retry.",
    )
    PROMETHEUS_NOT_CONFIGURED = (
        "PrometheusNotConfigured",
        Kind.STALL,
        "The rollout has a prometheus step, and the admin has named no Prometheus. It does not begin; stable serves on.",
        "Ask the admin to set prometheus.url of the chart, or remove the step; the operator looks again by itself.",
    )
    GATE_INCONCLUSIVE = (
        "GateInconclusive",
        Kind.STALL,
        "A golden, parity or prometheus step came to no verdict: its Job could not run, nobody answered, or what it "
        "measured is no evidence.",
        "Resolve what the message names, or decide by hand: slipway.dev/action=promote or retry.",
    )
    ABORTED = (
        "Aborted",
        Kind.STALL,
        "A person aborted the rollout. Stable serves on; the spec still names the aborted version.",
        "Change the spec, or annotate slipway.dev/action=retry.",
    )
    ROLLED_BACK = (
        "RolledBack",
        Kind.STALL,
        "A person rolled back to the stable revision before. The spec still names the version that was left.",
        "Change the spec to the version that serves, or annotate slipway.dev/action=retry to roll out again.",
    )
    ROLLOUT_STARTED = ("RolloutStarted", Kind.WELL, "Event only: a rollout began.", "Nothing to do.")
    STEP_COMPLETED = ("StepCompleted", Kind.WELL, "Event only: a step of the rollout was completed.", "Nothing to do.")
    ANALYSIS_PASSED = (
        "AnalysisPassed",
        Kind.WELL,
        "Event only: an analysis step found every metric of the new revision good enough; the message has the figures.",
        "Nothing to do.",
    )
    GOLDEN_PASSED = (
        "GoldenPassed",
        Kind.WELL,
        "Event only: the new revision answered every recorded request as recorded.",
        "Nothing to do.",
    )
    PARITY_PASSED = (
        "ParityPassed",
        Kind.WELL,
        "Event only: the new revision answered like stable, within what the step allows; the message has the figures.",
        "Nothing to do.",
    )
    METRIC_WITHIN_BOUNDS = (
        "MetricWithinBounds",
        Kind.WELL,
        "Event only: the value of a prometheus step's query kept its bounds; the message has the figures.",
        "Nothing to do.",
    )
    PROMOTED = ("Promoted", Kind.WELL, "Event only: every router confirmed the revision at 100 %.", "Nothing to do.")
    SUPERSEDED = ("Superseded", Kind.WELL, "Event only: another spec took the rollout's place.", "Nothing to do.")
    REVERTED = ("Reverted", Kind.WELL, "Event only: the spec went back to stable in mid-rollout.", "Nothing to do.")
    ACTION_ACCEPTED = ("ActionAccepted", Kind.WELL, "Event only: an action was carried out.", "Nothing to do.")
    ACTION_REJECTED = (
        "ActionRejected",
        Kind.WELL,
        "Event only: an action could not be carried out; status.lastAction says why.",
        "Read the message; correct the annotation.",
    )
    STABLE_GIVES_WAY = (
        "StableGivesWay",
        Kind.WELL,
        "Event only: placement Auto found no node for the new pods; for this rollout they take the places of stable's.",
        "Nothing to do; the service is short of one pod meanwhile.",
    )
    ROUTE_RESTORED = (
        "RouteRestored",
        Kind.WELL,
        "Event only: somebody had changed the routers' ConfigMap; it was put back.",
        "Find out who writes to it: status.rollout and the steps of the spec are the way to another share.",
    )
    REVISION_REMOVED = (
        "RevisionRemoved",
        Kind.WELL,
        "Event only: a drained revision's pods were deleted.",
        "Nothing to do.",
    )
    REVISION_CREATED = (
        "RevisionCreated",
        Kind.WELL,
        "Event only: a spec was frozen into a numbered revision.",
        "Nothing to do.",
    )

    def __init__(self, text: str, kind: Kind, meaning: str, next_step: str) -> None:
        self.text = text
        self.kind = kind
        self.meaning = meaning
        self.next_step = next_step


_BY_TEXT = {reason.text: reason for reason in Reason}


def reason_named(text: str, default: Reason) -> Reason:
    """The Reason of that name; words of a pod or a profile are never trusted to be one."""
    return _BY_TEXT.get(text, default)
