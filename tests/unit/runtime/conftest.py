"""One fixture: a bench with a good artefact and good settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.runtime.artefacts import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(tmp_path)
    made.repository.mkdir()
    made.write_artefact()
    made.write_serving()
    return made
