"""Lines about a training: epochs, what it continues from, how long the rest takes."""

import re

import pytest
from helpers.training import classifier, train

from oodbench.training import progress
from oodbench.training.progress import EpochLines, epoch_line, resumed, show_speed

ROWS = [{"loss": 2.0 - i, "accuracy": 0.25 * i, "seconds": took} for i, took in enumerate((900.0, 30.0, 60.0, 90.0))]


def test_an_epochs_line_has_numbers_and_the_time_left() -> None:
    line = epoch_line(ROWS, 10)
    assert re.fullmatch(r"epoch 4/10: loss -1\.000, accuracy 75\.00 %, 90 s; about 6 min left, until .*\d\d:\d\d", line)
    assert epoch_line(ROWS, 4) == "epoch 4/4: loss -1.000, accuracy 75.00 %, 90 s"


def test_a_resumed_training_says_where_and_how_long() -> None:
    assert resumed(ROWS[:2], 5, 4).startswith("continues after epoch 2 of 4, step 5 of the next; about 16 min left")
    assert resumed([], 5, 4) == "continues after epoch 0 of 4, step 5 of the next"
    assert resumed(ROWS, 0, 4) == "continues after epoch 4 of 4"


def test_lines_of_epochs_are_seconds_apart(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    lines, now = EpochLines(4), 1e6
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    for i, seconds in enumerate((0.0, 1.0, 1.0, progress.PAUSE), start=1):
        now += seconds
        lines.show(ROWS[:i])
    assert [line[:9] for line in capsys.readouterr().out.splitlines()] == ["epoch 1/4", "epoch 4/4"]


def test_a_terminal_has_a_bar_and_no_lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PAUSE", 0.0)
    monkeypatch.setattr(progress, "has_bar", lambda: True)
    EpochLines(4).show(ROWS)
    show_speed(600, 10.0)
    assert capsys.readouterr().out == ""


def test_the_speed_gives_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    show_speed(6000, 10.0)
    assert re.fullmatch(r"10 images/s; about 10 min left, until .*\d\d:\d\d\n", capsys.readouterr().out)


@pytest.mark.filterwarnings("ignore:training has slowed down")  # a window of 0 s makes every step a measurement
def test_the_first_speed_counts_what_is_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, float]] = []
    monkeypatch.setattr("oodbench.training.slowdown.WINDOW", 0.0)
    monkeypatch.setattr("oodbench.training.progress.show_speed", lambda images, speed: told.append((images, speed)))
    train(classifier())  # four epochs of 16 + 16 + 16 + 2 images
    ((images, speed),) = told
    assert images == 200 - 2 * 16
    assert speed > 0
    assert "\033" not in capsys.readouterr().err
