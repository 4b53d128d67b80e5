"""L2: the only doors to the world: the API server, Triton, the routers, the clock. Foreign errors become ours here."""
