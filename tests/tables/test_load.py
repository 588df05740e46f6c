"""Runs are read from their folders, checked, and left out with a reason where they cannot be read."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.made_up import NOISE, RESAMPLES, add_run, alter_metrics

from oodbench.storage import write_json
from oodbench.tables.load import load_run, load_runs, merged


def test_unfinished_runs_are_counted(tmp_path: Path) -> None:
    add_run(tmp_path)
    add_run(tmp_path, "other", finished=False)
    found = load_runs(tmp_path)
    assert [run.loss for run in found.runs] == ["plain"]
    assert (found.unfinished, found.unreadable) == (1, [])


def test_no_finished_run_is_an_error_that_says_where(tmp_path: Path) -> None:
    add_run(tmp_path, finished=False)
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path / "runs"))):
        load_runs(tmp_path)


# ---- one run that cannot be read


def test_a_bad_run_is_left_out_with_its_reason(tmp_path: Path) -> None:
    add_run(tmp_path)
    bad = add_run(tmp_path, "other")
    (bad / "metrics.json").write_bytes(b"\xff{")
    found = load_runs(tmp_path)
    assert [run.loss for run in found.runs] == ["plain"]
    ((folder, reason),) = found.unreadable
    assert folder == bad
    assert str(bad / "metrics.json") in reason
    assert "\n" not in reason


def test_where_none_can_be_read_the_first_reason_is_told(tmp_path: Path) -> None:
    (add_run(tmp_path) / "metrics.json").write_text("{")
    with pytest.raises(ValueError, match=r"none of 1 finished runs can be read: .*metrics\.json"):
        load_runs(tmp_path)


def refused(folder: Path) -> str:
    """Why the run cannot be read; the reason is that of `load_runs`, beside a good run."""
    add_run(folder.parents[5], "good")
    found = load_runs(folder.parents[5])
    assert [run.loss for run in found.runs] == ["good"]
    with pytest.raises(ValueError, match=re.escape(str(folder))) as error:
        load_run(folder)
    assert [each.reason for each in found.unreadable] == [str(error.value)]
    return str(error.value)


def test_a_number_that_was_edited_is_not_tabulated(tmp_path: Path) -> None:
    file = add_run(tmp_path) / "metrics.json"
    file.write_text(file.read_text().replace("0.05", "0.06"))
    assert "metrics.json was altered" in refused(file.parent)


def test_damaged_resamples_are_named(tmp_path: Path) -> None:
    file = add_run(tmp_path, noise=NOISE) / RESAMPLES
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    assert str(file) in refused(file.parent)


@pytest.mark.parametrize(
    ("file", "damage", "complaint"),
    [
        ("metrics.json", lambda text: text[:50], "cannot be read"),
        ("metrics.json", lambda text: text.replace('"test"', '"tast"'), "lacks the key 'test'"),
        ("metrics.json", lambda text: text.replace("0.05", "NaN"), "ece is nan, not a number"),
        (
            "metrics.json",
            lambda text: text.replace('"auroc": 0.9', '"auroc": null'),
            "auroc of ood_score on svhn is None",
        ),
        ("metrics.json", lambda text: text.replace('"svhn": 100', '"svhn": "=1+1"'), "images of svhn is '=1+1'"),
        ("metrics.json", lambda text: text.replace('"svhn"', '"@svhn"'), "OOD set '@svhn': a name begins with"),
        ("metrics.json", lambda text: text.replace('"msp"', '"=msp()"'), "detector '=msp()': a name begins with"),
        ("metrics.json", lambda text: "[]", "cannot be read"),
        ("metrics.json", lambda text: "[" * 100_000, "cannot be read"),
        ("metrics.json", lambda text: text.replace('"run": "', '"run": "0'), "belongs to run"),
        ("config.yaml", lambda text: text.replace("seed: 0", "seed: 1"), "is the configuration of"),
        ("config.yaml", lambda text: text.replace("lr: 0.1", "lr: 0.2"), "is the configuration of"),
        ("config.yaml", lambda text: text + "\n}", "cannot be read"),
        ("config.yaml", lambda text: text.replace("near", "nearby"), "is the configuration of"),
        ("config.yaml", lambda text: "", "cannot be read"),
        ("config.yaml", lambda text: text.replace("dataset: cifar10", "dataset: ../../x"), "name.dataset='../../x'"),
        ("config.yaml", lambda text: text.replace("loss: plain", "loss: '=cmd()'"), "name.loss='=cmd()'"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, file: str, damage: Callable[[str], str], complaint: str) -> None:
    folder = add_run(tmp_path)
    damaged = damage((folder / file).read_text())
    try:
        write_json(folder / file, {key: value for key, value in json.loads(damaged).items() if key != "sha256"})
    except (ValueError, AttributeError, RecursionError):  # not what the checksum is for
        (folder / file).write_text(damaged)
    reason = refused(folder)
    assert complaint in reason
    assert str(folder / file) in reason


@pytest.mark.parametrize(
    ("block", "values", "complaint"),
    [
        ("recipe", {"epochs": "abc"}, "recipe.epochs is 'abc', not a whole number"),
        ("recipe", {"epochs": True}, "recipe.epochs is True, not a whole number"),
        ("dataset", {"limit": "=1"}, "dataset.limit is '=1', not a whole number"),
    ],
)
def test_what_is_no_number_is_refused(tmp_path: Path, block: str, values: dict[str, Any], complaint: str) -> None:
    assert complaint in refused(add_run(tmp_path, config={block: values}))


def test_a_missing_config_is_named(tmp_path: Path) -> None:
    (path := add_run(tmp_path) / "config.yaml").unlink()
    assert str(path) in refused(path.parent)


def test_a_copied_folder_is_refused(tmp_path: Path) -> None:
    folder = add_run(tmp_path)
    folder.with_name("seed0_copy").mkdir()
    for file in folder.iterdir():
        (folder.with_name("seed0_copy") / file.name).write_bytes(file.read_bytes())
    ((copy, reason),) = load_runs(tmp_path).unreadable
    assert copy.name == "seed0_copy"
    assert "is the configuration of" in reason


def test_the_numbers_of_another_configuration_are_refused(tmp_path: Path) -> None:
    folder, other = add_run(tmp_path), add_run(tmp_path, config={"loss": {"smoothing": 0.5}})
    (folder / "metrics.json").write_bytes((other / "metrics.json").read_bytes())
    with pytest.raises(ValueError, match="belongs to run"):
        load_run(folder)


@pytest.mark.parametrize("file", ["metrics.json", "config.yaml", RESAMPLES])
@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_a_directory_or_a_pipe_is_no_file(tmp_path: Path, file: str, make: Callable[[Path], None]) -> None:
    folder = add_run(tmp_path, noise=NOISE)
    (folder / file).unlink()
    make(folder / file)
    assert f"{file} is no regular file" in refused(folder)


def test_aliases_that_blow_up_are_refused(tmp_path: Path) -> None:
    folder = add_run(tmp_path)
    levels = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
    with (folder / "config.yaml").open("a") as file:
        file.write("\n".join(["a0: &a0 [x]", *levels, "b: &b [*b]"]))
    assert "it has a YAML alias" in refused(folder)


# ---- numbers


def test_a_metric_that_a_run_lacks_is_left_out(tmp_path: Path) -> None:
    folder = add_run(tmp_path, noise=NOISE)

    def older(content: dict[str, Any]) -> None:
        del content["brier"], content["ood"]["svhn"]["msp"]["aupr_in"]

    alter_metrics(folder, older)
    run = load_run(folder)
    assert ("", "", "brier") not in run.numbers
    assert ("svhn", "msp", "aupr_in") not in run.numbers
    assert ("svhn", "msp", "aupr_out") in run.numbers


def test_a_metric_without_a_record_is_left_out(tmp_path: Path) -> None:
    folder = add_run(tmp_path)
    alter_metrics(folder, lambda content: content["ood"]["svhn"]["msp"].update(unheard_of=0.5))
    assert {metric for _, _, metric in load_run(folder).numbers} & {"unheard_of"} == set()


def test_resamples_are_kept_of_the_detectors_asked_for(tmp_path: Path) -> None:
    folder = add_run(tmp_path, noise=NOISE)
    assert load_run(folder).resampled.keys() >= {"svhn/msp/auroc", "svhn/msp/aupr_in", "nll"}
    assert load_runs(tmp_path).runs[0].resampled.keys() >= {"svhn/msp/auroc", "svhn/ood_score/fpr95_oodpos", "nll"}
    some = load_runs(tmp_path, ["ood_score"]).runs[0].resampled
    assert not {"svhn/msp/auroc", "svhn/ood_score/aupr_in"} & some.keys()
    np.testing.assert_array_equal(some["svhn/ood_score/auroc"], np.round(0.9 + NOISE, 5))
    np.testing.assert_array_equal(some["nll"], np.round(0.3 + NOISE, 5))


def test_of_a_run_without_these_detectors_all_are_kept(tmp_path: Path) -> None:
    """Tables then show what it has, with intervals and tests."""
    add_run(tmp_path, ood={"svhn": {"energy": 0.9}}, noise=NOISE)
    (run,) = load_runs(tmp_path, ["ood_score", "msp"]).runs
    assert "svhn/energy/auroc" in run.resampled


def test_resamples_of_other_numbers_are_refused(tmp_path: Path) -> None:
    folder = add_run(tmp_path, noise=NOISE)
    alter_metrics(folder, lambda content: content["resamples"].update(numbers="another"))
    assert "holds the resamples of other numbers" in refused(folder)


def test_a_record_names_resamples_of_its_folder_alone(tmp_path: Path) -> None:
    folder = add_run(tmp_path, noise=NOISE)
    alter_metrics(folder, lambda content: content["resamples"].update(file="../resamples-x.safetensors"))
    assert "not a file of this folder" in refused(folder)


# ---- seeds that were scored in two ways


def scored_with(folder: Path, name: str, k: int) -> None:
    alter_metrics(folder, lambda content: content["provenance"].update(detector={name: {"k": k}}))


def test_a_seed_scored_otherwise_is_left_out(tmp_path: Path) -> None:
    for seed, k in ((0, 50), (1, 50), (2, 10)):
        scored_with(add_run(tmp_path, seed=seed), "knn", k)
    scored_with(add_run(tmp_path, "other", 2), "knn", 10)
    found = load_runs(tmp_path)
    assert [(run.loss, run.seed) for run in found.runs] == [("other", 2), ("plain", 0), ("plain", 1)]
    assert re.search(r'seed2 was scored with knn {"k": 10} and .*seed0 with {"k": 50}', found.unreadable[0].reason)


def test_a_run_that_is_left_out_sets_no_standard(tmp_path: Path) -> None:
    """Seed 1 differs from seed 0 in knn, so that its gen, alone in its kind, counts for nothing."""
    for seed, of in enumerate(({"knn": 50}, {"knn": 10, "gen": 1}, {"knn": 50, "gen": 2}, {"knn": 50, "gen": 2})):
        detectors = {name: {"k": k} for name, k in of.items()}
        folder = add_run(tmp_path, seed=seed)
        alter_metrics(folder, lambda content, of=detectors: content["provenance"].update(detector=of))
    assert [run.seed for run in load_runs(tmp_path).runs] == [0, 2, 3]


def test_runs_of_two_folders_are_held_to_the_same(tmp_path: Path) -> None:
    for place, seed, k in (("own", 0, 50), ("own", 1, 50), ("registry", 2, 10)):
        scored_with(add_run(tmp_path / place, seed=seed), "knn", k)
    found = merged(load_runs(tmp_path / place) for place in ("own", "registry"))
    assert [run.seed for run in found.runs] == [0, 1]
    assert "was scored with knn" in found.unreadable[0].reason
    add_run(tmp_path / "registry", seed=1)
    with pytest.raises(ValueError, match="are the same run; name one of the two folders alone"):
        merged(load_runs(tmp_path / place) for place in ("own", "registry"))


def test_selected_hyperparameters_may_differ(tmp_path: Path) -> None:
    for seed, k in ((0, 50), (1, 10)):
        scored_with(add_run(tmp_path, seed=seed), "knn_selected", k)
    assert len(load_runs(tmp_path).runs) == 2


def test_settings_of_detectors_are_those_that_a_run_was_scored_with(tmp_path: Path) -> None:
    """Not those of the command that it was trained with"""
    path = add_run(tmp_path)
    with (path / "config.yaml").open("a") as file:
        file.write("detector: {energy: {_target_: oodbench.detectors.energy, temperature: 1}}\n")
    of_later = {
        "energy": {"_target_": "oodbench.detectors.energy", "temperature": 0.1},
        "odin": {"_target_": "oodbench.detectors.network.odin", "eps": 0.01},
    }
    alter_metrics(path, lambda content: content["provenance"].update(detector=of_later))
    settings = load_run(path).settings
    assert settings["detector.energy.temperature"] == "0.1"
    assert settings["image_detector.odin.eps"] == "0.01"
