"""External outputs: a file of another code's outputs becomes a run like any other."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.cli import Finished, numbers_in, script
from helpers.config import composed
from helpers.external import SETS, Arrays, stored
from omegaconf import OmegaConf
from safetensors.numpy import save_file
from scipy.special import log_softmax

from oodbench.pretrained.external_file import load_external
from oodbench.runs.folder import open_run
from oodbench.runs.status import states, table
from oodbench.scoring.ensembles import score_ensemble
from oodbench.scoring.rescore import rescore
from oodbench.storage import load_arrays
from oodbench.tables.comparison import compare_runs, load_side, pairs_of
from oodbench.tables.kinds import Kind
from oodbench.tables.load import load_run
from oodbench.tables.means import FAR, sets_of


def without_head(arrays: Arrays) -> Arrays:
    return {name: array for name, array in arrays.items() if not name.startswith("head/")}


def imported(arrays: Arrays, tmp_path: Path, *arguments: Any, suffix: str = ".npz") -> Path:
    """Return the folder of the run that the outputs become."""
    file = tmp_path / f"outputs{suffix}"
    np.savez(file, **arrays) if suffix == ".npz" else save_file(arrays, file)
    given = ("--name", "mine", "--dataset", "digits", "--results-dir", tmp_path / "results")
    return Path(script("scripts/import_outputs.py", file, *given, *arguments).rstrip().rpartition("\n")[2])


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_outputs_of_a_run_here_get_its_numbers_to_the_bit(
    finished_ce: Finished, arrays: Arrays, tmp_path: Path, suffix: str
) -> None:
    folder = imported(arrays, tmp_path, suffix=suffix)
    numbers = numbers_in(folder)
    for part in ("accuracy", "ece", "nll", "brier", "ood", "intervals", "calibration"):
        assert numbers[part] == finished_ce.metrics[part]
    for name in SETS:
        for expected, array in zip(stored(finished_ce.folder, name), stored(folder, name), strict=True):
            np.testing.assert_array_equal(expected, array)


def test_the_folder_says_where_it_is_from(arrays: Arrays, tmp_path: Path) -> None:
    folder = imported(arrays, tmp_path, "--seed", 2)
    place = r"runs/digits/external/mine/pretrained-[0-9a-f]{8}/seed2"
    assert re.fullmatch(place, str(folder.relative_to(tmp_path / "results")))
    files = {str(path.relative_to(folder)) for path in folder.rglob("[!.]*") if path.is_file()}
    numbers = numbers_in(folder)
    top = {"config.yaml", "training.json", "model.safetensors", "metrics.json", "README.md"}
    top |= {numbers["resamples"]["file"]}
    assert files == top | {f"outputs/{name}.safetensors" for name in SETS}
    facts = numbers["provenance"]
    assert facts["pretrained"] == {"file": "outputs.npz", "sha256": load_external(tmp_path / "outputs.npz").sha256}
    assert (facts["precision"], facts["seed"], facts["near"]) == ("unknown", 2, ["unseen_digits"])
    assert not {"epochs", "wall_time_s", "threads"} & facts.keys()


def test_every_file_names_the_run(arrays: Arrays, tmp_path: Path) -> None:
    folder = imported(arrays, tmp_path)
    run = str(open_run(folder)[0].run)
    assert numbers_in(folder)["run"] == run
    assert {load_arrays(file)[1]["run"] for file in folder.rglob("*.safetensors")} == {run}


def test_runs_of_other_names_and_data_sets_are_other_runs(arrays: Arrays, tmp_path: Path) -> None:
    given = [(), ("--name", "other"), ("--dataset", "birds")]
    folders = [imported(arrays, tmp_path, *arguments) for arguments in given]
    assert len({numbers_in(folder)["config_hash"] for folder in folders}) == 3
    assert len(set(folders)) == 3


def test_other_code_takes_it_for_a_run_like_any_other(arrays: Arrays, tmp_path: Path) -> None:
    folder, results = imported(arrays, tmp_path), tmp_path / "results"
    second = imported(arrays | {"test/labels": np.roll(arrays["test/labels"], 1)}, tmp_path, "--seed", 1)
    assert second.parent == folder.parent  # seeds of one row
    assert [state.state for state in states(results)] == ["done", "done"]
    assert "done" in table(states(results))
    more: Any = OmegaConf.to_container(composed("detector=[knn,vim]").detector)
    rescore(folder, more, {})
    assert numbers_in(folder)["ood"]["noise"].keys() == {"ood_score", "msp", "maxlogit", "energy", "knn", "vim"}


def test_two_networks_are_paired_by_the_labels_of_their_images(arrays: Arrays, tmp_path: Path) -> None:
    other = without_head(arrays)
    other |= {f"{name}/logits": arrays[f"{name}/logits"] * 0.5 for name in SETS}
    first, second = imported(arrays, tmp_path), imported(other, tmp_path, "--name", "other")
    pairs = pairs_of(load_side(first), load_side(second))
    found = compare_runs(pairs, "ood_score", "ood_score")
    assert all(bool(line.test) == ("aupr" not in line.metric) for line in found)  # which no table shows
    moved = other | {"test/labels": np.roll(arrays["test/labels"], 1)}
    third = imported(moved, tmp_path, "--name", "moved")
    with pytest.raises(ValueError, match="the test images differ"):
        pairs_of(load_side(first), load_side(third))


def test_seeds_of_other_code_have_an_ensemble(arrays: Arrays, tmp_path: Path) -> None:
    folder = imported(other := without_head(arrays), tmp_path)
    imported(other | {"test/logits": arrays["test/logits"] * 0.5}, tmp_path, "--seed", 1)
    assert score_ensemble(folder.parent)["members"].keys() == {"0", "1"}
    imported(other | {"test/logits": arrays["test/logits"] * 0.1}, tmp_path, "--seed", 1, "--force")
    assert not (folder.parent / "ensemble.json").exists()  # of the outputs before


def test_image_detectors_need_the_network(arrays: Arrays, tmp_path: Path) -> None:
    folder = imported(arrays, tmp_path)
    before = numbers_in(folder)
    odin: Any = OmegaConf.to_container(composed("image_detector=[odin]").image_detector)
    with pytest.raises(ValueError, match="backbones"):
        rescore(folder, {}, odin)
    assert numbers_in(folder) == before


def test_without_a_head_detectors_that_need_it_do_not_apply(arrays: Arrays, tmp_path: Path) -> None:
    numbers = numbers_in(imported(without_head(arrays), tmp_path, "detector=[ood_score,knn,react,vim]"))
    assert numbers["ood"]["noise"].keys() == {"ood_score", "knn"}
    assert numbers["not_applicable"].keys() == {"react", "vim"}
    assert "without one" in numbers["not_applicable"]["react"]


def test_other_types_and_missing_ood_labels_are_taken(finished_ce: Finished, arrays: Arrays, tmp_path: Path) -> None:
    other = {name: array for name, array in arrays.items() if name != "noise/labels"}
    other |= {"test/labels": arrays["test/labels"].astype("u1")}
    other |= {f"noise/{part}": arrays[f"noise/{part}"].astype("f8") for part in ("logits", "features")}
    assert numbers_in(imported(other, tmp_path))["ood"] == finished_ce.metrics["ood"]
    half = {name: array.astype("f2") for name, array in arrays.items() if name.endswith("logits")}
    np.savez(tmp_path / "half.npz", **(arrays | half))
    assert load_external(tmp_path / "half.npz").sets["test"].log_probs.dtype == np.float64


def test_a_mistake_in_the_file_leaves_nothing(arrays: Arrays, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"^import_outputs: [^\n]*outputs\.npz: train/labels: 7 of 8 classes have no"):
        imported(arrays | {"train/labels": 0 * arrays["train/labels"]}, tmp_path)
    assert not (tmp_path / "results").exists()


def test_what_is_there_is_replaced_by_force_alone(arrays: Arrays, tmp_path: Path) -> None:
    folder = imported(arrays, tmp_path)
    before = numbers_in(folder)
    other = arrays | {f"{name}/labels": arrays[f"{name}/logits"].argmax(1) for name in ("train", "test")}
    other["train/labels"][:8] = range(8)  # each class has an image
    with pytest.raises(SystemExit, match="exists already: choose another name or seed, or --force"):
        imported(other, tmp_path)
    assert numbers_in(folder) == before
    imported(other, tmp_path, "--force")
    assert numbers_in(folder)["accuracy"] == 1 > before["accuracy"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--near", "svhn"], r"near \['svhn'\]: the OOD sets of the file are noise, unseen_digits"),
        (["--shifted", "svhn"], r"shifted \['svhn'\]: the OOD sets of the file are"),
        (["--near", "noise", "--shifted", "noise"], r"near and shifted \['noise'\]: a set is of one kind"),
        (["--dataset", "cifar100"], "has 8 logits an image, cifar100 100 classes"),
        (["--name", "../up"], r"name\.loss='\.\./up'"),
        (["--name", "=cmd()"], r"name\.loss='=cmd\(\)'"),
        (["--dataset", "a/b"], r"name\.dataset='a/b'"),
        (["--seed", "-1"], "seed=-1"),
        (["--seed", str(10**30)], "seed=10+: a whole number"),
    ],
)
def test_names_are_checked(arrays: Arrays, tmp_path: Path, arguments: list[str], says: str) -> None:
    with pytest.raises(SystemExit, match=says):
        imported(arrays, tmp_path, *arguments)
    assert not (tmp_path / "results").exists()


def test_a_set_that_this_project_does_not_know_can_be_learnt(arrays: Arrays, tmp_path: Path) -> None:
    folder = imported(arrays, tmp_path, "--dataset", "birds", "--near", "noise")
    assert folder.parts[-5] == "birds"
    assert numbers_in(folder)["provenance"]["near"] == ["noise"]


def test_sets_that_are_said_to_be_shifted_are_in_no_mean(arrays: Arrays, tmp_path: Path) -> None:
    plain, shifted = (
        load_run(imported(arrays, tmp_path, "--dataset", "birds", "--force", *arguments))
        for arguments in ((), ("--shifted", "noise"))
    )
    assert plain.hash == shifted.hash
    assert [run.kind("noise") for run in (plain, shifted)] == [Kind.FAR, Kind.SHIFTED]
    assert [sets_of(run, FAR) for run in (plain, shifted)] == [("noise", "unseen_digits"), ("unseen_digits",)]


def test_one_training_as_two_seeds_is_refused(arrays: Arrays, tmp_path: Path) -> None:
    folder = imported(arrays, tmp_path)
    with pytest.raises(SystemExit, match=f"{folder} has these very outputs: a seed is a training of its own"):
        imported(arrays, tmp_path, "--seed", 1, suffix=".safetensors")  # another file
    assert not folder.with_name("seed1").exists()
    imported(arrays, tmp_path, "--force")  # the same seed again
    imported(arrays | {"test/labels": np.roll(arrays["test/labels"], 1)}, tmp_path, "--seed", 1)


def test_a_name_that_is_spelt_otherwise_is_told(arrays: Arrays, tmp_path: Path) -> None:
    file = tmp_path / "outputs.npz"
    np.savez(file, **{name.replace("unseen_digits", "Unseen-Digits"): array for name, array in arrays.items()})
    given = ("--name", "mine", "--dataset", "digits", "--results-dir", tmp_path / "results")
    printed = script("scripts/import_outputs.py", file, *given)
    assert "warning: Unseen-Digits is not unseen_digits, as conf/ calls it; tables have it apart" in printed
    assert "near: none; shifted: none; far: Unseen-Digits, noise" in printed


def test_probabilities_are_not_taken_for_logits_in_silence(arrays: Arrays, tmp_path: Path) -> None:
    z = without_head(arrays)
    p = {name: np.exp(log_softmax(array, axis=1)) if name.endswith("logits") else array for name, array in z.items()}
    with pytest.warns(UserWarning, match=r"train/logits are never negative and every row's sum is 1"):
        imported(p, tmp_path)
