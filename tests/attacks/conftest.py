"""Attacks are counted. ATTACKS: the number of those drawn at random; ATTACKS_TABLE=file: the counts, as Markdown."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.attacks import COUNTS, Arena, Attempts, arena_of, table


@pytest.fixture
def attempt() -> Iterator[Attempts]:
    attempts = Attempts()
    yield attempts
    if attempts.failures:
        pytest.fail(f"{len(attempts.failures)} did not survive:\n" + "\n".join(attempts.failures), pytrace=False)


@pytest.fixture(scope="session")
def _arena(tmp_path_factory: pytest.TempPathFactory, _cache: None) -> Arena:
    return arena_of(tmp_path_factory.mktemp("attacks") / "runs")


@pytest.fixture
def arena(_arena: Arena, tmp_path: Path) -> Arena:
    return _arena._replace(tmp=tmp_path)


@pytest.fixture(scope="session", autouse=True)
def _table() -> Iterator[None]:
    yield
    if COUNTS and (file := os.environ.get("ATTACKS_TABLE")):
        Path(file).write_text(table())
