"""Training curves from train.csv."""

import numpy as np

from oodbench.report.figures.training import History, history_of, plot, thinned

HEADER = "run,epoch,loss,accuracy,seconds\n"


def test_a_line_an_epoch_is_read() -> None:
    found = history_of(f"{HEADER}r,1,2.5,0.1,3\nr,2,1.5,0.4,3\n".encode())
    assert found is not None
    assert found.loss.tolist() == [2.5, 1.5]
    assert found.accuracy.tolist() == [0.1, 0.4]


def test_without_epochs_there_is_no_history() -> None:
    assert history_of(b"") is None
    assert history_of(HEADER.encode()) is None


def test_text_in_the_place_of_numbers_is_no_history() -> None:
    assert history_of(HEADER.encode() + b"r,<b>,\xff,x,y\n") is None


def test_a_loss_that_is_no_number_leaves_a_gap() -> None:
    found = history_of(f"{HEADER}r,1,nan,0.1,3\nr,2,1.5,0.4,3\n".encode())
    assert found is not None
    assert np.isnan(found.loss).tolist() == [True, False]
    assert plot({"a": [found]}, {"a": ("c0", False)}).panels


def test_first_and_last_epoch_stay() -> None:
    epochs = np.arange(1.0, 201)
    found = thinned(History(epochs, epochs, epochs), points=10)
    assert len(found.epoch) == 10
    assert found.epoch[[0, -1]].tolist() == [1, 200]
