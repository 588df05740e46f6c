"""A lock and an unwritable folder are one line and an exit code."""

from collections.abc import Iterator

import hydra
import pytest
from helpers.config import CONF
from hydra import initialize_config_dir
from hydra.core.hydra_config import HydraConfig

from oodbench.cli.errors import BUSY, exit_codes
from oodbench.runs.lock import LockedError
from oodbench.storage import UnwritableError


@pytest.fixture
def single() -> Iterator[None]:
    """Hydra as it is while a single run works."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = hydra.compose("train", ["hydra.mode=RUN"], return_hydra_config=True)
        HydraConfig.instance().set_config(cfg)
        yield


@pytest.mark.usefixtures("single")
def test_a_locked_run_is_one_line_and_its_own_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end, exit_codes():
        raise LockedError("process 3 works on this run")
    assert end.value.code == BUSY == 75
    assert capsys.readouterr().out == "not run: process 3 works on this run\n"


@pytest.mark.usefixtures("single")
def test_an_unwritable_folder_is_one_line() -> None:
    with pytest.raises(SystemExit, match=r"^not run: cannot write x$"), exit_codes():
        raise UnwritableError("cannot write x")
