"""The kinds of objects that the operator reads or writes, and their place in the API server's URL space."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from slipway.api import names


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind. Source of the URL shape: Kubernetes API concepts, "Resource URIs"."""

    api_version: str  # "v1" or "apps/v1"
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def group(self) -> str:
        """ "" for the core group."""
        return self.api_version.rpartition("/")[0]

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """URL path of one object, or of the collection if `name` is None; without a namespace, of the whole cluster."""
        parts = ["apis" if self.group else "api", self.api_version]
        if self.namespaced and namespace is not None:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        if name is not None:
            parts.append(quote(name, safe=""))
        if subresource is not None:
            parts.append(subresource)
        return "/" + "/".join(parts)


MODEL_DEPLOYMENTS = Resource(names.API_VERSION, names.KIND, names.PLURAL)
DEPLOYMENTS = Resource("apps/v1", "Deployment", "deployments")
CONTROLLER_REVISIONS = Resource("apps/v1", "ControllerRevision", "controllerrevisions")
REPLICA_SETS = Resource("apps/v1", "ReplicaSet", "replicasets")
SERVICES = Resource("v1", "Service", "services")
CONFIG_MAPS = Resource("v1", "ConfigMap", "configmaps")
PODS = Resource("v1", "Pod", "pods")
POD_DISRUPTION_BUDGETS = Resource("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
PERSISTENT_VOLUME_CLAIMS = Resource("v1", "PersistentVolumeClaim", "persistentvolumeclaims")
JOBS = Resource("batch/v1", "Job", "jobs")
EVENTS = Resource("events.k8s.io/v1", "Event", "events")
LEASES = Resource("coordination.k8s.io/v1", "Lease", "leases")

ALL = (
    MODEL_DEPLOYMENTS,
    DEPLOYMENTS,
    CONTROLLER_REVISIONS,
    REPLICA_SETS,
    SERVICES,
    CONFIG_MAPS,
    PODS,
    POD_DISRUPTION_BUDGETS,
    JOBS,
    PERSISTENT_VOLUME_CLAIMS,
    EVENTS,
    LEASES,
)
_BY_KIND = {(resource.api_version, resource.kind): resource for resource in ALL}


def resource_for(api_version: str, kind: str) -> Resource:
    """The kind of a manifest. Raises LookupError for one that the operator never handles: that is a bug of ours."""
    try:
        return _BY_KIND[api_version, kind]
    except KeyError:
        known = ", ".join(sorted(resource.kind for resource in ALL))
        raise LookupError(f"{api_version} {kind} is not a kind that the operator handles; known: {known}") from None
