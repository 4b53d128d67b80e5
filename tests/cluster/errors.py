"""The one exception of this package: it names what failed, what was found, and what to do."""

from __future__ import annotations


class ClusterError(Exception):
    """Something about the local cluster could not be done; the message is for a person."""
