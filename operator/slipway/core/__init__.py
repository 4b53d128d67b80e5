"""L1: decisions. Pure functions of a Snapshot: no clock, no I/O, no logging, no settings lookup."""
