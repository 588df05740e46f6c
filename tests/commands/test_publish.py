"""scripts/publish.py."""

from pathlib import Path

import pytest
from helpers.cli import script


def test_a_folder_without_finished_runs_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        script("scripts/publish.py", f"results_dir={tmp_path}")
    assert ended.value.code == 2
    assert f"no finished run below {tmp_path / 'runs'}" in capsys.readouterr().err
