"""The file of external outputs: what it may hold, and what is said of mistakes."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.external import Arrays

from oodbench.pretrained.external_file import load_external


def with_nan(array: Any) -> Any:
    array = array.copy()
    array[3, 1] = np.nan
    return array


MISTAKES: list[tuple[str, Callable[[Arrays], Arrays], str]] = [
    (
        "missing",
        lambda a: {k: v for k, v in a.items() if k != "test/logits"},
        "has no test/logits; available: head/bias",
    ),
    ("unlabelled", lambda a: {k: v for k, v in a.items() if k != "train/labels"}, "has no train/labels"),
    ("half a head", lambda a: {k: v for k, v in a.items() if k != "head/bias"}, "has no head/bias"),
    ("rows", lambda a: a | {"noise/logits": a["noise/logits"][:-1]}, "noise/logits has shape (159, 8), by the other"),
    ("columns", lambda a: a | {"noise/features": a["noise/features"][:, 1:]}, "noise/features has shape (160, 31)"),
    ("vector", lambda a: a | {"test/features": a["test/features"][0]}, "test/features, float32 of shape (32,): a matr"),
    ("empty", lambda a: a | {"noise/features": a["noise/features"][:0]}, "noise/features, float32 of shape (0, 32)"),
    ("whole", lambda a: a | {"test/logits": a["test/logits"].astype(int)}, "test/logits, int64 of shape (160, 8): flo"),
    (
        "nan",
        lambda a: a | {"noise/features": with_nan(a["noise/features"])},
        "noise/features, float32 of shape (160, 3",
    ),
    (
        "big",
        lambda a: a | {"noise/features": a["noise/features"].astype("f8") + 1e300},
        "160, 32): 5120 values are NaN, infinite or",
    ),
    ("class", lambda a: a | {"test/labels": a["test/labels"] + 1}, "outside the 8 classes 0..7"),
    ("real", lambda a: a | {"test/labels": a["test/labels"] + 0.5}, "test/labels, float64 of shape (160,): integers"),
    ("few", lambda a: a | {"train/labels": 0 * a["train/labels"]}, "train/labels: 7 of 8 classes have no image"),
    ("taken", lambda a: a | {"val/features": a["test/features"]}, "a set cannot be called val"),
    ("other", lambda a: a | {"noise/pixels": a["test/labels"]}, "noise/pixels is none of <set>/{features,logits,labe"),
    ("place", lambda a: a | {"../up/features": a["test/features"]}, "../up/features is none of"),
    ("up", lambda a: a | {f"../{part}": a[f"test/{part}"] for part in ("features", "logits")}, ": set='..'"),
    ("hidden", lambda a: a | {f".x/{part}": a[f"test/{part}"] for part in ("features", "logits")}, ": set='.x'"),
    ("head", lambda a: a | {"head/weight": a["head/weight"][1:]}, "head/weight has shape (7, 32), by the train set it"),
    ("off", lambda a: a | {"head/bias": a["head/bias"] + 0.5}, "is not train/logits: off by "),
]


@pytest.mark.parametrize(("spoilt", "says"), [case[1:] for case in MISTAKES], ids=[case[0] for case in MISTAKES])
def test_a_mistake_names_file_and_array(
    arrays: Arrays, tmp_path: Path, spoilt: Callable[[Arrays], Arrays], says: str
) -> None:
    np.savez(tmp_path / "outputs.npz", **spoilt(arrays))
    with pytest.raises(ValueError, match=rf"outputs\.npz[^\n]*{re.escape(says)}"):
        load_external(tmp_path / "outputs.npz")


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{"test/features": np.array([object()])})
    with pytest.raises(ValueError, match=r"a\.npz cannot be read: Object arrays cannot be loaded"):
        load_external(tmp_path / "a.npz")
    for name in ("b.npz", "b.safetensors"):
        (tmp_path / name).write_bytes(b"PK nothing")
        with pytest.raises(ValueError, match=f"{name} cannot be read"):
            load_external(tmp_path / name)
    os.mkfifo(tmp_path / "fifo.npz")
    os.mkfifo(tmp_path / "fifo.safetensors")
    for name in ("fifo.npz", "fifo.safetensors"):
        with pytest.raises(ValueError, match="is no regular file"):
            load_external(tmp_path / name)
    with pytest.raises(ValueError, match=r"c\.pt is neither \.npz nor \.safetensors"):
        load_external(tmp_path / "c.pt")
