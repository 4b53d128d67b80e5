"""The newcomer's journey: a local Kubernetes, a model trained there, the operator from its chart, an answer from Triton."""
