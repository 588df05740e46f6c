"""Figure data that a published run keeps, and what is no such data."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.cli import Finished
from helpers.made_up import alter_metrics
from helpers.report import add_full_run

from oodbench.report.kept import keep_summary, read_summary
from oodbench.report.plain import to_plain
from oodbench.report.summary import summarise
from oodbench.runs.folder import RunFolder, open_run
from oodbench.runs.publish import publish
from oodbench.tables.results import load_run


def everything(detector: str, metric: str) -> bool:
    return True


def kept_copy(run: Finished, target: Path) -> RunFolder:
    copy = publish(run.folder, target, everything)
    keep_summary(run.folder, copy)
    folder, _ = open_run(copy)
    return folder


def text_of(folder: Path) -> str:
    return json.dumps(to_plain(read_summary(load_run(folder))))


def test_a_copy_has_the_data_of_the_outputs(finished: Finished, tmp_path: Path) -> None:
    copy = kept_copy(finished, tmp_path)
    assert not (copy.path / "outputs").exists()
    assert text_of(copy.path) == json.dumps(to_plain(summarise(load_run(finished.folder))))


def test_a_copy_of_a_copy_is_the_same(finished: Finished, tmp_path: Path) -> None:
    copy = kept_copy(finished, tmp_path / "once")
    again = publish(copy.path, tmp_path / "again", everything)
    keep_summary(copy.path, again)
    assert (again / "figures.json").read_bytes() == copy.figures.read_bytes()


def test_a_run_without_outputs_leaves_none(tmp_path: Path) -> None:
    folder = add_full_run(tmp_path, "ce", 0, 0.8, with_outputs=False)
    keep_summary(folder, folder)
    assert not (folder / "figures.json").exists()
    with pytest.raises(ValueError, match="no stored outputs"):
        read_summary(load_run(folder))


def test_data_of_other_numbers_are_not_used(finished: Finished, tmp_path: Path) -> None:
    copy = kept_copy(finished, tmp_path)
    alter_metrics(copy.path, lambda metrics: metrics.update(accuracy=0.5))
    with pytest.raises(ValueError, match="was made with other numbers"):
        read_summary(load_run(copy.path))
    copy.remove_superseded(copy.load_record())
    assert not copy.figures.exists()


def test_an_altered_file_is_named(finished: Finished, tmp_path: Path) -> None:
    copy = kept_copy(finished, tmp_path)
    copy.figures.write_text(copy.figures.read_text().replace('"ids": [0', '"ids": [1', 1))
    with pytest.raises(ValueError, match=r"figures\.json was altered"):
        read_summary(load_run(copy.path))


def longer(node: list[Any]) -> None:
    node.append(node[-1])


CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "nothing": lambda data: data.clear(),
    "another kind": lambda data: data.update(norms=3),
    "more bins": lambda data: longer(data["histograms"]["ood_score"]["ids"]),
    "other counts": lambda data: data["norms"]["ids"].reverse() or data["norms"]["ids"].insert(0, 7),
    "an unknown set": lambda data: data["norms"]["oods"].update(other=data["norms"]["ids"]),
    "a set without a curve": lambda data: data["rocs"]["ood_score"].popitem(),
    "more edges": lambda data: longer(data["histograms"]["ood_score"]["edges"]),
    "half a curve": lambda data: longer(data["before"]["images"]),
    "an image beyond the last": lambda data: data["wrong"][sorted(data["wrong"])[0]][0].update(row=10**6),
    "points in space": lambda data: data["components"].update(origin=[0.0, 0.0, 0.0]),
    "more classes": lambda data: data["components"]["classes"].append(99),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_cannot_be_drawn_is_refused(finished: Finished, tmp_path: Path, what: str) -> None:
    copy = kept_copy(finished, tmp_path)
    data = copy.read_figures(copy.load_record())
    assert data
    CHANGES[what](data)
    copy.write_figures(copy.load_record(), data)
    with pytest.raises(ValueError, match=r"figures\.json cannot be drawn"):
        read_summary(load_run(copy.path))
