"""Finished runs scored again: the numbers are those that the run itself would have had, and nothing else changes."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.config import ROOT, composed
from omegaconf import OmegaConf

from oodbench.runs.lock import LockedError, run_lock
from oodbench.scoring import rescore
from oodbench.storage import load_arrays, read_json, write_json

RUN = ["dataset=digits", "recipe=smoke", "backbone.width=4", "device=cpu", "precision=fp32", "dataset.limit=200"]
RUN += ["dataset.limit_test=80", "ood=[unseen_digits,photo_patches]", "loss=halo", "validation.images=80"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The results folder with one run, which nobody writes to."""
    results = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OODBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        train(results)
        yield results


def train(results: Path, *overrides: str) -> None:
    command = [sys.executable, str(ROOT / "train.py"), *RUN, *overrides, f"results_dir={results}"]
    subprocess.run(command, check=True, capture_output=True)


def copied(finished: Path, tmp_path: Path) -> Path:
    """The folder of a run that may be changed."""
    shutil.copytree(finished, tmp_path / "results")
    (folder,) = (tmp_path / "results").glob("runs/*/*/*/*/seed0")
    return folder


def detector(*overrides: str) -> dict[str, Any]:
    chosen: Any = OmegaConf.to_container(composed(*overrides).detector, resolve=True)
    return chosen


def numbers(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return content


def test_the_numbers_are_those_that_the_run_itself_would_write(finished: Path, tmp_path: Path) -> None:
    folder = copied(finished, tmp_path)
    shutil.copytree(finished, tmp_path / "trained")
    rescore(folder, detector("detector=[knn,react,vim]", "detector.knn.k=5"))
    train(tmp_path / "trained", "detector=[knn,react,vim]", "detector.knn.k=5", "validation.objective=accuracy")
    ours, theirs = numbers(folder), numbers(tmp_path / "trained" / folder.relative_to(tmp_path / "results"))
    assert "needs a linear head" in ours["not_applicable"]["vim"]
    assert set(ours["ood"]["unseen_digits"]) == {"ood_score", "msp", "maxlogit", "energy", "knn", "react"}
    for part in ("accuracy", "ood", "intervals", "calibration", "not_applicable"):
        assert ours[part] == theirs[part], part
    assert set(theirs["validation"]["ood"]) == set(ours["ood"]["unseen_digits"])  # the earlier ones, too
    assert ours["provenance"]["detector"] == theirs["provenance"]["detector"]


def test_what_was_there_stays(finished: Path, tmp_path: Path) -> None:
    folder = copied(finished, tmp_path)
    before = numbers(folder)
    rescore(folder, detector("detector=[knn]", "detector.knn.k=5"))
    after = numbers(folder)
    assert after["accuracy"] == before["accuracy"]
    held_out = after["validation"]["ood"]
    assert {key: held_out[key] for key in before["validation"]["ood"]} == before["validation"]["ood"]
    assert "knn" in held_out
    for name, scores in before["ood"].items():
        assert {key: after["ood"][name][key] for key in scores} == scores
        assert {key: after["intervals"]["ood"][name][key] for key in scores} == before["intervals"]["ood"][name]
    assert {path.name for path in folder.iterdir()} - {".claim.lock"} == {
        path.name for path in next(finished.glob("runs/*/*/*/*/seed0")).iterdir()
    } - {".claim.lock"}


def test_hyperparameters_are_chosen_on_validation_images_and_stand_beside_the_defaults(
    finished: Path, tmp_path: Path
) -> None:
    folder = copied(finished, tmp_path)
    rescore(folder, detector("detector=[knn]", "detector.knn.k=5"), {"knn": {"k": [1, 20]}})
    after = numbers(folder)
    chosen = after["provenance"]["detector"]["knn_selected"]["k"]
    assert chosen in (1, 20)
    rescore(folder, detector("detector=[knn]", f"detector.knn.k={chosen}"))
    assert numbers(folder)["ood"]["unseen_digits"]["knn"] == after["ood"]["unseen_digits"]["knn_selected"]


def test_detectors_that_do_not_apply_are_not_selected_and_the_others_are(finished: Path, tmp_path: Path) -> None:
    folder = copied(finished, tmp_path)
    chosen = detector("detector=[vim,knn,react]", "detector.knn.k=5")
    rescore(folder, chosen, {"vim": {"dim": [2]}, "knn": {"k": [10**6]}, "react": {"percentile": [85, 95]}})
    after = numbers(folder)
    assert "react_selected" in after["ood"]["unseen_digits"]
    assert not {"vim_selected", "knn_selected"} & after["ood"]["unseen_digits"].keys()
    assert "vim" in after["not_applicable"]


def test_without_held_out_images_nothing_is_chosen(finished: Path, tmp_path: Path) -> None:
    folder = copied(finished, tmp_path)
    (folder / "outputs" / "val.safetensors").unlink()
    before = (folder / "metrics.json").read_bytes()
    with pytest.raises(FileNotFoundError, match=r"train with validation\.images"):
        rescore(folder, detector("detector=[knn]"), {"knn": {"k": [1, 20]}})
    assert (folder / "metrics.json").read_bytes() == before


def test_validation_numbers_follow_the_detectors_settings(finished: Path, tmp_path: Path) -> None:
    folder = copied(finished, tmp_path)
    before = numbers(folder)["validation"]["ood"]
    rescore(folder, detector("detector=[energy]", "detector.energy.temperature=0.01"))
    after = numbers(folder)["validation"]["ood"]
    assert after["energy"] != before["energy"]
    assert after["ood_score"] == before["ood_score"]


def test_nothing_is_chosen_on_a_set_that_an_earlier_start_reported(finished: Path, tmp_path: Path) -> None:
    folder = copied(finished, tmp_path)
    with pytest.raises(subprocess.CalledProcessError) as ended:
        train(tmp_path / "results", "ood=[photo_patches]", "ood@validation.ood=unseen_digits")
    assert b"OOD set unseen_digits is reported" in ended.value.stderr
    content = read_json(folder / "metrics.json")
    digests = content["provenance"]["digests"]
    digests["val_ood"] = digests["unseen_digits"]
    write_json(folder / "metrics.json", content)
    with pytest.raises(ValueError, match="unseen_digits is reported"):
        rescore(folder, detector("detector=[knn]"), {"knn": {"k": [1, 20]}})


def test_damaged_resamples_are_made_again_and_old_intervals_stay(finished: Path, tmp_path: Path) -> None:
    folder = copied(finished, tmp_path)
    before = numbers(folder)["intervals"]["ood"]["unseen_digits"]
    (folder / "resamples.safetensors").write_bytes(b"")
    with pytest.warns(UserWarning, match="resamples not used"):
        rescore(folder, detector("detector=[energy]"))
    assert numbers(folder)["intervals"]["ood"]["unseen_digits"] == before
    assert any(name.startswith("unseen_digits/energy/") for name in load_arrays(folder / "resamples.safetensors")[0])


@pytest.mark.parametrize("where", ["loss", "detector"])
def test_a_stored_configuration_runs_nothing_foreign(finished: Path, tmp_path: Path, where: str) -> None:
    folder = copied(finished, tmp_path)
    evil = {"_target_": "os.system", "command": f"touch {tmp_path / 'evil'}"}
    if where == "loss":
        config = yaml.safe_load((folder / "config.yaml").read_text())
        (folder / "config.yaml").write_text(yaml.safe_dump(config | {"loss": evil}))
        chosen = detector("detector=[msp]")
    else:
        chosen = {"msp": evil}
    with pytest.raises(ValueError, match=r"os\.system is not of oodbench|is the configuration of"):
        rescore(folder, chosen)
    assert not (tmp_path / "evil").exists()


def test_a_run_that_another_process_has_is_left_to_it(finished: Path, tmp_path: Path) -> None:
    folder = copied(finished, tmp_path)
    with run_lock(folder), pytest.raises(LockedError):
        rescore(folder, detector("detector=[msp]"))


def test_the_script_scores_every_run_and_ends_with_an_error_for_those_it_cannot(finished: Path, tmp_path: Path) -> None:
    folder = copied(finished, tmp_path)
    shutil.copytree(folder, folder.with_name("seed1"))  # whose configuration says seed 0
    script = [sys.executable, str(ROOT / "scripts" / "evaluate.py")]
    ended = subprocess.run([*script, str(tmp_path / "results"), "detector=[gen]"], capture_output=True, text=True)
    assert ended.returncode == 1
    assert f"{folder}: 1 detectors, 2 OOD sets" in ended.stdout
    assert f"{folder.with_name('seed1')}: ValueError" in ended.stdout
    assert "1 of 2 runs could not be scored" in ended.stderr
    assert "gen" in numbers(folder)["ood"]["photo_patches"]
    wrong = subprocess.run([*script, str(folder), "loss=ce"], capture_output=True, text=True)
    assert wrong.returncode == 2
    assert "only detectors can be chosen" in wrong.stderr
