"""scripts/status.py."""

from pathlib import Path

from helpers.cli import script
from helpers.made_up import add_run


def test_every_run_is_a_line(tmp_path: Path) -> None:
    add_run(tmp_path, "a")
    add_run(tmp_path, "b", finished=False)
    printed = script("scripts/status.py", "--results-dir", tmp_path)
    assert [line.split()[2] for line in printed.splitlines()[1:3]] == ["done", "stopped"]
    assert printed.endswith("1 done, 0 running, 0 failed, 1 stopped\n")
