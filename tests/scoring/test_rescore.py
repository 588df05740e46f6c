"""Finished runs scored again: the numbers are those that the run itself would have had, and nothing else changes."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from helpers.cli import HALO, Finished, copied, finish, never, numbers_in, script, started
from helpers.config import ROOT, composed
from omegaconf import OmegaConf

from oodbench.commands.evaluate import rescored
from oodbench.detectors.reference import Reference
from oodbench.evaluation.search import select
from oodbench.runs.folder import open_run
from oodbench.runs.lock import LockedError, run_lock
from oodbench.runs.training_files import DataChangedError
from oodbench.scoring.rescore import rescore
from oodbench.storage import load_arrays, read_json, write_json

TOO_MANY = "detector.nnguide.k=1000000"  # neighbours: nnguide does not apply
MORE = ("detector=[knn,react,nnguide]", "detector.knn.k=5", TOO_MANY, "image_detector=[odin,rankfeat]")
NUMBERS = ("accuracy", "ece", "nll", "brier", "ood", "intervals", "calibration", "not_applicable")


def chosen(*overrides: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the detectors and image detectors that the overrides choose."""
    cfg: Any = OmegaConf.to_container(composed(*overrides), resolve=True)
    return cfg["detector"], cfg["image_detector"]


def detector(*overrides: str) -> tuple[dict[str, Any], dict[str, Any]]:
    return chosen(*overrides)[0], {}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run that was scored with MORE from the start."""
    names = "ood_score,msp,maxlogit,energy,knn,react,nnguide"
    return finish(tmp_path_factory.mktemp("fresh"), *HALO, f"detector=[{names}]", *MORE[1:])


def test_a_finished_run_gets_the_numbers_of_a_fresh_one(again: Finished, fresh: Finished) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("oodbench.experiment.fit", never)
        rescore(again.folder, *chosen(*MORE))
    ours, theirs = numbers_in(again.folder), fresh.metrics
    assert "nnguide" in ours["not_applicable"]
    assert {"knn", "react", "odin"} <= ours["ood"]["unseen_digits"].keys()
    for part in NUMBERS:
        assert ours[part] == theirs[part], part
    assert ours["validation"] == theirs["validation"] | {"of": ours["validation"]["of"]}
    for part in ("detector", "ood", "images", "digests", "near"):
        assert ours["provenance"][part] == theirs["provenance"][part]
    ours, theirs = (open_run(run.folder)[0].usable_resamples(numbers_in(run.folder)) for run in (again, fresh))
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


def test_a_second_start_gets_the_numbers_of_a_fresh_run(again: Finished, fresh: Finished) -> None:
    started(*HALO, *MORE, "validation.objective=nll", f"results_dir={again.results}")
    for part in NUMBERS:
        assert numbers_in(again.folder)[part] == fresh.metrics[part], part


def test_what_was_there_stays(again: Finished) -> None:
    before, files = again.metrics, {path.name for path in again.folder.iterdir()}
    record = rescore(again.folder, *detector("detector=[knn]", "detector.knn.k=5"))
    after = numbers_in(again.folder)
    assert record["ood"] == after["ood"]
    assert after["accuracy"] == before["accuracy"]
    held_out = after["validation"]["ood"]
    assert {key: held_out[key] for key in before["validation"]["ood"]} == before["validation"]["ood"]
    assert "knn" in held_out
    for name, scores in before["ood"].items():
        assert {key: after["ood"][name][key] for key in scores} == scores
        assert {key: after["intervals"]["ood"][name][key] for key in scores} == before["intervals"]["ood"][name]
    gone, new = before["resamples"]["file"], after["resamples"]["file"]
    assert {path.name for path in again.folder.iterdir()} == (files - {gone}) | {new, ".lock"}


def test_scoring_the_same_again_changes_nothing(again: Finished) -> None:
    rescore(again.folder, *detector())
    after = numbers_in(again.folder)
    assert {key: after[key] for key in NUMBERS} == {key: again.metrics[key] for key in NUMBERS}


def test_sets_of_an_earlier_start_are_scored_too(again: Finished) -> None:
    config = yaml.safe_load((again.folder / "config.yaml").read_text())
    config["ood"] = {"unseen_digits": config["ood"]["unseen_digits"]}  # what the last start asked for
    (again.folder / "config.yaml").write_text(yaml.safe_dump(config))
    rescore(again.folder, *detector("detector=[gen]"))
    numbers = numbers_in(again.folder)["ood"]
    assert all("gen" in numbers[name] for name in ("unseen_digits", "photo_patches"))


def test_image_detectors_see_the_sets_of_every_start(again: Finished) -> None:
    started(*HALO, "ood=[shuffled_digits]", "threads=2", f"results_dir={again.results}")
    rescore(again.folder, *chosen("detector=[msp]", "image_detector=[odin]"))
    assert {name for name, scores in numbers_in(again.folder)["ood"].items() if "odin" in scores} == {
        "unseen_digits",
        "photo_patches",
        "shuffled_digits",
    }
    card = (again.folder / "README.md").read_text()
    assert " threads=1 " in card
    assert "'ood=[unseen_digits,photo_patches,shuffled_digits]'" in card


def test_a_set_that_is_gone_does_not_stop_image_detectors(again: Finished, tmp_path: Path) -> None:
    config = yaml.safe_load((again.folder / "config.yaml").read_text())
    config["ood"]["photo_patches"] = {"path": str(tmp_path / "gone")}
    (again.folder / "config.yaml").write_text(yaml.safe_dump(config))
    line = rescored(again.folder, *chosen("detector=[msp]", "image_detector=[odin]"), None)
    assert "odin not on photo_patches, whose images are not where config.yaml says" in line
    assert "odin" in numbers_in(again.folder)["ood"]["unseen_digits"]


def test_outputs_on_other_images_are_not_scored(again: Finished) -> None:
    """As a start leaves them that was killed before its record was written: the columns would be of other images."""
    folder, _ = open_run(again.folder)
    outputs = folder.read_outputs("photo_patches")
    assert outputs is not None
    folder.write_outputs("photo_patches", outputs, "0" * 64)
    with pytest.raises(
        ValueError, match=r"photo_patches\.safetensors is of other images than .*repeat the run's command"
    ):
        rescore(again.folder, *detector("detector=[gen]"))
    assert numbers_in(again.folder) == again.metrics


def test_no_image_detector_learns_from_other_training_images(again: Finished) -> None:
    folder, _ = open_run(again.folder)
    weights = folder.usable_weights()
    assert weights is not None
    facts = {key: value for key, value in folder.read_training().items() if key != "train_digest"}
    folder.write_training(facts, weights, "0" * 64)
    with pytest.raises(DataChangedError, match="was made from images with digest 000000000000"):
        rescore(again.folder, *chosen("image_detector=[odin]"))
    assert numbers_in(again.folder) == again.metrics


def test_without_a_choice_all_scores_are_computed_again(again: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as after an edit of a metric: without the images, from what is stored"""
    rescore(again.folder, *chosen("detector=[knn]", "detector.knn.k=5", "image_detector=[odin]"))
    before = numbers_in(again.folder)
    monkeypatch.setattr("oodbench.scoring.score.metric_code", lambda: {"auroc": "edited"})
    monkeypatch.setattr("oodbench.scoring.rescore.open_data", never)
    after = rescore(again.folder, None, {})
    for part in (*NUMBERS, "validation"):
        assert after[part] == before[part], part
    assert after["provenance"]["detector"] == before["provenance"]["detector"]
    assert after["provenance"]["metric_code"]["auroc"] == "edited"
    assert {"knn", "odin", "msp"} <= after["ood"]["unseen_digits"].keys()


def test_scores_of_an_edited_image_detector_are_not_taken(again: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    before = rescore(again.folder, *chosen("image_detector=[odin]"))
    monkeypatch.setattr("oodbench.scoring.network_scores.detector_code", lambda how: dict.fromkeys(how, "edited"))
    with pytest.warns(UserWarning, match=r"odin is not scored again: .* image_detector=\[odin\] passes the images"):
        after = rescore(again.folder, None, {})
    assert after["ood"] == before["ood"]
    assert after["provenance"]["detector_code"]["odin"] == before["provenance"]["detector_code"]["odin"]


# ---- hyperparameters


def test_chosen_hyperparameters_stand_beside_the_defaults(again: Finished) -> None:
    rescore(again.folder, *detector("detector=[knn]", "detector.knn.k=5"), {"knn": {"k": [1, 20]}})
    after = numbers_in(again.folder)
    k = after["provenance"]["detector"]["knn_selected"]["k"]
    assert k in (1, 20)
    assert after["provenance"]["detector"]["knn"]["k"] == 5
    rescore(again.folder, *detector("detector=[knn]", f"detector.knn.k={k}"))
    assert numbers_in(again.folder)["ood"]["unseen_digits"]["knn"] == after["ood"]["unseen_digits"]["knn_selected"]


def test_choosing_fits_no_detector_to_the_held_out_images(again: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    """React's threshold is a percentile of the held-out images if there are any, and these choose the percentile."""
    given: list[Reference] = []

    def recording(function: Any, grid: Any, reference: Reference, *images: Any) -> Any:
        given.append(reference)
        return select(function, grid, reference, *images)

    monkeypatch.setattr("oodbench.scoring.rescore.select", recording)
    rescore(again.folder, *detector("detector=[react]"), {"react": {"percentile": [85, 95]}})
    assert [reference.validation for reference in given] == [None]


def test_detectors_that_do_not_apply_are_not_selected(again: Finished) -> None:
    grids = {"residual": {"dim": [10**6]}, "nnguide": {"k": [10**6]}, "react": {"percentile": [85, 95]}}
    rescore(again.folder, *detector("detector=[residual,nnguide,react]", TOO_MANY), grids)
    after = numbers_in(again.folder)
    assert "react_selected" in after["ood"]["unseen_digits"]
    assert not {"residual_selected", "nnguide_selected"} & after["ood"]["unseen_digits"].keys()
    assert after["not_applicable"].keys() == {"nnguide"}


def test_without_held_out_images_nothing_is_chosen(finished_ce: Finished, tmp_path: Path) -> None:
    run = copied(finished_ce, tmp_path / "results")
    before = (run.folder / "metrics.json").read_bytes()
    with pytest.raises(ValueError, match=r"train with validation\.images"):
        rescore(run.folder, *detector("detector=[knn]"), {"knn": {"k": [1, 20]}})
    assert (run.folder / "metrics.json").read_bytes() == before


def test_nothing_is_chosen_on_a_set_that_is_reported(again: Finished) -> None:
    with pytest.raises(ValueError, match="OOD set unseen_digits is reported"):
        started(*HALO, "ood=[photo_patches]", "ood@validation.ood=unseen_digits", f"results_dir={again.results}")
    content = read_json(again.folder / "metrics.json")
    digests = content["provenance"]["digests"]
    digests["val_ood"] = digests["unseen_digits"]
    write_json(again.folder / "metrics.json", content)
    folder, _ = open_run(again.folder)
    outputs = folder.read_outputs("val_ood")
    assert outputs is not None
    folder.write_outputs("val_ood", outputs, digests["val_ood"])
    with pytest.raises(ValueError, match="unseen_digits is reported"):
        rescore(again.folder, *detector("detector=[knn]"), {"knn": {"k": [1, 20]}})


def test_validation_numbers_follow_the_detectors_settings(again: Finished) -> None:
    before = again.metrics["validation"]["ood"]
    rescore(again.folder, *detector("detector=[energy]", "detector.energy.temperature=0.01"))
    after = numbers_in(again.folder)["validation"]["ood"]
    assert after["energy"] != before["energy"]
    assert after["ood_score"] == before["ood_score"]


# ---- files that cannot be used


def test_damaged_resamples_are_made_again_old_intervals_stay(again: Finished) -> None:
    before = again.metrics["intervals"]["ood"]["unseen_digits"]
    (again.folder / again.metrics["resamples"]["file"]).write_bytes(b"")
    with pytest.warns(UserWarning, match="resamples not used"):
        rescore(again.folder, *detector("detector=[energy]"))
    numbers = numbers_in(again.folder)
    assert numbers["intervals"]["ood"]["unseen_digits"] == before
    resamples = load_arrays(again.folder / numbers["resamples"]["file"])[0]
    assert any(name.startswith("unseen_digits/energy/") for name in resamples)


@pytest.mark.parametrize("name", ["outputs/test.safetensors", "outputs/val.safetensors", "model.safetensors"])
@pytest.mark.parametrize("what", ["missing", "damaged", "folder"])
def test_a_file_that_is_needed_is_named(again: Finished, name: str, what: str) -> None:
    file, before = again.folder / name, (again.folder / "metrics.json").read_bytes()
    whole = file.read_bytes()
    file.unlink()
    if what == "damaged":
        file.write_bytes(whole[:-3])
    elif what == "folder":
        file.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *args, **more: None)
        with pytest.raises(ValueError, match=rf"{name}.*repeat the run's command"):
            rescore(again.folder, *detector("detector=[gen]"))
    assert (again.folder / "metrics.json").read_bytes() == before


def test_a_published_run_says_what_it_lacks(again: Finished) -> None:
    shutil.rmtree(again.folder / "outputs")
    (again.folder / "model.safetensors").unlink()
    with pytest.raises(
        ValueError, match="as in every run that is published without weights and outputs; score the run"
    ):
        rescore(again.folder, *detector("detector=[gen]"))


def test_a_run_that_is_not_finished_is_named(again: Finished) -> None:
    (again.folder / "metrics.json").unlink()
    with pytest.raises(ValueError, match=f"{again.folder} is not finished"):
        rescore(again.folder, *detector())


# ---- a run that somebody else wrote


def stranger(run: Finished, **changes: Any) -> None:
    """Change a run's configuration, and keep its hash: the folder's names then still agree."""
    config = yaml.safe_load((run.folder / "config.yaml").read_text())
    (run.folder / "config.yaml").write_text(yaml.safe_dump(config | changes))


def evil(tmp_path: Path) -> dict[str, str]:
    return {"_target_": "os.system", "command": f"touch {tmp_path / 'evil'}"}


@pytest.mark.parametrize("part", ["loss", "backbone", "dataset"])
def test_a_stored_configuration_runs_nothing_foreign(again: Finished, tmp_path: Path, part: str) -> None:
    config = yaml.safe_load((again.folder / "config.yaml").read_text())
    stranger(again, **{part: config[part] | {"train": evil(tmp_path)} if part == "dataset" else evil(tmp_path)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("oodbench.runs.identity.config_hash", lambda config: again.metrics["config_hash"])
        with pytest.raises(ValueError, match=r"_target_: os\.system is not one of oodbench\."):
            rescore(again.folder, *chosen("image_detector=[odin]"))
    with pytest.raises(ValueError, match="is the configuration of"):
        rescore(again.folder, *detector())
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    "node", [{"_target_": "os.system", "command": "touch evil"}, "text _target_", ["_target_"], None]
)
def test_a_stored_ood_set_runs_nothing_foreign(again: Finished, tmp_path: Path, node: Any) -> None:
    """OOD sets are no part of the hash: nobody needs to forge it."""
    stranger(again, ood={"mine": node})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        with pytest.raises((ValueError, TypeError)):
            rescore(again.folder, *chosen("image_detector=[odin]"))
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("name", ["../../../../../../up", "a/b", "=cmd()", ".x", "test"])
def test_a_stored_set_of_any_name_writes_nowhere_else(again: Finished, tmp_path: Path, name: str) -> None:
    stranger(again, ood={name: {"_target_": "oodbench.data.noise"}})
    before = {path for path in tmp_path.rglob("*") if path.name != ".lock"}
    with pytest.raises(ValueError, match=r"(ood|set)=|an OOD set cannot be called"):
        rescore(again.folder, *chosen("image_detector=[odin]"))
    assert {path for path in tmp_path.rglob("*") if path.name != ".lock"} == before


def test_a_stored_detector_is_not_built(again: Finished, tmp_path: Path) -> None:
    stranger(again, detector={"msp": evil(tmp_path)}, image_detector={"odin": evil(tmp_path)})
    rescore(again.folder, *detector("detector=[gen]"))
    assert not (tmp_path / "evil").exists()


def test_a_run_that_another_process_has_is_left_to_it(again: Finished) -> None:
    with run_lock(again.folder), pytest.raises(LockedError):
        rescore(again.folder, *detector())


# ---- the script


def test_the_script_refuses_what_is_no_detector(again: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, says in (
        ([again.folder, "loss=ce"], "only detectors can be chosen"),
        (["detector=[gen]", f"results_dir={again.folder / 'outputs'}"], "no finished run below"),
        ([again.folder / "outputs"], "no finished run below"),
    ):
        with pytest.raises(SystemExit) as end:
            script("scripts/evaluate.py", *arguments)
        assert end.value.code == 2
        assert says in capsys.readouterr().err


@pytest.mark.slow
def test_the_script_scores_every_run_it_can(again: Finished) -> None:
    shutil.copytree(again.folder, again.folder.with_name("seed1"))  # whose configuration says seed 3
    command = [sys.executable, str(ROOT / "scripts" / "evaluate.py"), str(again.results)]
    command += ["detector=[gen,nnguide,knn]", TOO_MANY, "image_detector=[odin]", "detector.knn.k=5", "--select"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 1, ended.stderr
    assert (
        f"{again.folder}: scored by gen, nnguide, knn, odin on unseen_digits, photo_patches; not applicable: nnguide"
        in ended.stdout
    )
    assert f"{again.folder.with_name('seed1')}: ValueError" in ended.stdout
    assert "1 of 2 runs could not be scored" in ended.stderr
    assert {"gen", "gen_selected", "odin"} <= numbers_in(again.folder)["ood"]["photo_patches"].keys()
