"""Attacks are counted, and told at the end: see tests/conftest.py. ATTACKS: the number of those drawn at random."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.attacks import Arena, arena_of
from helpers.attempts import Attempts


@pytest.fixture
def attempt(request: pytest.FixtureRequest) -> Iterator[Attempts]:
    attempts = Attempts()
    yield attempts
    request.node.user_properties.append(("attacks", attempts.counts))  # reaches the process that xdist's workers have
    if attempts.failures:
        pytest.fail(f"{len(attempts.failures)} did not survive:\n" + "\n".join(attempts.failures), pytrace=False)


@pytest.fixture(scope="session")
def _arena(tmp_path_factory: pytest.TempPathFactory, _cache: None) -> Arena:
    return arena_of(tmp_path_factory.mktemp("attacks") / "runs")


@pytest.fixture
def arena(_arena: Arena, tmp_path: Path) -> Arena:
    return _arena._replace(tmp=tmp_path)
