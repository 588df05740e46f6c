"""scripts/evaluate.py reads detectors as train.py does."""

from pathlib import Path

import pytest
from helpers.cli import Finished, script
from helpers.config import ROOT
from helpers.made_up import alter_metrics

from oodbench.commands.evaluate import detectors, rescore_all


def test_detectors_are_chosen_and_set_as_for_a_training() -> None:
    of_outputs, of_network = detectors(["detector=[energy,knn]", "detector.energy.temperature=0.1"])
    assert list(of_outputs) == ["energy", "knn"]
    assert of_outputs["energy"]["temperature"] == 0.1
    assert of_network == {}


def test_image_detectors_alone_leave_the_others() -> None:
    of_outputs, of_network = detectors(["image_detector=[odin]"])
    assert of_outputs == {}
    assert list(of_network) == ["odin"]


def test_another_key_is_refused() -> None:
    with pytest.raises(ValueError, match=r"seed=1: only detectors can be chosen"):
        detectors(["detector=all", "seed=1"])


def test_a_long_list_of_detectors_is_no_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    every = ",".join(path.stem for path in (ROOT / "conf" / "detector").iterdir())
    assert len(every) > 255  # characters of a file's name
    with pytest.raises(SystemExit):
        script("scripts/evaluate.py", f"results_dir={tmp_path}", f"detector=[{every}]")
    assert f"no finished run below {tmp_path}" in capsys.readouterr().err


def test_a_path_without_runs_ends_the_command(
    finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beside a good one, too: a typing mistake must not leave a run unscored."""
    before = (finished.folder / "metrics.json").read_bytes()
    with pytest.raises(SystemExit):
        script("scripts/evaluate.py", finished.folder, tmp_path / "typo", "detector=[gen]")
    assert f"no finished run below {tmp_path / 'typo'};" in capsys.readouterr().err
    assert (finished.folder / "metrics.json").read_bytes() == before


@pytest.mark.parametrize(("jobs", "says"), [("0", "--jobs 0: a number from 1 on is needed"), ("1", "no finished run")])
def test_options_may_stand_between(tmp_path: Path, capsys: pytest.CaptureFixture[str], jobs: str, says: str) -> None:
    with pytest.raises(SystemExit):
        script("scripts/evaluate.py", tmp_path, "-j", jobs, "detector=[gen]")
    assert says in capsys.readouterr().err


def test_without_detectors_all_scores_are_computed_again(again: Finished, capfd: pytest.CaptureFixture[str]) -> None:
    said = script("scripts/evaluate.py", again.folder)
    assert f"{again.folder}: scored by all its detectors on unseen_digits" in said
    with pytest.raises(SystemExit):
        script("scripts/evaluate.py", again.folder, "--select")
    assert "--select: name the detectors, such as detector=all" in capfd.readouterr().err


def test_warnings_of_other_processes_are_one_line(again: Finished, capfd: pytest.CaptureFixture[str]) -> None:
    alter_metrics(again.folder, lambda content: content["provenance"].update(metric_code={"auroc": "another"}))
    assert rescore_all([again.folder], 1, *detectors(["detector=[msp]"]), None) == 0
    (line,) = [line for line in capfd.readouterr().err.splitlines() if "numbers on" in line]
    assert line.startswith("warning: removed, as images, hyperparameters, code")
