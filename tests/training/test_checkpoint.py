"""Checkpoints: what is written when, what is never used, and that the one before takes its place."""

import hashlib
import io
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.training import RECIPE, SOURCE, classifier, same, train
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oodbench.model import load_weights, weights_of
from oodbench.runs.training_files import DataChangedError
from oodbench.storage import load_arrays, save_arrays
from oodbench.training import checkpoint
from oodbench.training.checkpoint import (
    FORMAT,
    FileCheckpointer,
    Source,
    load_checkpoint,
    previous,
    read_checkpoint,
    save_checkpoint,
)
from oodbench.training.loop import TrainState


@pytest.fixture(scope="module")
def two_epochs() -> list[TrainState]:
    return train(classifier(), replace(RECIPE, epochs=2))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint.pt"


@pytest.fixture
def two_saved(path: Path, two_epochs: list[TrainState]) -> Path:
    """The file after two epochs; the one before lies beside it."""
    for state in two_epochs:
        save_checkpoint(path, state, SOURCE)
    return path


def same_state(a: TrainState | None, b: TrainState) -> bool:
    return a is not None and same(vars(a), vars(b))


def test_checkpoints_take_no_more_than_their_share_of_the_time(
    path: Path, two_epochs: list[TrainState], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, written, logged = [0.0], list[int](), list[float]()
    monkeypatch.setattr("oodbench.training.checkpoint.time.monotonic", lambda: clock[0])

    def slow(path: Path, state: TrainState, source: Source) -> None:
        clock[0] += 2.0
        written.append(len(state.history))

    monkeypatch.setattr(checkpoint, "save_checkpoint", slow)
    checkpointer = FileCheckpointer(path, SOURCE, 0.01, 500, lambda: 0, lambda row: logged.append(row["epoch"]))
    row = two_epochs[0].history[0]
    for epoch in range(1, 501):  # of ten seconds
        clock[0] += 10.0
        checkpointer.save(replace(two_epochs[0], history=[row | {"epoch": e + 1} for e in range(epoch)]))
    assert written == [*range(1, 500, 20), 500]  # the first, then every 200 s, and the last whatever it costs
    assert logged == list(range(1, 501))
    assert not checkpointer.due()
    clock[0] += 199.0
    assert not checkpointer.due()
    clock[0] += 1.0
    assert checkpointer.due()
    monkeypatch.setattr(checkpoint, "rank", lambda: 1)
    assert not checkpointer.due()  # another process writes, and this one need not look at its weights


def test_another_process_than_the_first_writes_nothing(
    path: Path, two_epochs: list[TrainState], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "rank", lambda: 1)
    FileCheckpointer(path, SOURCE, 1.0, 2, lambda: 15, pytest.fail).save(two_epochs[-1])
    assert not path.exists()


def test_a_signal_saves_whatever_it_costs(path: Path, two_epochs: list[TrainState]) -> None:
    signal: list[int] = []
    checkpointer = FileCheckpointer(path, SOURCE, 0.0, 500, lambda: sum(signal), lambda row: None)
    assert not checkpointer.due()  # not a minute has gone by
    checkpointer.save(two_epochs[0])
    path.unlink()
    checkpointer.save(two_epochs[0])
    assert not path.exists()
    signal.append(15)
    assert checkpointer.receive_stop()
    checkpointer.save(two_epochs[0])
    assert path.exists()


def test_a_checkpoint_keeps_source_and_state(path: Path, two_epochs: list[TrainState]) -> None:
    save_checkpoint(path, two_epochs[0], SOURCE)
    source, state = read_checkpoint(path)
    assert source == SOURCE
    assert same_state(state, two_epochs[0])


def test_no_checkpoint_is_no_state(path: Path) -> None:
    assert load_checkpoint(path, SOURCE)[0] is None


def test_the_checkpoint_before_the_last_is_kept(two_saved: Path, two_epochs: list[TrainState]) -> None:
    assert same_state(load_checkpoint(two_saved, SOURCE)[0], two_epochs[1])
    two_saved.unlink()  # as a kill between two renames leaves it
    assert same_state(load_checkpoint(two_saved, SOURCE)[0], two_epochs[0])
    assert sorted(file.name for file in two_saved.parent.iterdir()) == ["checkpoint.previous.pt"]


def test_a_damaged_checkpoint_does_not_replace_a_good_one(two_saved: Path, two_epochs: list[TrainState]) -> None:
    two_saved.write_bytes(two_saved.read_bytes()[:-1])
    save_checkpoint(two_saved, two_epochs[1], SOURCE)
    two_saved.unlink()
    assert same_state(load_checkpoint(two_saved, SOURCE)[0], two_epochs[0])


def test_a_training_does_not_go_on_with_other_code(path: Path, two_epochs: list[TrainState]) -> None:
    here = SOURCE._replace(code={"loss": "a", "backbone": "b"})
    save_checkpoint(path, two_epochs[0], here)
    assert same_state(load_checkpoint(path, here)[0], two_epochs[0])
    with pytest.raises(ValueError, match=r"the code of the loss is not that with which .*checkpoint\.pt was trained"):
        load_checkpoint(path, here._replace(code={"loss": "c", "backbone": "b"}))
    save_checkpoint(path, two_epochs[0], SOURCE)  # as earlier versions did, without digests of code
    state, source = load_checkpoint(path, here)
    assert same_state(state, two_epochs[0])
    assert source.code == here.code  # which the next checkpoint then has


@pytest.mark.parametrize("run", ["def/seed0", "abc/seed1"])
def test_a_checkpoint_of_another_run_is_not_used(run: str, path: Path, two_epochs: list[TrainState]) -> None:
    source = SOURCE._replace(run=run)
    save_checkpoint(path, two_epochs[0], SOURCE)
    with pytest.warns(UserWarning, match=rf"checkpoint\.pt is of run abc/seed0, not of {run}"):
        assert load_checkpoint(path, source) == (None, source)


def test_a_checkpoint_says_its_precision(two_saved: Path, two_epochs: list[TrainState]) -> None:
    state, source = load_checkpoint(two_saved, SOURCE._replace(precision="bf16"))
    assert same_state(state, two_epochs[1])
    assert source == SOURCE


def test_other_training_images_are_an_error_with_both_digests(two_saved: Path) -> None:
    other = SOURCE._replace(train_digest="ba9876543210")
    with pytest.raises(DataChangedError, match=r"ba9876543210, but .*checkpoint\.pt .*0123456789ab"):
        load_checkpoint(two_saved, other)


def damaged(whole: bytes) -> Iterator[bytes]:
    """Yield the content cut off anywhere, and with a bit flipped anywhere."""
    random = np.random.default_rng(0)
    yield from (whole[: int(share * len(whole))] for share in (0, 0.001, 0.01, 0.5, 0.999))
    for at in [0, 30, 60, *random.integers(len(whole), size=50)]:
        yield whole[:at] + bytes([whole[at] ^ 1 << int(random.integers(8))]) + whole[at + 1 :]


def test_no_damage_to_a_checkpoint_goes_unseen(two_saved: Path, two_epochs: list[TrainState]) -> None:
    for content in damaged(two_saved.read_bytes()):
        two_saved.write_bytes(content)
        with pytest.warns(UserWarning, match=r"checkpoint not used: .*checkpoint\.pt is (cut off|not of this)"):
            assert same_state(load_checkpoint(two_saved, SOURCE)[0], two_epochs[0])


@pytest.mark.parametrize("content", [{"weights": 1}, [1, 2], torch.zeros(3)], ids=["dict", "list", "tensor"])
def test_a_file_of_another_format_is_not_used(path: Path, content: Any) -> None:
    torch.save(content, path)
    with pytest.warns(UserWarning, match=r"checkpoint\.pt is not of this version's format"):
        assert load_checkpoint(path, SOURCE)[0] is None


def test_a_folder_in_the_checkpoints_place_is_not_used(two_saved: Path, two_epochs: list[TrainState]) -> None:
    two_saved.unlink()
    two_saved.mkdir()
    with pytest.warns(UserWarning, match=r"checkpoint not used: .*checkpoint\.pt is no regular file"):
        assert same_state(load_checkpoint(two_saved, SOURCE)[0], two_epochs[0])


def saved_by_torch(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


FOREIGN = {
    "pickle": pickle.dumps({"a": [1, 2]}, protocol=2),
    "code": pickle.dumps(print, protocol=2),
    "no pickle": b"no pickle at all",
    "nothing": b"",
    "list": saved_by_torch([1, 2]),
    "other keys": saved_by_torch({"weights": torch.zeros(3)}),
    "no source": saved_by_torch({"source": None, "state": {}}),
    "another state": saved_by_torch({"source": SOURCE._asdict(), "state": {"epoch": 3}}),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_content_with_a_valid_checksum_is_not_used(
    kind: str, two_saved: Path, two_epochs: list[TrainState]
) -> None:
    content = FOREIGN[kind]
    two_saved.write_bytes(FORMAT + hashlib.sha256(content).digest() + content)
    with pytest.raises(ValueError, match=r"checkpoint\.pt is no checkpoint"):
        read_checkpoint(two_saved)
    with pytest.warns(UserWarning, match=r"checkpoint not used: .*checkpoint\.pt is no checkpoint"):
        assert same_state(load_checkpoint(two_saved, SOURCE)[0], two_epochs[0])


WHOLE = {"source": SOURCE._asdict(), "state": {"model": {}, "optimizer": {}, "history": [], "step": 0, "means": {}}}
STARTS = [b"", b"\x80", b"PK\x03\x04", saved_by_torch(WHOLE), *(pickle.dumps(WHOLE, protocol=n) for n in range(6))]
changes = st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 255)), max_size=6)


@given(st.sampled_from(STARTS), changes, st.binary(max_size=40))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.filterwarnings("ignore::UserWarning:torch")  # of unpickling other protocols
def test_any_content_is_a_checkpoint_or_an_error_with_its_name(
    path: Path, start: bytes, changes: list[tuple[int, int]], end: bytes
) -> None:
    content = bytearray(start + end)
    for at, byte in changes:
        if content:
            content[at % len(content)] = byte
    path.write_bytes(FORMAT + hashlib.sha256(content).digest() + content)
    expected = said = f"{path} is no checkpoint: "
    try:
        read_checkpoint(path)
    except ValueError as error:
        said = str(error)
    assert said.startswith(expected)


def test_reading_a_checkpoint_runs_no_code(path: Path, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    for content in (pickle.dumps(Evil(), protocol=2), saved_by_torch({"source": Evil(), "state": {}})):
        path.write_bytes(FORMAT + hashlib.sha256(content).digest() + content)
        with pytest.raises(ValueError, match="is no checkpoint"):
            read_checkpoint(path)
    assert not (tmp_path / "ran").exists()


def test_both_checkpoints_unusable_is_a_start_from_scratch(two_saved: Path) -> None:
    for file in (two_saved, previous(two_saved)):
        file.write_bytes(b"garbage")
    with pytest.warns(UserWarning, match="checkpoint not used") as warned:
        assert load_checkpoint(two_saved, SOURCE)[0] is None
    assert len(warned) == 2


def test_trained_weights_survive_their_file(tmp_path: Path) -> None:
    model, file = classifier("loss=halo"), tmp_path / "model.safetensors"
    train(model)
    save_arrays(file, weights_of(model))
    other = classifier("loss=halo", seed=1)
    load_weights(other, load_arrays(file)[0])
    assert same(other.state_dict(), model.state_dict())


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.999])
def test_truncated_weights_are_named(share: float, tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_arrays(file, weights_of(classifier()))
    whole = file.read_bytes()
    file.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        load_arrays(file)
