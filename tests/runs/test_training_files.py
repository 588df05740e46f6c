"""Files of a training are given back as they were written, and never to another run or for other weights."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.config import configuration
from helpers.run_files import OUTPUTS, WEIGHTS, everything, trained

from oodbench.runs.config import read_config
from oodbench.runs.folder import RunFolder
from oodbench.runs.training_files import DataChangedError, ForeignFileError
from oodbench.storage import read_json, save_arrays, write_json


def test_the_history_is_a_line_an_epoch_that_names_the_run(tmp_path: Path) -> None:
    folder = RunFolder.of(configuration(results_dir=str(tmp_path)))
    rows = [{"epoch": 1, "loss": 2.5, "accuracy": float("nan")}, {"epoch": 2, "loss": 0.123456789, "accuracy": 1}]
    folder.write_history(rows)
    name = str(folder.run)
    assert folder.history.read_text() == f"run,epoch,loss,accuracy\n{name},1,2.5,nan\n{name},2,0.123457,1\n"


@pytest.mark.parametrize("left", ["checkpoint.pt", "checkpoint.previous.pt", "model.safetensors"])
def test_only_a_started_training_has_threads_to_keep(left: str, tmp_path: Path) -> None:
    folder = RunFolder.of(configuration(results_dir=str(tmp_path)))
    assert folder.threads_before() is None
    folder.write_config({"threads": 1})
    assert folder.threads_before() is None
    (folder.path / left).touch()
    assert folder.threads_before() == 1


@pytest.mark.parametrize("text", ["threads: null", "threads: 0", "threads: true", "threads: [1]", "threads: 10000000"])
def test_threads_that_cannot_be_count_as_none(text: str, tmp_path: Path) -> None:
    folder = RunFolder.of(configuration(results_dir=str(tmp_path)))
    folder.path.mkdir(parents=True)
    folder.checkpoint.touch()
    for content in (text, f"{text}: :", "{}", ""):
        folder.config.write_text(content)
        assert folder.threads_before() is None


def test_a_further_start_keeps_what_the_weights_are_of(tmp_path: Path) -> None:
    first = {"threads": 1, "note": "a", "ood": {"a": {"n": 1}, "b": {}}, "detector": {"msp": {}}, "image_detector": {}}
    then = {"threads": 2, "note": "b", "ood": {"a": {"n": 2}}, "detector": {"knn": {}}, "image_detector": {}}
    folder = RunFolder.of(configuration(results_dir=str(tmp_path)))
    folder.write_config(first)
    folder.write_config(then)
    assert read_config(folder.config) == then
    folder = trained(tmp_path / "trained")
    folder.write_config(first)
    folder.write_config(then | {"note": ""}, {"ood": {"b": {}}, "detector": {"msp": {}}})
    both = {"ood": {"a": {"n": 2}, "b": {}}, "detector": {"msp": {}, "knn": {}}}
    found = read_config(folder.config)
    assert found["threads"] == 1
    assert found["note"] == "a"
    assert {key: found[key] for key in both} == both
    folder.write_config(then, {"ood": {}, "detector": {}})  # of a start that has no numbers nothing stays
    assert read_config(folder.config)["ood"] == then["ood"]
    for garbage in ("no configuration", "ood: [1]"):
        folder.config.write_text(garbage)
        folder.write_config(then, {"ood": {}, "detector": {}})
        assert read_config(folder.config) == then


def test_a_trained_run_gives_its_weights_back(tmp_path: Path) -> None:
    folder = trained(tmp_path)
    weights = folder.usable_weights()
    assert weights is not None
    assert weights["counter"].shape == ()
    np.testing.assert_array_equal(weights["layer"], WEIGHTS["layer"])
    assert folder.read_training() == {
        "run": str(folder.run),
        "weights": folder.read_training()["weights"],
        "train_digest": "digest",
        "precision": "fp32",
    }


def test_outputs_survive_their_file_to_the_bit(tmp_path: Path) -> None:
    folder = trained(tmp_path)
    folder.write_outputs("test", OUTPUTS, "digest")
    stored = folder.read_outputs("test", "digest")
    assert stored is not None
    for ours, theirs in zip(OUTPUTS, stored, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def test_outputs_of_other_images_are_none(tmp_path: Path) -> None:
    folder = trained(tmp_path)
    assert folder.read_outputs("test", "digest") is None
    folder.write_outputs("test", OUTPUTS, "digest")
    assert folder.read_outputs("test", "another") is None
    assert folder.read_outputs("test") is not None


def test_damaged_files_are_made_again_with_a_warning(tmp_path: Path) -> None:
    folder = trained(tmp_path)
    folder.write_outputs("test", OUTPUTS, "digest")
    folder.write_scores("odin", "test", np.array([1.0]), settings="a")
    assert folder.usable_outputs("test", "digest") is not None
    assert folder.usable_scores("odin", "test", settings="a") is not None
    assert folder.usable_outputs("test", "other") is folder.usable_scores("odin", "test", settings="b") is None
    for file in (folder.outputs("test"), folder.scores("odin", "test")):
        file.write_bytes(b"")
    with pytest.warns(UserWarning, match=r"outputs are computed again: .*test\.safetensors is damaged"):
        assert folder.usable_outputs("test", "digest") is None
    with pytest.warns(UserWarning, match=r"scores are computed again: .*odin/test\.safetensors is damaged"):
        assert folder.usable_scores("odin", "test", settings="a") is None


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.999])
def test_truncated_outputs_are_named(tmp_path: Path, share: float) -> None:
    folder = trained(tmp_path)
    folder.write_outputs("test", OUTPUTS, "digest")
    whole = folder.outputs("test").read_bytes()
    folder.outputs("test").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"test\.safetensors is damaged"):
        folder.read_outputs("test", "digest")


def test_arrays_that_are_no_outputs_are_named(tmp_path: Path) -> None:
    folder = trained(tmp_path)
    save_arrays(folder.outputs("test"), WEIGHTS, run=str(folder.run), weights=folder.read_training()["weights"])
    with pytest.raises(ValueError, match="not the outputs of a network"):
        folder.read_outputs("test")


def test_scores_are_found_by_what_they_depend_on(tmp_path: Path) -> None:
    folder = trained(tmp_path)
    folder.write_scores("odin", "test", np.array([1.0, 2.0]), settings="a", digest="b")
    stored = folder.read_scores("odin", "test", settings="a", digest="b")
    assert stored is not None
    assert stored.tolist() == [1, 2]
    assert folder.read_scores("odin", "test", settings="other", digest="b") is None
    assert folder.read_scores("odin", "noise", settings="a", digest="b") is None
    assert folder.read_scores("gram", "test", settings="a", digest="b") is None


def test_outputs_of_other_weights_are_an_error(tmp_path: Path) -> None:
    folder = trained(tmp_path)
    everything(folder)
    folder.write_training({}, WEIGHTS | {"counter": np.array(4)}, "digest")
    for read in (lambda: folder.read_outputs("test"), lambda: folder.read_scores("odin", "test")):
        with pytest.raises(ForeignFileError, match=r"was computed with other weights than those of .*training\.json"):
            read()
    with pytest.warns(UserWarning, match="holds other weights than"):
        assert folder.usable_weights() is None


def test_other_training_images_are_an_error_that_says_both(tmp_path: Path) -> None:
    folder = trained(tmp_path)
    folder.check_train_digest("digest")
    with pytest.raises(DataChangedError, match=r"digest another, but .*training\.json .* digest digest; restore"):
        folder.check_train_digest("another")


@pytest.mark.parametrize("content", [None, b"", b"{}", b'{"run": "', b"\xff"])
def test_a_training_record_that_is_unusable_stops_no_start(tmp_path: Path, content: bytes | None) -> None:
    folder = trained(tmp_path)
    folder.training.unlink() if content is None else folder.training.write_bytes(content)
    folder.check_train_digest("another")
    with pytest.warns(UserWarning, match="weights are restored from the checkpoint: .*training"):
        assert folder.usable_weights() is None


def test_json_with_a_checksum_of_another_kind_is_refused(tmp_path: Path) -> None:
    folder = trained(tmp_path)
    write_json(folder.training, {"run": None})
    with pytest.raises(ForeignFileError, match="belongs to run None"):
        folder.read_training()
    assert read_json(folder.training) == {"run": None}


# ---- outputs that no network gives


def test_outputs_that_no_network_gives_are_refused(tmp_path: Path) -> None:
    folder = trained(tmp_path)
    unknown = OUTPUTS._replace(labels=OUTPUTS.labels - 1)
    folder.write_outputs("svhn", unknown, "digest")
    assert folder.read_outputs("svhn") is not None
    folder.write_outputs("test", unknown, "digest")
    with pytest.raises(ValueError, match=r"test\.safetensors holds no outputs of a network: labels other than"):
        folder.read_outputs("test")


# ---- train.csv


def test_a_history_is_read_as_it_was_written(tmp_path: Path) -> None:
    folder = trained(tmp_path)
    assert folder.read_history() is None
    folder.write_history([{"epoch": 1, "loss": 0.5}])
    assert folder.read_history() == folder.history.read_bytes()


def test_a_history_of_another_run_is_refused(tmp_path: Path) -> None:
    folder, other = trained(tmp_path), trained(tmp_path, seed=1)
    other.write_history([{"epoch": 1, "loss": 0.5}])
    shutil.copyfile(other.history, folder.history)
    with pytest.raises(ForeignFileError, match=f"belongs to run {other.run}, this folder to {folder.run}"):
        folder.read_history()


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_a_history_that_is_no_file_is_refused(tmp_path: Path, make: Callable[[Path], None]) -> None:
    folder = trained(tmp_path)
    make(folder.history)
    with pytest.raises(ValueError, match=r"train\.csv is no regular file"):
        folder.read_history()


def test_a_history_without_end_is_refused(tmp_path: Path) -> None:
    folder = trained(tmp_path)
    folder.history.write_bytes(b"x" * 2_000_001)
    with pytest.raises(ValueError, match="has more than 2000000 bytes"):
        folder.read_history()


def test_an_overlap_that_was_allowed_once_stays_on_record(tmp_path: Path) -> None:
    """Its numbers stay, too, whatever a later start is asked"""
    folder = trained(tmp_path)
    folder.write_config(configuration(f"results_dir={tmp_path}", "allow_overlap=true"))
    folder.write_config(configuration(f"results_dir={tmp_path}"))
    assert read_config(folder.config)["allow_overlap"] is True
