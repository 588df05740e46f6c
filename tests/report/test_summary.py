"""Figure data of one run, from stored outputs; what cannot be used is a sentence."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.cli import Finished
from helpers.made_up import add_run
from helpers.outputs import add_outputs, outputs

from oodbench.outputs import Outputs
from oodbench.report.summary import confidently_wrong, summarise
from oodbench.runs.folder import open_run
from oodbench.tables.load import load_run


def test_reliability_gives_the_recorded_ece(finished: Finished) -> None:
    run = load_run(finished.folder)
    summary = summarise(run)
    assert np.isclose(summary.before.ece, run.numbers["", "", "ece"])
    scaled = finished.metrics["calibration"]["temperature_scaled"]
    assert (summary.after is None) == (scaled is None)
    if summary.after and scaled:
        assert np.isclose(summary.after.ece, scaled["ece"])
        assert summary.temperatures == tuple(scaled["temperatures"])


def test_all_sets_are_counted(finished: Finished) -> None:
    run = load_run(finished.folder)
    summary = summarise(run)
    for ood, n in run.ood_images.items():
        assert summary.histograms["ood_score"].oods[ood].sum() == n
        assert summary.norms.oods[ood].sum() == n
    assert summary.histograms["ood_score"].ids.sum() == run.test_images


def test_without_outputs_the_reason_is_said(tmp_path: Path) -> None:
    run = load_run(add_run(tmp_path))
    with pytest.raises(ValueError, match="no stored outputs"):
        summarise(run)


def test_outputs_of_another_run_are_not_used(finished_ce: Finished, finished: Finished, tmp_path: Path) -> None:
    copy = tmp_path / finished_ce.folder.relative_to(finished_ce.results)
    shutil.copytree(finished_ce.folder, copy)
    shutil.copy(finished.folder / "outputs/test.safetensors", copy / "outputs/test.safetensors")
    with pytest.raises(ValueError, match="belongs to run"):
        summarise(load_run(copy))


def test_numbers_of_other_outputs_are_told(tmp_path: Path) -> None:
    folder = add_run(tmp_path, ood={"svhn": {"ood_score": 0.123}})
    add_outputs(folder, {"svhn": 50})
    (line,) = summarise(load_run(folder)).disagreements
    assert line.startswith("AUROC of ood_score on svhn: 0.123000 in metrics.json")


@pytest.mark.parametrize("field", ["features", "logits", "ood_score"])
def test_outputs_that_are_not_finite_are_refused(tmp_path: Path, field: str) -> None:
    folder = add_run(tmp_path)
    add_outputs(folder, {})
    broken = outputs(200)._asdict()
    broken[field] = np.full_like(broken[field], np.inf)

    open_run(folder)[0].write_outputs("test", Outputs(**broken), "1" * 64)
    with pytest.raises(ValueError, match="not all finite"):
        summarise(load_run(folder))


def test_confidently_wrong_are_the_lowest_scores() -> None:
    ood = outputs(100, shift=1.0)
    found = confidently_wrong(ood, 5)
    assert [each.row for each in found] == np.argsort(ood.ood_score, kind="stable")[:5].tolist()
    assert [each.predicted for each in found] == ood.log_probs[[each.row for each in found]].argmax(1).tolist()
    assert np.isclose(found[0].confidence, np.exp(ood.log_probs.max(1)[found[0].row]))


@pytest.mark.parametrize("labels", [np.full(200, 99), np.full(200, -1), np.zeros(200)])
def test_labels_that_are_no_classes_are_refused(tmp_path: Path, labels: np.ndarray) -> None:
    folder = add_run(tmp_path)
    add_outputs(folder, {})
    open_run(folder)[0].write_outputs("test", outputs(200)._replace(labels=labels), "1" * 64)
    with pytest.raises(ValueError, match="holds no outputs of a network"):
        summarise(load_run(folder))


def test_outputs_of_a_network_of_other_width_are_refused(tmp_path: Path) -> None:
    folder = add_run(tmp_path, ood={"svhn": {"msp": 0.9}})
    add_outputs(folder, {"svhn": 50})
    ood = outputs(50)
    open_run(folder)[0].write_outputs("svhn", ood._replace(features=ood.features[:, 1:]), "1" * 64)
    with pytest.raises(ValueError, match=r"the outputs on svhn have shapes \[\(50, "):
        summarise(load_run(folder))
