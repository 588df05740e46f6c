"""scripts/status.py."""

from pathlib import Path

import pytest
from helpers.cli import script
from helpers.made_up import add_run


def test_every_run_is_a_line(tmp_path: Path) -> None:
    add_run(tmp_path, "a")
    add_run(tmp_path, "b", finished=False)
    printed = script("scripts/status.py", "--results-dir", tmp_path)
    assert [line.split()[2] for line in printed.splitlines()[1:3]] == ["done", "stopped"]
    assert printed.endswith("1 done, 0 running, 0 failed, 1 stopped\n")


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf"])
def test_a_time_that_nobody_can_wait_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], seconds: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        script("scripts/status.py", "--results-dir", tmp_path, f"--watch={seconds}")
    assert ended.value.code == 2
    assert "--watch: a number of seconds above 0" in capsys.readouterr().err
