"""scripts/ensemble.py."""

from pathlib import Path

import pytest
from helpers.cli import script
from helpers.made_up import add_run


def test_a_seed_alone_is_no_ensemble(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add_run(tmp_path)
    with pytest.raises(SystemExit) as ended:
        script("scripts/ensemble.py", tmp_path)
    assert ended.value.code == 2
    assert f"no two finished seeds of one configuration below {tmp_path}" in capsys.readouterr().err
