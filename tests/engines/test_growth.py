"""scripts/growth.py on tiny sizes, and the exponents it states."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.forked import Cost, exponent, measured
from benchmarks.growth_theory import DETECTORS as EXPECTED
from helpers.config import ROOT
from helpers.toy import DETECTORS
from PIL import Image

linux = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0, 0.5])
def test_the_exponent_is_that_of_the_largest_sizes(power: float) -> None:
    seconds = {10: 99.0, 100: 7 * 100**power, 1000: 7 * 1000**power}
    assert exponent(seconds) == pytest.approx(power)
    assert exponent(dict(reversed(seconds.items()))) == pytest.approx(power)


def test_no_exponent_without_two_figures_above_the_noise() -> None:
    assert exponent({10: 1.0}) is None
    assert exponent({10: 0.001, 100: 1.0}, least=0.002) is None


def test_theory_names_every_detector() -> None:
    assert sorted(EXPECTED) == sorted(DETECTORS)


@linux
def test_a_child_measures_memory_and_stops_where_it_is_told() -> None:
    def take() -> int:
        return len(b"x" * 50_000_000)

    cost = measured(take, lambda: None, limit=60, memory=1e9)
    assert isinstance(cost, Cost)
    assert 45e6 < cost.memory < 70e6
    too_much = measured(lambda: b"x" * 2_000_000_000, lambda: None, limit=60, memory=1e7)  # more than a heap has free
    assert too_much == "> 0 GB"
    assert measured(lambda: [None for _ in iter(int, 1)], lambda: None, limit=0.2, memory=1e9) == "> 0 s"


@linux
def test_small_sizes_make_the_table_and_the_plot(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "scripts/growth.py", "--small", "--dimensions", "32", "--folder", tmp_path]
    subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, timeout=300)
    text = (tmp_path / "growth.md").read_text("utf-8")
    for name in DETECTORS:
        assert text.count(f"\n| {name} | ") == 2  # against N and against K
    assert "died" not in text
    with Image.open(tmp_path / "growth.png") as plot:
        assert plot.width > 500
    assert (tmp_path / "growth.png").stat().st_size < 150_000
