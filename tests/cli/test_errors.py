"""Errors of a run and warnings are one line."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import hydra
import pytest
from helpers.config import CONF
from hydra import initialize_config_dir
from hydra.core.hydra_config import HydraConfig

from oodbench.cli.errors import BUSY, PACKAGE, exit_codes, plain_warnings
from oodbench.runs.lock import LockedError
from oodbench.storage import UnwritableError


@pytest.fixture
def single(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hydra as it is while a single run works."""
    yield from hydra_in("RUN", monkeypatch)


@pytest.fixture
def sweep(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hydra as it is while a run of a grid works."""
    yield from hydra_in("MULTIRUN", monkeypatch)


def hydra_in(mode: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = hydra.compose("train", [f"hydra.mode={mode}"], return_hydra_config=True)
        HydraConfig.instance().set_config(cfg)
        yield


@pytest.mark.usefixtures("single")
def test_a_locked_run_is_one_line_and_its_own_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end, exit_codes(Path("none")):
        raise LockedError("process 3 works on this run")
    assert end.value.code == BUSY == 75
    assert capsys.readouterr().out == "not run: process 3 works on this run\n"


@pytest.mark.usefixtures("single")
def test_an_unwritable_folder_is_one_line() -> None:
    with pytest.raises(SystemExit, match=r"^not run: cannot write x$"), exit_codes(Path("none")):
        raise UnwritableError("cannot write x")


def fail(error: Exception, file: Path) -> None:
    """Leave the traceback in the file, as a run does."""
    file.touch()
    raise error


@pytest.mark.usefixtures("single")
def test_missing_data_are_one_line(tmp_path: Path) -> None:
    file = tmp_path / "error.txt"
    with pytest.raises(SystemExit, match=r"^failed: svhn is not there; fetch it so$"), exit_codes(file):
        fail(FileNotFoundError("svhn is not there;\n  fetch it so"), file)


@pytest.mark.usefixtures("single")
def test_an_error_of_ours_names_the_file_with_its_traceback(tmp_path: Path) -> None:
    file = tmp_path / "error.txt"
    with pytest.raises(SystemExit, match=rf"^failed: KeyError: 'x'; the traceback is in {file}$"), exit_codes(file):
        fail(KeyError("x"), file)
    with pytest.raises(KeyError), exit_codes(file):  # of an earlier start: this one has no traceback elsewhere
        raise KeyError("x")


@pytest.mark.usefixtures("single")
def test_full_errors_are_there_for_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(FileNotFoundError), exit_codes(Path("none")):
        raise FileNotFoundError("svhn")


@pytest.mark.usefixtures("sweep")
def test_a_failed_run_of_a_grid_lets_the_others_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    with exit_codes(Path("none")):
        raise FloatingPointError("the loss is nan")
    assert capsys.readouterr().out == "failed: the loss is nan\n"


def test_our_warnings_do_not_name_our_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    plain_warnings()
    ours = warnings.formatwarning("it has\nslowed down", UserWarning, str(PACKAGE / "training" / "loop.py"), 3)
    assert ours == "warning: it has slowed down\n"
    theirs = warnings.formatwarning("gone soon", UserWarning, "/elsewhere/numpy.py", 3)
    assert theirs.startswith("/elsewhere/numpy.py:3: UserWarning: gone soon")
