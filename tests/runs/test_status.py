"""The state of runs: a line each, whatever their folders hold."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest
from helpers.cli import script
from helpers.made_up import add_run

from oodbench.runs.folder import open_run
from oodbench.runs.lock import owner, run_lock
from oodbench.runs.status import state_of, states, summary, table
from oodbench.tables.load import load_runs

PLACE = "runs/digits/resnet18/{}/short-abc/seed0"


def run_in(results: Path, loss: str = "ce") -> Path:
    """Return the folder of a run that somebody started."""
    folder = results / PLACE.format(loss)
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("recipe: {epochs: 4}\n")
    return folder


def test_the_status_of_every_run_is_seen(tmp_path: Path) -> None:
    a, b, c, d = (run_in(tmp_path, loss) for loss in "abcd")
    (a / "metrics.json").write_text("{}")
    (a / "train.csv").write_text("run,epoch\nx,1\nx,2\nx,3\nx,4\n")
    (b / "error.txt").write_text("FloatingPointError: the loss is nan\n\nTraceback\n  see https://x\n")
    (c / "train.csv").write_text("run,epoch\nx,1\n")
    with run_lock(d):
        rows = states(tmp_path)
    assert [(row.state, row.epochs_done, row.epochs) for row in rows] == [
        ("done", 4, 4),
        ("failed", 0, 4),
        ("stopped", 1, 4),
        ("running", 0, 4),
    ]
    assert rows[1].note == "FloatingPointError: the loss is nan"
    assert table(rows).endswith("1 done, 1 running, 1 failed, 1 stopped")
    assert rows[3].note.startswith("for 0 s, process ")


def test_a_run_that_was_never_started_is_missing(tmp_path: Path) -> None:
    row = state_of(tmp_path / PLACE.format("ce"), tmp_path, done=False)
    assert (row.state, row.epochs_done, row.note) == ("missing", 0, "the same command starts it")
    assert table([row]).endswith("0 done, 0 running, 0 failed, 0 stopped, 1 missing")
    assert list(tmp_path.iterdir()) == []


def test_a_running_run_tells_since_when(tmp_path: Path) -> None:
    folder = tmp_path / PLACE.format("ce")
    before = time.time()
    with run_lock(folder):
        who = owner(folder)
        assert who is not None
        assert before <= who.since <= time.time()
        (folder / "lock.json").write_text(json.dumps(who._replace(since=who.since - 600)._asdict()))
        row = state_of(folder, tmp_path, done=False)
    assert (row.state, row.note) == ("running", f"for 10 min, process {who.pid} on {who.host}")


def test_states_are_counted_in_one_order() -> None:
    assert summary(["failed", "done", "done"]) == "2 done, 0 running, 1 failed, 0 stopped"


BROKEN = [b"recipe: [", b"\xff", b"- 1", b"recipe: 3", b"", b"recipe: {epochs: abc}", b"recipe: {}", b"a: &a 1\nb: *a"]
BROKEN += [b"recipe: {epochs: true}", b"recipe: {epochs: '${x}'}", b"recipe: {epochs: 1.5}"]


@pytest.mark.parametrize("content", BROKEN)
def test_an_unreadable_configuration_is_one_line_that_says_why(tmp_path: Path, content: bytes) -> None:
    (run_in(tmp_path, "a") / "config.yaml").write_bytes(content)
    run_in(tmp_path, "b")
    (tmp_path / PLACE.format("a") / "metrics.json").touch()
    first, second = states(tmp_path)
    assert (first.state, first.epochs) == ("done", None)
    assert "config.yaml" in first.note
    assert "\n" not in first.note
    assert (second.state, second.epochs) == ("stopped", 4)
    assert len(table([first, second]).splitlines()) == 5


def test_numbers_without_a_configuration_are_in_no_table(tmp_path: Path) -> None:
    (run_in(tmp_path) / "metrics.json").touch()
    (tmp_path / PLACE.format("ce") / "config.yaml").unlink()
    (state,) = states(tmp_path)
    assert (state.state, state.note) == ("done", "config.yaml is missing, so that no table has it")


def test_a_run_of_unknown_length_is_no_broken_one(tmp_path: Path) -> None:
    folder = run_in(tmp_path)
    (folder / "config.yaml").write_text("recipe: {epochs: null}")
    (folder / "metrics.json").touch()
    (row,) = states(tmp_path)
    assert (row.epochs, row.note) == (None, "")
    assert "0/?" in table([row])


@pytest.mark.parametrize(
    ("content", "note"),
    [(b"\xff\n", "\ufffd"), (b"", "error.txt is empty"), (b"\n \n", "error.txt is empty"), (b"x" * 999, "x" * 300)],
)
def test_an_error_of_any_bytes_is_one_line(tmp_path: Path, content: bytes, note: str) -> None:
    (run_in(tmp_path) / "error.txt").write_bytes(content)
    assert [(row.state, row.note) for row in states(tmp_path)] == [("failed", note)]


FILES = ["config.yaml", "train.csv", "lock.json", ".lock", "error.txt", "metrics.json", "checkpoint.pt", "outputs"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("what", ["folder", "link to nothing", "link to itself", "fifo"])
def test_no_file_of_a_run_hides_the_others(tmp_path: Path, name: str, what: str) -> None:
    file = run_in(tmp_path, "a") / name
    run_in(tmp_path, "b")
    file.unlink(missing_ok=True)
    if what == "folder":
        file.mkdir()
    elif what == "fifo":
        os.mkfifo(file)
    else:
        file.symlink_to("/nowhere" if what == "link to nothing" else file)
    rows = states(tmp_path)
    assert [row.run for row in rows] == [f"digits/resnet18/{loss}/short-abc/seed0" for loss in "ab"]
    assert rows[0].state in ("failed", "stopped")
    assert rows[1].state == "stopped"


@pytest.mark.parametrize("content", [b"", b"\x80", b"run,epoch\n\x80,1\n", b"\x00" * 100])
def test_a_history_of_any_bytes_is_counted(tmp_path: Path, content: bytes) -> None:
    (run_in(tmp_path) / "train.csv").write_bytes(content)
    assert states(tmp_path)[0].epochs_done == max(0, len(content.splitlines()) - 1)


GARBAGE = [b"[]", b"5", b"{}", b"null", b"\x80\xff", b"", b"{", b'"x"', b"[" * 100_000]


@pytest.mark.parametrize("content", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_in_a_lock_is_no_owner(tmp_path: Path, content: bytes) -> None:
    (run_in(tmp_path) / "lock.json").write_bytes(content)
    assert [row.state for row in states(tmp_path)] == ["stopped"]


def test_a_file_that_vanishes_meanwhile_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = run_in(tmp_path)
    (folder / "checkpoint.pt").touch()
    stat = Path.stat

    def vanishing(path: Path, **options: bool) -> object:
        if path.name == "checkpoint.pt":
            raise FileNotFoundError(path)
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", vanishing)
    assert [row.state for row in states(tmp_path)] == ["stopped"]


def test_a_folder_that_was_copied_over_another_is_foreign(tmp_path: Path) -> None:
    first, second = add_run(tmp_path), add_run(tmp_path, seed=1)
    assert [row.state for row in states(tmp_path)] == ["done", "done"]
    shutil.rmtree(second)
    shutil.copytree(first, second)
    rows = states(tmp_path)
    assert [row.state for row in rows] == ["done", "foreign"]
    assert rows[1].note == f"config.yaml is of {first.relative_to(tmp_path / 'runs')}; no table has it"
    assert table(rows).endswith("1 done, 0 running, 0 failed, 0 stopped, 1 foreign")
    assert len(load_runs(tmp_path).runs) == 1


def test_numbers_of_another_run_are_foreign(tmp_path: Path) -> None:
    first, second = add_run(tmp_path), add_run(tmp_path, seed=1)
    shutil.copyfile(first / "metrics.json", second / "metrics.json")
    first_row, second_row = states(tmp_path)
    assert (first_row.state, second_row.state) == ("done", "foreign")
    assert second_row.note.startswith(f"metrics.json is of run {open_run(first)[0].run}, this folder of ")


def test_the_script_prints_a_line_a_run(tmp_path: Path) -> None:
    assert "no run below" in script("scripts/status.py", "--results-dir", tmp_path)
    run_in(tmp_path, "a")
    (run_in(tmp_path, "b") / "config.yaml").write_bytes(b"\xff")
    printed = script("scripts/status.py", "--results-dir", tmp_path)
    assert len(printed.splitlines()) == 5
    assert printed.endswith("2 stopped\n")


def test_a_watch_ends_when_all_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, slept = run_in(tmp_path), list[float]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            (folder / "metrics.json").touch()

    monkeypatch.setattr(time, "sleep", sleep)
    printed = script("scripts/status.py", f"results_dir={tmp_path}", "--watch", "3")
    assert slept == [3.0, 3.0]
    assert [line for line in printed.splitlines() if " done, " in line] == [
        "0 done, 0 running, 0 failed, 1 stopped",
        "0 done, 0 running, 0 failed, 1 stopped",
        "1 done, 0 running, 0 failed, 0 stopped",
    ]
    assert "\033" not in printed
