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
from tests.simulated.operator import TERM_TIMEOUT_S, OperatorProcess
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
def operators() -> list[OperatorProcess]:
    """The one of the last test, so that most tests share one."""
    return []


@pytest.fixture
def operator(bed: Bed, installation: Installation, operators: list[OperatorProcess]) -> OperatorProcess:
    """One that runs. A test may end it, and start another of its name: the next test then gets a fresh one."""
    if not operators or not operators[-1].is_running:
        bed.processes.stop("operator", timeout_s=TERM_TIMEOUT_S)
        operators.append(OperatorProcess.start(bed, installation))  # it ends with the bed
    return operators[-1]


@pytest.fixture
def tenant(bed: Bed) -> Tenant:
    """A namespace of its own for each test."""
    return Tenant(bed, bed.tenant(f"tenant-{next(_numbers)}"))
