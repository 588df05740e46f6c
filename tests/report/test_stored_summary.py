"""Figure data that a published run has in place of outputs."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.cli import Finished
from helpers.made_up import alter_metrics
from helpers.report import add_full_run

from oodbench.publishing.copies import publish
from oodbench.report.material import read_one
from oodbench.report.page.run import run_html
from oodbench.report.serialize import to_json
from oodbench.report.stored_summary import read_summary, summary_to_store, write_summary
from oodbench.report.summary import summarise
from oodbench.runs.folder import RunFolder, open_run
from oodbench.runs.record import MAIN_SCORES
from oodbench.tables.load import load_run


def published(path: Path, target: Path) -> RunFolder:
    copy = publish(path, target, lambda detector, metric: True)
    summary = summary_to_store(load_run(path))
    if summary:
        write_summary(summary, copy)
    folder, _ = open_run(copy)
    return folder


def text_of(path: Path) -> str:
    return json.dumps(to_json(read_summary(load_run(path))))


def test_a_copy_has_the_data_of_the_outputs(finished: Finished, tmp_path: Path) -> None:
    copy = published(finished.folder, tmp_path)
    assert not (copy.path / "outputs").exists()
    assert text_of(copy.path) == json.dumps(to_json(summarise(load_run(finished.folder))))


def test_a_copy_of_a_copy_is_the_same(finished: Finished, tmp_path: Path) -> None:
    copy = published(finished.folder, tmp_path / "once")
    again = published(copy.path, tmp_path / "again")
    assert again.summary.read_bytes() == copy.summary.read_bytes()


def test_outputs_come_before_what_is_stored(finished: Finished, tmp_path: Path) -> None:
    folder = tmp_path / finished.folder.relative_to(finished.results)
    shutil.copytree(finished.folder, folder)
    run, _ = open_run(folder)
    stored = to_json(summarise(load_run(folder)))
    run.write_summary(run.read_record(), stored | {"disagreements": ["of the file"]})
    assert read_summary(load_run(folder)).disagreements == []
    shutil.rmtree(folder / "outputs")
    assert read_summary(load_run(folder)).disagreements == ["of the file"]


def test_a_run_without_outputs_has_nothing_to_store(tmp_path: Path) -> None:
    run = load_run(add_full_run(tmp_path, "ce", 0, 0.8, with_outputs=False))
    assert summary_to_store(run) is None
    with pytest.raises(ValueError, match="no stored outputs"):
        read_summary(run)


def test_outputs_of_other_numbers_of_images_are_not_stored(tmp_path: Path) -> None:
    run = load_run(add_full_run(tmp_path, "ce", 0, 0.8))  # 200 test images, and 10,000 in metrics.json
    with pytest.raises(ValueError, match=r"norms on test has 200 images .* the run 10000"):
        summary_to_store(run)


def test_data_of_other_numbers_are_not_used(finished: Finished, tmp_path: Path) -> None:
    copy = published(finished.folder, tmp_path)
    copy.remove_superseded(copy.read_record())
    assert copy.summary.exists()
    alter_metrics(copy.path, lambda metrics: metrics.update(accuracy=0.5))
    with pytest.raises(ValueError, match=r"summary\.json is of other numbers"):
        read_summary(load_run(copy.path))
    copy.remove_superseded(copy.read_record())
    assert not copy.summary.exists()


def test_the_summary_goes_with_the_record(finished: Finished, tmp_path: Path) -> None:
    copy = published(finished.folder, tmp_path)
    copy.remove_record()
    assert not copy.summary.exists()


@pytest.mark.parametrize("summary", [None, 3, [1]])
def test_a_file_without_a_summary_is_named_and_stays(finished: Finished, tmp_path: Path, summary: Any) -> None:
    copy = published(finished.folder, tmp_path)
    copy.write_summary(copy.read_record(), summary)
    with pytest.raises(ValueError, match=r"summary\.json has no summary"):
        read_summary(load_run(copy.path))
    copy.remove_superseded(copy.read_record())
    assert copy.summary.exists()


def test_an_altered_file_is_named(finished: Finished, tmp_path: Path) -> None:
    copy = published(finished.folder, tmp_path)
    content = json.loads(copy.summary.read_text())
    content["summary"]["norms"]["low"] -= 1
    copy.summary.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"summary\.json was altered"):
        read_summary(load_run(copy.path))


def odd(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Return what puts a value at a path of keys; "*" is the first key, "[]" the first place of a list."""

    def change(data: Any) -> None:
        *keys, last = path.split("/")
        for key in keys:
            data = data[0] if key == "[]" else data[min(data) if key == "*" else key]
        data[0 if last == "[]" else min(data) if last == "*" else last] = value

    return change


CHANGES = {
    "no histograms": (odd("histograms", 3), "no Summary: "),
    "more bins": (odd("norms/ids", [1] * 49), "norms on test has 49 images"),
    "fewer than no images": (odd("norms/ids/[]", -1), "norms on test"),
    "one image more": (odd("histograms/ood_score/ids/[]", 10**4), "ood_score on test"),
    "no bins": (odd("histograms/ood_score/ids", 5), "5 is no list"),
    "an unknown set": (odd("norms/oods/other", [1] * 48), "norms on other has 48 images"),
    "a set without a name": (odd("norms/oods/", [1] * 48), "norms on  has 48 images"),
    "no curves": (odd("rocs/ood_score", {}), "histogram of ood_score lacks"),
    "no thresholds": (odd("histograms/ood_score/at/*", {}), "histogram of ood_score lacks"),
    "no edges": (odd("histograms/ood_score/edges", [0.5]), "histogram of ood_score lacks"),
    "no axis": (odd("histograms/ood_score/scale/high", -1e9), "histogram of ood_score lacks"),
    "a list for an axis": (odd("histograms/ood_score/scale", [0.0, 1.0]), "no Summary: "),
    "many decades": (
        odd("histograms/ood_score/scale", {"is_log": True, "origin": 0.0, "low": -1e9, "high": 1e9}),
        "histogram of ood_score lacks",
    ),
    "no threshold": (odd("histograms/ood_score/idpos", float("nan")), "nan is no finite float"),
    "no norms": (odd("norms/high", -1.0), "norms from"),
    "half a curve": (odd("rocs/ood_score/*/ids", [0.0, 1.0]), "coordinates of shapes"),
    "no reliability": (odd("before/images", [0.0] * 15), "reliability of other images"),
    "points in space": (odd("components/origin", [0.0, 0.0, 0.0]), "points of shapes"),
    "one class": (odd("components/classes", [0]), "1 classes"),
    "an image beyond the last": (odd("wrong/*/[]/row", 10**6), "an image of"),
    "images of no set": (odd("wrong/other", []), "an image of other"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_cannot_be_drawn_is_named_on_the_page(finished: Finished, tmp_path: Path, what: str) -> None:
    copy = published(finished.folder, tmp_path)
    summary = copy.read_summary(copy.read_record())
    change, said = CHANGES[what]
    change(summary)
    copy.write_summary(copy.read_record(), summary)
    with pytest.raises(ValueError, match=rf"summary\.json cannot be drawn: .*{said}"):
        read_summary(load_run(copy.path))
    assert "cannot be drawn" in run_html(read_one(copy.path), MAIN_SCORES, "the command")
