"""The fixed subset that runs with every change: some of each kind, and every plan that once found something."""

from __future__ import annotations

FIXED: tuple[str, ...] = ()
