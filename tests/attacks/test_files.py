"""Files of a run that are another run's, damaged, or no files: never used, named, and made again."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.attacks import RUNS, Arena, assert_same, is_whole, left_behind
from helpers.attempts import Attempts
from helpers.config import configuration
from helpers.victim import score_again

from oodbench.runs.folder import open_run

DRAWN = int(os.environ.get("ATTACKS", "60"))
FILES = ("config.yaml", "train.csv", "checkpoint.pt", "checkpoint.previous.pt", "training.json", "model.safetensors")
FILES += ("outputs/train.safetensors", "outputs/test.safetensors", "outputs/noise.safetensors")
FILES += ("resamples", "metrics.json", "README.md")
MSP = configuration("detector=[msp]")["detector"]
LOCKS = ("lock.json", ".lock", "error.txt")  # that a finished run does not have
pytestmark = pytest.mark.slow


def flip(file: Path, chance: random.Random) -> None:
    data = bytearray(file.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    file.write_bytes(data)


def remove(file: Path) -> None:
    if file.is_dir():
        shutil.rmtree(file)
    file.unlink(missing_ok=True)


def fill(file: Path) -> None:
    file.mkdir()
    (file / "deep").mkdir()
    (file / "deep" / "file").write_text("of a user")


INSTEAD: dict[str, Callable[[Path], None]] = {
    "nothing": lambda file: None,
    "an empty file": lambda file: file.write_bytes(b""),
    "binary": lambda file: file.write_bytes(bytes(range(256)) * 40),
    "a directory": Path.mkdir,
    "a directory with files": fill,
    "a dangling link": lambda file: file.symlink_to(file.parent / "nothing here"),
    "a link to itself": lambda file: file.symlink_to(file),
    "a link to /dev/zero": lambda file: file.symlink_to("/dev/zero"),
    "a FIFO": os.mkfifo,
}


def place(arena: Arena, name: str, of: str = "own") -> Path:
    """Return a file of the run under attack, or that of another run."""
    folder = arena.folder if of == "own" else arena.runs / arena.folders[of]
    return next(folder.glob("resamples-*")) if name == "resamples" else folder / name


def check(arena: Arena, name: str) -> None:
    """Assert that every reader ends well, and the run's own command with the bits of a run that nobody touched.

    Of a finished run the record alone is read; so the command is given again without what was made from the file.
    """
    end = arena.read(alone=True)
    assert not end.problem, end.problem
    end = arena.lived(score_again, str(arena.folder), MSP, {}, alone=True)
    assert not end.problem, end.problem
    if end.code == 0:
        assert is_whole(arena.folder) or name == "resamples"  # of which the new numbers alone are made again
        assert open_run(arena.folder)[0].read_record()["ood"] == arena.expected["ood"]
    arena.check_ends_well()
    remove(arena.folder / "metrics.json")
    if name.startswith("checkpoint"):
        remove(arena.folder / "model.safetensors")
    but = ("rows",) if name == "train.csv" else ()  # a log, of which nothing is made
    arena.check_ends_as_untouched(but)
    end = arena.read()
    assert not end.problem, end.problem
    assert "== 1" not in end.text, end.text


@pytest.mark.parametrize("other", [name for name in RUNS if name != "own"])
def test_files_of_another_run_are_not_used(other: str, arena: Arena, attempt: Attempts) -> None:
    for name in FILES:
        with attempt("a file is swapped with that of another seed, loss or learning rate", f"{name} of {other}"):
            arena.results("own")
            shutil.copyfile(place(arena, name, other), place(arena, name))
            check(arena, name)


@pytest.mark.parametrize("what", INSTEAD)
def test_what_is_no_file_of_the_run_is_not_used(what: str, arena: Arena, attempt: Attempts) -> None:
    for name in (*FILES, *LOCKS):
        with attempt("a file is replaced by a directory, link, FIFO, or removed", f"{name} is {what}"):
            arena.results("own")
            file = place(arena, name)
            remove(file)
            INSTEAD[what](file)
            check(arena, name)


def test_what_is_cut_off_is_not_used(arena: Arena, attempt: Attempts) -> None:
    for name in FILES:
        for share in (0.5, 0.99):
            with attempt("a file is cut off", f"{name} to {share}"):
                arena.results("own")
                file = place(arena, name)
                os.truncate(file, int(file.stat().st_size * share))
                check(arena, name)


def test_flipped_bits_are_noticed(arena: Arena, attempt: Attempts) -> None:
    chance = random.Random(0)
    for number in range(DRAWN):
        name = FILES[number % len(FILES)]
        with attempt("a bit is flipped", f"{name}, {number}"):
            arena.results("own")
            flip(place(arena, name), chance)
            check(arena, name)


def test_an_unfinished_training_trusts_no_damaged_checkpoint(arena: Arena, attempt: Attempts) -> None:
    """The run has nothing but its checkpoints; each of them is attacked, and both."""
    for what, put in INSTEAD.items():
        for names in (("checkpoint.pt",), ("checkpoint.previous.pt",), ("checkpoint.pt", "checkpoint.previous.pt")):
            with attempt("checkpoints of a training amid its epochs are replaced", f"{names} by {what}"):
                arena.results("own")
                for path in arena.folder.iterdir():
                    if not path.name.startswith(("checkpoint", "config")):
                        remove(path)
                shutil.copyfile(place(arena, "checkpoint.previous.pt"), place(arena, "checkpoint.pt"))
                for name in names:
                    remove(place(arena, name))
                    put(place(arena, name))
                arena.check_ends_as_untouched()


def test_all_files_of_another_run_are_not_used(arena: Arena, attempt: Attempts) -> None:
    for other in RUNS:
        with attempt("a whole folder is copied over that of another run", other):
            arena.results("own")
            shutil.rmtree(arena.folder)
            shutil.copytree(arena.runs / arena.folders[other], arena.folder)
            end = arena.read()
            assert not end.problem, end.problem
            if other != "own":
                assert "not of this folder" in end.text or "belongs to" in end.text, end.text
            arena.check_ends_as_untouched()


def test_an_image_detectors_scores_of_another_run_are_not_used(arena: Arena, attempt: Attempts) -> None:
    odin = configuration("image_detector=[odin]")["image_detector"]
    results = arena.results("own", "seed")
    for name in ("own", "seed"):
        assert arena.lived(score_again, str(results / arena.folders[name]), {}, odin).code == 0
    expected = left_behind(arena.folder)
    scores = arena.folder / "outputs" / "odin" / "test.safetensors"
    others = [(results / arena.folders["seed"]).joinpath("outputs", "odin", "test.safetensors").read_bytes()]
    others += [scores.with_name("noise.safetensors").read_bytes(), scores.read_bytes()[:-1], b""]
    for number, content in enumerate(others):
        with attempt("stored scores of an image detector are swapped or cut off", str(number)):
            scores.write_bytes(content)
            assert arena.lived(score_again, str(arena.folder), {}, odin).code == 0
            assert_same(left_behind(arena.folder), expected)
