"""One thread a test, a cache for the tests alone, finished runs that many share; GPU tests say they were skipped.

The attacks of tests/attacks are counted and told at the end; ATTACKS_TABLE=file: as Markdown in a file, too.
"""

import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: on problems this small, threads wait for one another

import pytest
import torch
from helpers.attempts import Counts, add, table
from helpers.cli import CE, HALO, Finished, copied, finish

ATTACKS: Counts = {}  # of all tests


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Decoded images of this session's tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OODBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of decoded images."""
    monkeypatch.setenv("OODBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, _cache: None) -> Finished:
    """A run of HALO, with held-out images; nobody writes to it."""
    return finish(tmp_path_factory.mktemp("halo"), *HALO)


@pytest.fixture(scope="session")
def finished_ce(tmp_path_factory: pytest.TempPathFactory, _cache: None) -> Finished:
    """A run of CE, with a linear head; nobody writes to it."""
    return finish(tmp_path_factory.mktemp("ce"), *CE)


@pytest.fixture
def again(finished: Finished, tmp_path: Path) -> Finished:
    """A copy of `finished`, to do things to."""
    return copied(finished, tmp_path / "results")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("no CUDA GPU here")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    for name, counts in report.user_properties if report.when == "teardown" else ():
        if name == "attacks":
            add(ATTACKS, counts)  # type: ignore[arg-type]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if ATTACKS:
        terminalreporter.section("attacks")
        terminalreporter.write(table(ATTACKS))
        if file := os.environ.get("ATTACKS_TABLE"):
            Path(file).write_text(table(ATTACKS))
