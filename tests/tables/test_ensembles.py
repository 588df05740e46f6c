"""Rows of ensembles in tables, and the reasons why a row has none."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.ensembles import SETS, N, add_seed, add_seeds, other_images
from helpers.made_up import NOISE, add_run, alter_metrics, column, notes

from oodbench.publishing.copies import publish, publish_ensemble
from oodbench.scoring.ensembles import score_ensemble
from oodbench.storage import read_json, write_json
from oodbench.tables.calibration import calibration_table
from oodbench.tables.ensembles import load_ensembles
from oodbench.tables.load import load_runs
from oodbench.tables.sections import Table
from oodbench.tables.write import tables_of


def tables(results: Path) -> tuple[Table, Table]:
    """-> of detection, of calibration"""
    runs = load_runs(results).runs
    (table,) = tables_of(runs, [], "idpos", ["ood_score", "msp"])
    calibration = calibration_table(runs, load_ensembles(runs))
    assert calibration
    return table, calibration


def test_an_ensemble_has_a_row_beneath_its_members(tmp_path: Path) -> None:
    folder = add_seeds(tmp_path)
    found = score_ensemble(folder)
    table, calibration = tables(tmp_path)
    assert [row[:3] for row in table.rows] == [
        ["ce", "own = msp", "3"],
        ["ce, ensemble of 3", "msp", "1"],
    ]
    cell = column(table, "svhn (far)", "AUROC ↑")[1]
    low, high = found["intervals"]["ood"]["svhn"]["msp"]["auroc"]
    assert cell == f"{100 * found['ood']['svhn']['msp']['auroc']:.2f} [{100 * low:.1f}, {100 * high:.1f}]"
    assert column(table, "Accuracy ↑")[1].startswith(f"{100 * found['accuracy']:.2f} [")
    mean = np.mean([found["ood"][name]["msp"]["auroc"] for name in SETS])
    assert column(table, "far mean", "AUROC ↑")[1] == f"{100 * mean:.2f}"
    assert "Ensemble of n: one predictor" in notes(table)
    assert [row[:2] for row in calibration.rows] == [["ce", "3"], ["ce, ensemble of 3", "1"]]
    assert column(calibration, "predictive", "NLL ↓")[1].startswith(f"{found['nll']:.3f}")
    assert column(calibration, "temperature-scaled", "T")[1] != "—"


def test_an_ensemble_changes_no_other_row(tmp_path: Path) -> None:
    folder = add_seeds(tmp_path)
    add_run(tmp_path, "other", ood={name: {"msp": 0.8, "ood_score": 0.95} for name in SETS}, images=N, noise=NOISE)
    without = tables(tmp_path)
    score_ensemble(folder)
    for before, after in zip(without, tables(tmp_path), strict=True):
        assert [row for row in after.rows if "ensemble" not in row[0]] == before.rows


def drop(folder: Path) -> None:
    (folder / "ensemble.json").unlink()


def damage(folder: Path) -> None:
    file = folder / "ensemble.json"
    file.write_text(file.read_text().replace("0.", "0.1", 1))


def forge(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        write_json(folder / "ensemble.json", read_json(folder / "ensemble.json") | changes)

    return change


def other_metric(folder: Path) -> None:
    alter_metrics(folder / "seed1", lambda content: content["provenance"].update(metric_code={"ece": "edited"}))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (drop, "No ensemble of `ce`: not scored, which scripts/ensemble.py does"),
        (damage, "was altered"),
        (
            lambda folder: add_seed(folder.parents[4], 3),
            "No ensemble of `ce`: made of seeds 0, 1, 2 and their weights",
        ),
        (forge(run="00000000"), "it belongs to 00000000"),
        (forge(ood=[]), "cannot be read"),
        (
            forge(code={"0": {"loss": "x"}}),
            "made of the outputs of other code of the loss or the backbone; make it again",
        ),
        (
            other_metric,
            "of a metric or a score than its seeds: score them again first; make it again",
        ),
        (other_images, "No ensemble of `ce`: of other images than the row; make it again"),
    ],
)
def test_a_row_without_an_ensemble_says_why(tmp_path: Path, change: Callable[[Path], None], complaint: str) -> None:
    folder = add_seeds(tmp_path)
    score_ensemble(folder)
    change(folder)
    for table in tables(tmp_path):
        assert complaint in notes(table)
        assert not any("ensemble" in row[0] for row in table.rows)


def test_one_seed_needs_no_reason(tmp_path: Path) -> None:
    add_seed(tmp_path, 0)
    found = load_ensembles(load_runs(tmp_path).runs)
    assert (found.found, found.missing) == ({}, {})
    assert "nsemble" not in notes(tables(tmp_path)[0])


def test_a_published_ensemble_gives_the_same_tables(tmp_path: Path) -> None:
    folder = add_seeds(tmp_path / "full")
    score_ensemble(folder)
    for seed in range(3):
        publish(folder / f"seed{seed}", tmp_path / "small", lambda detector, metric: True)
    publish_ensemble(folder, tmp_path / "small")
    assert tables(tmp_path / "full") == tables(tmp_path / "small")
    assert "ensemble of 3" in str(tables(tmp_path / "small"))
