"""Crash, error, stale and lost-event plans: the real operator against a real API server, through a fault proxy."""
