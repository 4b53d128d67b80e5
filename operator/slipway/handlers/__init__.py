"""L4: the only modules that import kopf, and the start and stop of the process."""
