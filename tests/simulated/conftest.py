"""One bed and one operator for the whole run. The tests need a network of their own:

unshare --net .venv/bin/python -m pytest tests/simulated
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from tests.simulated import network
from tests.simulated.bed import Bed
from tests.simulated.installation import Installation
from tests.simulated.operator import OperatorProcess
from tests.simulated.tenant import Tenant

_numbers = itertools.count(1)


@pytest.fixture(scope="session", autouse=True)
def own_network() -> None:
    """Loopback and the pods' range; an error that says what to do where the network is not our own."""
    network.prepare()


@pytest.fixture(scope="session")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    with Bed.start(tmp_path_factory.mktemp("bed"), nodes=5, seed=1) as running:
        yield running


@pytest.fixture(scope="session")
def installation(bed: Bed) -> Installation:
    return bed.install()


@pytest.fixture(scope="session")
def operator(bed: Bed, installation: Installation) -> Iterator[OperatorProcess]:
    with OperatorProcess.start(bed, installation) as running:
        yield running


@pytest.fixture
def tenant(bed: Bed) -> Tenant:
    """A namespace of its own for each test."""
    return Tenant(bed, bed.tenant(f"tenant-{next(_numbers)}"))
