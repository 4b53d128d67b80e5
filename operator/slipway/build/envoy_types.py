"""Names of Envoy's protobuf messages that our configuration carries in `@type`. Source: Envoy 1.40 API reference."""

from __future__ import annotations

_PREFIX = "type.googleapis.com/envoy."

CLUSTER = _PREFIX + "config.cluster.v3.Cluster"
AGGREGATE_CLUSTER = _PREFIX + "extensions.clusters.aggregate.v3.ClusterConfig"
DNS_CLUSTER = _PREFIX + "extensions.clusters.dns.v3.DnsCluster"
ROUTE_CONFIGURATION = _PREFIX + "config.route.v3.RouteConfiguration"
HTTP_PROTOCOL_OPTIONS = _PREFIX + "extensions.upstreams.http.v3.HttpProtocolOptions"
LEAST_REQUEST = _PREFIX + "extensions.load_balancing_policies.least_request.v3.LeastRequest"
PREVIOUS_HOSTS = _PREFIX + "extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
PREVIOUS_PRIORITIES = _PREFIX + "extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig"
HTTP_CONNECTION_MANAGER = _PREFIX + "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
GRPC_STATS = _PREFIX + "extensions.filters.http.grpc_stats.v3.FilterConfig"
HTTP_ROUTER = _PREFIX + "extensions.filters.http.router.v3.Router"
EARLY_HEADER_MUTATION = _PREFIX + "extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"
FIXED_HEAP = _PREFIX + "extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig"
DOWNSTREAM_CONNECTIONS = _PREFIX + "extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
