"""L1: desired Kubernetes objects and Envoy configuration as plain data. Pure; every function returns new dicts."""
