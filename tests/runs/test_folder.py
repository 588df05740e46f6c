"""A run's folder: nothing in it is ever half written, and every file is used for its own run and weights alone."""

import os
import re
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from helpers.config import configuration
from helpers.run_files import RECORD, RESAMPLES, WEIGHTS, everything, left, trained

from oodbench.runs.folder import RunFolder, open_run
from oodbench.runs.training_files import ForeignFileError
from oodbench.storage import UnwritableError, load_arrays


def test_looking_for_a_folder_does_not_make_it(tmp_path: Path) -> None:
    folder = RunFolder.of(configuration(results_dir=str(tmp_path)))
    assert folder.path == tmp_path / "runs" / folder.run.place
    assert list(tmp_path.iterdir()) == []


def test_the_written_configuration_is_the_resolved_one(tmp_path: Path) -> None:
    config = configuration(results_dir=str(tmp_path))
    folder = RunFolder.of(config)
    folder.write_config(config)
    assert yaml.safe_load(folder.config.read_text()) == config
    assert "${" not in folder.config.read_text()
    opened, read = open_run(folder.path)
    assert (opened.path, opened.run, read) == (folder.path, folder.run, config)


# ---- files of another run


READERS: dict[str, Callable[[RunFolder], Any]] = {
    "training.json": lambda folder: folder.read_training(),
    "outputs/test.safetensors": lambda folder: folder.read_outputs("test"),
    "outputs/odin/test.safetensors": lambda folder: folder.read_scores("odin", "test"),
}
WARNED: dict[str, Callable[[RunFolder], Any]] = {
    "model.safetensors": lambda folder: folder.usable_weights(),
    "training.json": lambda folder: folder.usable_weights(),
    "metrics.json": lambda folder: folder.usable_record(),
}
OTHERS = [{"seed": 4}, {"recipe__optimizer__lr": 0.5}, {"name__loss": "mine"}]


@pytest.fixture(params=OTHERS, ids=lambda values: next(iter(values)))
def swapped(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[RunFolder, Path]:
    """A run, and the folder of another one with files of the same names."""
    mine, theirs = trained(tmp_path), trained(tmp_path, **request.param)
    everything(mine)
    everything(theirs)
    return mine, theirs.path


@pytest.mark.parametrize("name", READERS)
def test_a_file_of_another_run_is_an_error(swapped: tuple[RunFolder, Path], name: str) -> None:
    folder, other = swapped
    assert READERS[name](folder) is not None
    shutil.copy(other / name, folder.path / name)
    with pytest.raises(ForeignFileError, match=rf"{folder.path / name} belongs to run .*, this folder to {folder.run}"):
        READERS[name](folder)


@pytest.mark.parametrize("name", WARNED)
def test_a_file_of_another_run_counts_as_none(swapped: tuple[RunFolder, Path], name: str) -> None:
    folder, other = swapped
    shutil.copy(other / name, folder.path / name)
    with pytest.warns(UserWarning, match=f"{name} belongs to run .*, this folder to {folder.run}"):
        assert WARNED[name](folder) is None


def test_a_record_of_other_weights_counts_as_none(tmp_path: Path) -> None:
    """The same run elsewhere, trained on other images: hash and seed agree, the weights do not."""
    mine, theirs = trained(tmp_path / "mine"), RunFolder.of(configuration(results_dir=str(tmp_path / "theirs")))
    theirs.write_training(
        {"precision": "fp32"}, {name: array + 1 for name, array in WEIGHTS.items()}, "digest of other images"
    )
    mine.write_record(RECORD, RESAMPLES)
    theirs.write_record(RECORD, RESAMPLES)
    assert mine.run == theirs.run
    shutil.copy(theirs.metrics, mine.metrics)
    with pytest.raises(ForeignFileError, match=f"{mine.metrics} is of other weights than {mine.training}"):
        mine.read_record()
    with pytest.warns(UserWarning, match="numbers are computed again: .* is of other weights than"):
        assert mine.usable_record() is None


def test_resamples_of_another_run_are_not_used(swapped: tuple[RunFolder, Path]) -> None:
    folder, other = swapped
    record = folder.usable_record()
    assert record is not None
    (theirs,) = other.glob("resamples-*")
    shutil.copy(theirs, folder.path / record["resamples"]["file"])
    with pytest.warns(UserWarning, match="resamples not used: .* belongs to run"):
        assert folder.usable_resamples(record) == {}


def test_a_copied_folder_is_no_run_of_its_own(tmp_path: Path) -> None:
    folder = trained(tmp_path)
    everything(folder)
    folder.write_config(configuration(results_dir=str(tmp_path)))
    copy = folder.path.with_name("seed4")
    shutil.copytree(folder.path, copy)
    with pytest.raises(ValueError, match=r"is the configuration of .*/seed0, not of this folder"):
        open_run(copy)
    other = RunFolder.of(configuration(seed=4, results_dir=str(tmp_path)))
    assert other.path == copy
    with pytest.warns(UserWarning, match="belongs to run"):
        assert (other.usable_record(), other.usable_weights()) == (None, None)


# ---- the record and its resamples


def test_a_record_names_run_weights_and_resamples(tmp_path: Path) -> None:
    folder = trained(tmp_path)
    folder.write_record(RECORD, RESAMPLES)
    record = folder.usable_record()
    assert record is not None
    assert (record["run"], record["config_hash"], record["seed"]) == (str(folder.run), folder.run.hash, 0)
    assert record["weights"] == folder.read_training()["weights"]
    (file,) = folder.path.glob("resamples-*.safetensors")
    assert record["resamples"] == {"file": file.name, "numbers": load_arrays(file)[1]["numbers"]}
    assert folder.usable_resamples(record)["accuracy"].tolist() == [0.4, 0.6]


@pytest.mark.parametrize("writer", ["save_arrays", "write_json"])
def test_a_death_between_record_and_resamples_loses_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: str
) -> None:
    """Before or after the first of the two files is written, the old pair stands."""
    folder = trained(tmp_path)
    folder.write_record(RECORD, RESAMPLES)

    def die(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"oodbench.runs.folder.{writer}", die)
        with pytest.raises(KeyboardInterrupt):
            folder.write_record(RECORD | {"accuracy": 0.75}, {"accuracy": np.array([0.7, 0.8])})
    record = folder.usable_record()
    assert record is not None
    assert record["accuracy"] == 0.5
    assert folder.usable_resamples(record)["accuracy"].tolist() == [0.4, 0.6]
    folder.remove_superseded(folder.write_record(RECORD | {"accuracy": 0.75}, {"accuracy": np.array([0.7, 0.8])}))
    assert len(list(folder.path.glob("resamples-*"))) == 1


def test_a_death_before_old_resamples_go_leaves_the_new_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = trained(tmp_path)
    folder.write_record(RECORD, RESAMPLES)

    def die(path: Path, missing_ok: bool = False) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", die)
        written = folder.write_record(RECORD | {"accuracy": 0.75}, {"accuracy": np.array([0.7, 0.8])})
        with pytest.raises(KeyboardInterrupt):
            folder.remove_superseded(written)
    record = folder.usable_record()
    assert record is not None
    assert folder.usable_resamples(record)["accuracy"].tolist() == [0.7, 0.8]


def test_resamples_of_other_numbers_are_not_used(tmp_path: Path) -> None:
    folder = trained(tmp_path)
    folder.write_record(RECORD, RESAMPLES)
    before = folder.usable_record()
    (file,) = folder.path.glob("resamples-*")
    kept = file.read_bytes()
    folder.remove_superseded(folder.write_record(RECORD | {"accuracy": 0.75}, RESAMPLES))
    record = folder.usable_record()
    assert record is not None
    assert before is not None
    (folder.path / record["resamples"]["file"]).write_bytes(kept)
    with pytest.warns(UserWarning, match="holds the resamples of other numbers"):
        assert folder.usable_resamples(record) == {}
    assert folder.usable_resamples(before) == {}  # whose file is gone


@pytest.mark.parametrize("content", [b"", b"x" * 200])
def test_damaged_resamples_are_not_used(tmp_path: Path, content: bytes) -> None:
    folder = trained(tmp_path)
    folder.write_record(RECORD, RESAMPLES)
    record = folder.usable_record()
    assert record is not None
    (folder.path / record["resamples"]["file"]).write_bytes(content)
    with pytest.warns(UserWarning, match="resamples not used"):
        assert folder.usable_resamples(record) == {}


DAMAGED = [b"", b'{"accuracy": 0.5, "oo', b"\xff\xfe\x00", b"{}", b"[]", b"null", b'{"ood": {}}', b"[" * 100_000]


@pytest.mark.parametrize("content", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_record_is_named_and_written_again(tmp_path: Path, content: bytes) -> None:
    folder = trained(tmp_path)
    folder.metrics.write_bytes(content)
    with pytest.warns(UserWarning, match=r"numbers are computed again: .*metrics\.json.*repeat"):
        assert folder.usable_record() is None
    assert folder.metrics.read_bytes() == content
    folder.write_record(RECORD, RESAMPLES)
    record = folder.usable_record()
    assert record is not None
    assert record["accuracy"] == 0.5


def test_a_record_that_was_edited_is_not_used(tmp_path: Path) -> None:
    folder = trained(tmp_path)
    folder.write_record(RECORD, RESAMPLES)
    folder.metrics.write_text(folder.metrics.read_text().replace("0.5", "0.9"))
    with pytest.warns(UserWarning, match="was altered, its sha256 does not agree"):
        assert folder.usable_record() is None


def test_what_is_not_there_is_none(tmp_path: Path) -> None:
    folder = RunFolder.of(configuration(results_dir=str(tmp_path)))
    assert (folder.usable_record(), folder.usable_weights(), folder.read_outputs("test")) == (None, None, None)
    assert folder.usable_resamples({}) == {}


# ---- removing


def test_numbers_of_other_weights_go_and_the_training_stays(tmp_path: Path) -> None:
    folder = trained(tmp_path)
    everything(folder)
    folder.remove_numbers()
    assert left(folder.path) == {"training.json", "model.safetensors"}
    folder.remove_numbers()


def test_halves_of_files_go_and_the_locks_stay(tmp_path: Path) -> None:
    folder = trained(tmp_path)
    for name in (".checkpoint.pt.x8a", ".lock", "lock.json"):
        (folder.path / name).touch()
    (folder.path / ".mine").mkdir()
    folder.remove_stale()
    assert left(folder.path) == {".lock", "lock.json", "training.json", "model.safetensors"}
    folder.remove_all()
    assert left(folder.path) == {".lock", "lock.json"}


def test_removing_a_run_removes_that_run_only(tmp_path: Path) -> None:
    folder = RunFolder.of(configuration(results_dir=str(tmp_path)))
    folder.remove_all()  # where nothing is, nothing happens
    neighbour = trained(tmp_path, seed=1)
    everything(trained(tmp_path))
    everything(neighbour)
    (tmp_path / "mine").mkdir()
    (folder.path / "link").symlink_to(tmp_path / "mine")
    folder.remove_all()
    assert list(folder.path.iterdir()) == []
    assert (tmp_path / "mine").exists()
    assert neighbour.usable_record() is not None


def test_a_folder_in_the_place_of_a_file_is_named_in_one_line(tmp_path: Path) -> None:
    folder = trained(tmp_path)
    for file in (folder.metrics, folder.error):
        file.mkdir()
    says = r"^cannot write [^\n]*/{}: Is a directory; [^\n]*$"
    with pytest.warns(UserWarning, match=r"metrics\.json is damaged"):
        assert folder.usable_record() is None
    with pytest.raises(UnwritableError, match=says.format(r"metrics\.json")):
        folder.write_record(RECORD, RESAMPLES)
    with pytest.raises(UnwritableError, match=says.format(r"metrics\.json")):
        folder.remove_numbers()
    with pytest.raises(UnwritableError, match=says.format(r"error\.txt")), folder.recording_errors():
        pytest.fail("began")
    folder.remove_all()  # force=true
    assert left(folder.path) == set()


PLACES = ["config.yaml", "train.csv", "checkpoint.pt", "checkpoint.previous.pt", "training.json", "metrics.json"]
PLACES += ["model.safetensors", "resamples-1.safetensors", "outputs/a.safetensors", "outputs/odin/a.safetensors"]


@pytest.mark.parametrize("name", PLACES)
def test_a_folder_in_the_place_of_any_file_is_named(tmp_path: Path, name: str) -> None:
    folder = trained(tmp_path)
    folder.check_places()
    (folder.path / name).unlink(missing_ok=True)
    (folder.path / name).mkdir(parents=True)
    with pytest.raises(UnwritableError, match=f"cannot write {re.escape(str(folder.path / name))}: Is a directory"):
        folder.check_places()


def test_a_folder_in_the_place_of_the_weights_counts_as_none(tmp_path: Path) -> None:
    folder = trained(tmp_path)
    folder.weights.unlink()
    folder.weights.mkdir()
    with pytest.warns(UserWarning, match=r"model\.safetensors is damaged"):
        assert folder.usable_weights() is None
    with pytest.raises(UnwritableError, match=r"model\.safetensors: Is a directory"):
        folder.write_weights(WEIGHTS)


# ---- errors


def test_an_error_leaves_one_sentence_and_its_traceback(tmp_path: Path) -> None:
    folder = trained(tmp_path)

    def fail() -> None:
        raise FloatingPointError("the loss is nan;\n  see ood.svhn\n")

    with pytest.raises(FloatingPointError), folder.recording_errors():
        fail()
    first, blank, *rest = folder.error.read_text().splitlines()
    assert (first, blank) == ("FloatingPointError: the loss is nan; see ood.svhn", "")
    assert rest[0].startswith("Traceback")
    assert any("in fail" in line for line in rest)


def test_the_next_start_takes_the_error_away(tmp_path: Path) -> None:
    folder = trained(tmp_path)
    folder.error.write_text("old")
    with folder.recording_errors():
        assert not folder.error.exists()


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_a_stop_is_no_error(tmp_path: Path, stop: type[BaseException]) -> None:
    folder = trained(tmp_path)
    with pytest.raises(stop), folder.recording_errors():
        raise stop
    assert not folder.error.exists()


def test_an_error_that_cannot_be_written_is_raised_itself(tmp_path: Path) -> None:
    folder = trained(tmp_path)

    def fail() -> None:
        folder.error.mkdir()
        raise FloatingPointError("the loss is nan")

    with pytest.raises(FloatingPointError), folder.recording_errors():
        fail()


# ---- a run that somebody else wrote


SPOILT: dict[str, Callable[[dict[str, Any]], Any]] = {
    "names": lambda c: c | {"name": c["name"] | {"dataset": "../../x"}},
    "formula": lambda c: c | {"name": c["name"] | {"loss": "=cmd()"}},
    "slash": lambda c: c | {"name": c["name"] | {"loss": "a/b"}},
    "no names": lambda c: c | {"name": 3},
    "no seed": lambda c: {key: value for key, value in c.items() if key != "seed"},
    "other seed": lambda c: c | {"seed": 1},
    "big seed": lambda c: c | {"seed": 10**30},
    "other loss": lambda c: c | {"loss": {"_target_": "os.system", "command": "true"}},
    "other data": lambda c: c | {"dataset": []},
    "date": lambda c: c | {"loss": {"when": date(2000, 1, 1)}},
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_configuration_of_another_folder_is_refused(tmp_path: Path, name: str) -> None:
    config = configuration(results_dir=str(tmp_path))
    folder = RunFolder.of(config)
    folder.write_config(SPOILT[name](config))
    with pytest.raises(ValueError, match=r"config\.yaml|name\.(dataset|loss)=|seed="):
        open_run(folder.path)


def test_a_configuration_outside_a_results_folder_is_refused(tmp_path: Path) -> None:
    """The folder may lie so high that it has no results folder above it."""
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(configuration()))
    with pytest.raises(ValueError, match=r"config\.yaml is"):
        open_run(tmp_path)


def test_a_results_folder_may_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configuration(results_dir="elsewhere")
    folder = trained(tmp_path / "here")
    folder.write_config(config)
    assert open_run(folder.path)[0].results_dir == tmp_path / "here"
    monkeypatch.chdir(folder.path)
    assert open_run(Path())[0].path == folder.path
    (tmp_path / "link").symlink_to(tmp_path / "here")
    assert open_run(tmp_path / "link" / "runs" / folder.run.place)[0].run == folder.run
    assert open_run(Path("..", folder.path.name))[0].path == folder.path


def test_a_file_that_is_written_is_read_by_everybody(tmp_path: Path) -> None:
    folder = trained(tmp_path)
    everything(folder)
    assert {oct((folder.path / name).stat().st_mode & 0o777) for name in left(folder.path)} == {"0o644"}
    assert os.access(folder.metrics, os.R_OK)
