"""The registry: entries are checked, recomputed where their outputs are given, and stand on a leaderboard."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.cli import Finished, numbers_in, script
from helpers.committed import tracked
from helpers.config import ROOT, configuration
from helpers.made_up import alter_metrics

from oodbench.publishing.check import check_run, differences, tolerance
from oodbench.runs.folder import open_run
from oodbench.scoring.rescore import rescore
from oodbench.storage import load_arrays, read_json, save_arrays, write_json
from oodbench.tables.load import load_run


@pytest.fixture
def entry(finished: Finished, tmp_path: Path) -> Path:
    """A run as it was submitted."""
    script("scripts/publish.py", f"results_dir={finished.results}", "--target", tmp_path / "registry")
    return tmp_path / "registry" / finished.folder.relative_to(finished.results)


def problems(entry: Path, whole_runs: Path | None = None) -> str:
    return "\n".join(check_run(load_run(entry), whole_runs).problems)


def test_an_entry_without_outputs_is_as_submitted(entry: Path) -> None:
    found = check_run(load_run(entry))
    assert (found.recomputed, found.problems) == (False, [])


def test_an_entry_whose_outputs_are_given_is_recomputed(finished: Finished, entry: Path) -> None:
    found = check_run(load_run(entry), finished.results)
    assert (found.recomputed, found.problems) == (True, [])
    for name in ("outputs", "model.safetensors"):  # or in its own folder
        (shutil.copytree if name == "outputs" else shutil.copy)(finished.folder / name, entry / name)
    found = check_run(load_run(entry))
    assert (found.recomputed, found.problems) == (True, [])


def set_number(path: tuple[Any, ...], value: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        for key in path[:-1]:
            content = content[key]
        content[path[-1]] = value

    return change


ALTERED: list[tuple[tuple[Any, ...], float]] = [
    (("accuracy",), 0.987),
    (("accuracy",), 1),
    (("ood", "photo_patches", "msp", "auroc"), 0.987),
    (("intervals", "ood", "photo_patches", "msp", "auroc", 1), 0.987),
    (("calibration", "own", "mce"), 0.987),
    (("validation", "ood", "msp", "auroc"), 0.987),
]


@pytest.mark.parametrize(("path", "value"), ALTERED, ids=[" ".join(map(str, path)) for path, _ in ALTERED])
def test_a_number_that_outputs_give_otherwise_is_named(
    finished: Finished, entry: Path, path: tuple[Any, ...], value: float
) -> None:
    """Even where the checksum was made again"""
    alter_metrics(entry, set_number(path, value))
    found = check_run(load_run(entry), finished.results)
    assert f"{' '.join(map(str, path))} is {float(value)}, and " in "\n".join(found.problems)
    assert len(found.problems) == 1


def test_a_detector_that_the_outputs_do_not_have_is_named(finished: Finished, entry: Path) -> None:
    made_up = numbers_in(entry)["ood"]["photo_patches"]["msp"]
    alter_metrics(entry, set_number(("ood", "photo_patches", "mine"), made_up))
    assert "ood photo_patches mine auroc is " in problems(entry, finished.results)
    assert "and nothing from the outputs" in problems(entry, finished.results)


@pytest.mark.parametrize("computed", [{}, {"temperature_scaled": None}, {"temperature_scaled": {"temperatures": [1]}}])
def test_numbers_that_the_outputs_do_not_give_at_all_are_named(computed: dict[str, Any]) -> None:
    record = {"calibration": {"temperature_scaled": {"temperatures": [1, 2]}}}
    found = differences(record, {"calibration": computed}, [])
    assert "calibration temperature_scaled temperatures 1 is 2.0, and nothing from the outputs" in found


def test_stored_scores_of_image_detectors_are_read(finished: Finished, entry: Path, tmp_path: Path) -> None:
    """Those without stored scores leave the entry as submitted"""
    whole = tmp_path / "whole"
    shutil.copytree(finished.results, whole)
    folder = whole / finished.folder.relative_to(finished.results)
    rescore(folder, {}, configuration("image_detector=[odin]")["image_detector"])
    script("scripts/publish.py", f"results_dir={whole}", "--target", entry.parents[5])
    found = check_run(load_run(entry), whole)
    assert (found.recomputed, found.problems) == (True, [])
    (file,) = folder.glob("outputs/odin/photo_patches.safetensors")
    scores, about = load_arrays(file)
    save_arrays(file, {"scores": scores["scores"][::-1] * np.linspace(1, 2, len(scores["scores"]))}, **about)
    assert "ood photo_patches odin auroc is " in problems(entry, whole)
    file.unlink()
    found = check_run(load_run(entry), whole)
    assert (found.recomputed, found.problems) == (False, [])


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda entry: alter_metrics(entry, set_number(("accuracy",), 1.01)), "accuracy is 1.01 with the interval"),
        (
            lambda entry: alter_metrics(entry, set_number(("intervals", "accuracy"), [0.9, 0.1])),
            r"with the interval \[0.9, 0.1\]",
        ),
        (lambda entry: (entry / "training.json").unlink(), "training.json is missing"),
    ],
)
def test_files_that_do_not_go_together_are_named(entry: Path, damage: Callable[[Path], Any], complaint: str) -> None:
    damage(entry)
    assert re.search(complaint, problems(entry))


def test_numbers_of_other_weights_are_not_read(entry: Path) -> None:
    alter_metrics(entry, set_number(("weights",), "0" * 64))
    with pytest.raises(ValueError, match="is of other weights than"):
        load_run(entry)


def test_outputs_of_other_weights_or_images_are_named(finished: Finished, entry: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(finished.results, whole)
    run, _ = open_run(whole / finished.folder.relative_to(finished.results))
    other = tmp_path / "other"
    shutil.copytree(entry.parents[5], other)
    alter_metrics(
        other / entry.relative_to(entry.parents[5]),
        lambda content: content["provenance"]["digests"].update(photo_patches="1" * 64),
    )
    assert "photo_patches.safetensors is of other images than" in problems(
        other / entry.relative_to(entry.parents[5]), whole
    )
    weights, about = load_arrays(run.weights)
    save_arrays(run.weights, {name: 2 * array for name, array in weights.items()}, **about)
    assert "holds other weights" in problems(entry, whole)


def test_a_detector_of_other_code_is_refused(finished: Finished, entry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evil = {"_target_": "os.system", "command": "true"}
    monkeypatch.setattr("os.system", lambda command: pytest.fail("called"))
    alter_metrics(entry, set_number(("provenance", "detector", "msp"), evil))
    assert "os.system is not one of oodbench.detectors" in problems(entry, finished.results)


def test_numbers_may_differ_in_the_last_bits_alone() -> None:
    record = {"accuracy": 0.9, "ood": {"x": {"msp": {"auroc": 0.5}, "odin": {"auroc": 0.1}}}, "seed": 3, "nll": 300.0}
    computed = {"accuracy": 0.90009, "ood": {"x": {"msp": {"auroc": 0.5}}}, "nll": 300.02}
    assert differences(record, computed, ["odin"]) == []
    assert len(differences(record, computed, [])) == 1
    assert len(differences(record, computed | {"accuracy": 0.9002}, ["odin"])) == 1
    assert len(differences(record, computed | {"accuracy": float("nan")}, ["odin"])) == 1


def test_a_set_may_be_called_of() -> None:
    record = {"ood": {"of": {"msp": {"auroc": 0.999}}, "x": {"not_applicable": {"auroc": 0.5}}}}
    computed = {"ood": {"of": {"msp": {"auroc": 0.1}}, "x": {"not_applicable": {"auroc": 0.4}}}}
    assert len(differences(record, computed, [])) == 2


def test_the_committed_runs_are_sound() -> None:
    entries = [check_run(load_run(file.parent)) for file in tracked(ROOT / "results") if file.name == "metrics.json"]
    assert entries
    assert [problem for each in entries for problem in each.problems] == []


def test_a_summary_of_other_numbers_is_named(finished: Finished, entry: Path) -> None:
    assert (entry / "summary.json").exists()
    assert problems(entry, finished.results) == ""
    summary = read_json(entry / "summary.json")
    write_json(entry / "summary.json", summary | {"numbers": "0" * 64})
    assert "summary.json is of other numbers" in problems(entry, finished.results)


def test_numbers_in_thousandths_have_to_agree_as_closely() -> None:
    assert tolerance(("accuracy",), 0.9) == tolerance(("ood", "svhn", "msp", "auroc"), 0.01) == 1e-4
    assert tolerance(("nll",), 3.0) == pytest.approx(3e-4)
    assert tolerance(("intervals", "aurc", 0), 0.005) == pytest.approx(1e-5)
