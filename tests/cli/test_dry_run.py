"""A dry run says what a command would do and which data it lacks; it writes and downloads nothing."""

import sys
from pathlib import Path

import pytest
from helpers.cli import HALO, RUN, Finished, never, started

from oodbench.cli.dry_run import dry_run
from oodbench.cli.launch import launch
from oodbench.cli.plan import plan


def test_a_dry_run_says_what_is_to_do_and_does_nothing(finished: Finished, tmp_path: Path) -> None:
    printed = started(*HALO, f"results_dir={finished.results}", "dry_run=true")
    assert printed.split() == ["finished", str(finished.folder)]
    assert started(*RUN, f"results_dir={tmp_path}", "dry_run=true").startswith("to do")
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_of_a_sweep_names_every_run(finished: Finished, tmp_path: Path) -> None:
    printed = started("-m", *HALO, "seed=3,4", "dry_run=true", f"results_dir={finished.results}").splitlines()
    assert [line.split()[0] for line in printed] == ["finished", "to"]
    assert started("-m", *HALO, "seed=3,4", "dry_run=true", f"results_dir={tmp_path / 'ü'}").count("to do") == 2
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_with_force_is_to_do(finished: Finished) -> None:
    printed = started(*HALO, f"results_dir={finished.results}", "dry_run=true", "force=true")
    assert printed.startswith("to do")
    assert (finished.folder / "metrics.json").exists()


def test_a_dry_run_looks_whether_the_data_are_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py"])
    monkeypatch.setenv("OODBENCH_OFFLINE", "")  # which a dry run sets, for its process
    gone = f"+ood.gone.path={tmp_path}/gone"
    with pytest.raises(SystemExit) as end:
        launch(never, ["-m", *RUN, "seed=0,1,2", "dry_run=true", gone, f"results_dir={tmp_path}"])
    assert end.value.code == 1
    printed = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in printed[:3]] == ["no data"] * 3
    assert len(printed) == 4
    assert printed[3].startswith(f"3 runs cannot start: no parquet file at {tmp_path}/gone")
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_downloads_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says that the data are missing, at once, and that nothing was tried."""
    arguments = [*RUN, "dataset=cifar10", f"data_root={tmp_path / 'none'}", "dry_run=true", f"results_dir={tmp_path}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OODBENCH_OFFLINE", "")
        with pytest.raises(SystemExit) as end:
            dry_run(plan(arguments)[0])
    assert end.value.code == 1
    assert "OODBENCH_OFFLINE is set" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
