"""A real Kubernetes cluster on this machine, made for the tests and the demo: `python -m tests.cluster up`."""
