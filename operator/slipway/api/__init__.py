"""L0: the custom resource, its names and its status as Python values. Pure; imports nothing of the other layers."""
