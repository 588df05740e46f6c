"""scripts/compare.py."""

import re
from pathlib import Path

import pytest
from helpers.cli import script
from helpers.made_up import NOISE, add_run


def test_every_difference_of_two_runs_is_printed(tmp_path: Path) -> None:
    a, b = (add_run(tmp_path, loss, accuracy=accuracy, noise=NOISE) for loss, accuracy in (("a", 0.95), ("b", 0.9)))
    assert re.search(r"^- +accuracy +\+5\.00 ", script("scripts/compare.py", a, b), re.MULTILINE)


def test_a_folder_that_is_no_run_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"^compare: [^\n]+$"):
        script("scripts/compare.py", tmp_path)
