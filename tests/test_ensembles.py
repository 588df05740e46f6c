"""Ensembles over seeds, from stored outputs to their rows in tables."""

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.config import ROOT
from helpers.made_up import CALIBRATION, NOISE, add_run, alter_metrics, column, notes
from numpy.typing import NDArray

from oodbench.ensembles import score_ensemble
from oodbench.outputs import Outputs
from oodbench.runs.folder import open_run
from oodbench.runs.publish import publish, publish_ensemble
from oodbench.storage import read_json, write_json
from oodbench.tables import Table, load_runs, tables_of
from oodbench.tables.ensembles import load_ensembles

N, CLASSES = 200, 3
SETS = ("svhn", "mnist")
DIGESTS = {name: f"digest of {name}" for name in ("test", *SETS)}


def outputs(seed: int, name: str, halo: bool = False) -> Outputs:
    """Random ones; the labels of a set are the same for every seed. halo: rows that do not sum to one"""
    i = ["test", *SETS].index(name)
    labels = np.random.default_rng(i).integers(CLASSES, size=N)
    random = np.random.default_rng([seed, i])
    logits = random.normal(size=(N, CLASSES + halo)) + (1 if name == "test" else 0) * np.eye(CLASSES + halo)[labels]
    log_probs = (logits - np.log(np.exp(logits).sum(1, keepdims=True)))[:, :CLASSES]
    return Outputs(np.zeros((N, 2), np.float32), logits.astype(np.float32), log_probs, -log_probs.max(1), labels)


def add_seed(results: Path, seed: int, halo: bool = False) -> Path:
    ood = {name: {"msp": 0.9, "ood_score": 0.9} for name in SETS}
    path = add_run(results, "ce", seed, ood=ood, images=N, noise=NOISE, calibration=CALIBRATION, digests=DIGESTS)
    folder, _ = open_run(path)
    folder.write_training({}, {"weight": np.array([seed])}, "digest")
    weights = folder.read_training()["weights"]
    alter_metrics(path, lambda content: content.update(weights=weights))
    for name in ("test", *SETS):
        folder.write_outputs(name, outputs(seed, name, halo), DIGESTS[name])
    return path


def add_seeds(results: Path, seeds: int = 3, halo: bool = False) -> Path:
    paths = [add_seed(results, seed, halo) for seed in range(seeds)]
    return paths[0].parent


def probabilities(name: str, halo: bool) -> NDArray[np.float64]:
    """A second definition: the mean, image by image and class by class"""
    members = [outputs(seed, name, halo).log_probs for seed in range(3)]
    return np.array([[sum(np.exp(p[i, k]) for p in members) / 3 for k in range(CLASSES)] for i in range(N)])


def share_of_pairs(ids: list[float], oods: list[float]) -> float:
    return sum((ood > id_) + (ood == id_) / 2 for id_ in ids for ood in oods) / (len(ids) * len(oods))


def entropy(p: NDArray[np.float64]) -> float:
    p = p / p.sum()
    return -float(sum(each * np.log(each) for each in p))


@pytest.mark.parametrize("halo", [False, True])
def test_the_numbers_are_those_of_the_mean_probabilities(tmp_path: Path, halo: bool) -> None:
    found = score_ensemble(add_seeds(tmp_path, halo=halo))
    p, labels = probabilities("test", halo), outputs(0, "test").labels
    assert found["accuracy"] == pytest.approx(np.mean([row.argmax() == y for row, y in zip(p, labels, strict=True)]))
    assert found["nll"] == pytest.approx(-np.mean([np.log(row[y]) for row, y in zip(p, labels, strict=True)]))
    square = [sum((row[k] - (k == y)) ** 2 for k in range(CLASSES)) for row, y in zip(p, labels, strict=True)]
    assert found["brier"] == pytest.approx(np.mean(square))
    for name in SETS:
        q = probabilities(name, halo)
        msp = share_of_pairs([-row.max() for row in p], [-row.max() for row in q])
        assert found["ood"][name]["msp"]["auroc"] == pytest.approx(msp, abs=1e-12)
        of_entropy = share_of_pairs([entropy(row) for row in p], [entropy(row) for row in q])
        assert found["ood"][name]["entropy"]["auroc"] == pytest.approx(of_entropy, abs=1e-12)
    assert ("normalised" in found["calibration"]) == halo
    low, high = found["intervals"]["accuracy"]
    assert low <= found["accuracy"] <= high


def test_what_was_written_names_its_members(tmp_path: Path) -> None:
    folder = add_seeds(tmp_path)
    found = score_ensemble(folder)
    assert read_json(folder / "ensemble.json") == found
    weights = {str(seed): open_run(folder / f"seed{seed}")[0].read_training()["weights"] for seed in range(3)}
    assert found["members"] == weights
    assert len(set(weights.values())) == 3


def test_one_seed_is_no_ensemble(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has 1 finished seed; an ensemble needs two"):
        score_ensemble(add_seeds(tmp_path, 1))


def remove_outputs(folder: Path) -> None:
    (folder / "seed1" / "outputs" / "mnist.safetensors").unlink()


def other_images(folder: Path) -> None:
    alter_metrics(folder / "seed1", lambda content: content["provenance"]["digests"].update(mnist="another"))


def other_weights(folder: Path) -> None:
    open_run(folder / "seed1")[0].write_training({}, {"weight": np.array([7])}, "digest")


def other_labels(folder: Path) -> None:
    run, _ = open_run(folder / "seed1")
    one = outputs(1, "mnist")
    run.write_outputs("mnist", one._replace(labels=1 - one.labels), DIGESTS["mnist"])


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (remove_outputs, r"mnist\.safetensors is missing"),
        (other_images, "were scored on other images of mnist"),
        (other_weights, "was computed with other weights"),
        (other_labels, "have other labels of mnist"),
    ],
)
def test_members_that_do_not_agree_are_refused(tmp_path: Path, damage: Callable[[Path], None], complaint: str) -> None:
    folder = add_seeds(tmp_path)
    damage(folder)
    with pytest.raises(ValueError, match=complaint):
        score_ensemble(folder)
    assert not (folder / "ensemble.json").exists()


# ---- tables


def tables(results: Path) -> tuple[Table, Table]:
    first, second = tables_of(load_runs(results).runs, [], "idpos", ["ood_score", "msp"])
    return first, second


def test_an_ensemble_has_a_row_beneath_its_members(tmp_path: Path) -> None:
    folder = add_seeds(tmp_path)
    found = score_ensemble(folder)
    table, calibration = tables(tmp_path)
    assert [row[:3] for row in table.rows] == [
        ["ce", "own", "3"],
        ["ce", "msp", "3"],
        ["ce, ensemble of 3", "msp", "1"],
    ]
    cell = column(table, "svhn (far)", "AUROC ↑")[2]
    low, high = found["intervals"]["ood"]["svhn"]["msp"]["auroc"]
    assert cell == f"{100 * found['ood']['svhn']['msp']['auroc']:.2f} [{100 * low:.1f}, {100 * high:.1f}]"
    assert column(table, "Accuracy ↑")[2].startswith(f"{100 * found['accuracy']:.2f} [")
    mean = np.mean([found["ood"][name]["msp"]["auroc"] for name in SETS])
    assert column(table, "far mean", "AUROC ↑")[2] == f"{100 * mean:.2f}"
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


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (drop, "No ensemble of `ce`: not scored, which scripts/ensemble.py does"),
        (damage, "was altered"),
        (
            lambda folder: add_seed(folder.parents[4], 3),
            "made of seeds 0, 1, 2 and their weights",
        ),
        (forge(run="00000000"), "it belongs to 00000000"),
        (forge(ood=[]), "cannot be read"),
        (other_images, "of other images than the row"),
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


def test_the_script_scores_what_has_several_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main = runpy.run_path(str(ROOT / "scripts" / "ensemble.py"))["main"]
    folder = add_seeds(tmp_path)
    add_run(tmp_path, "alone")
    monkeypatch.setattr("sys.argv", ["ensemble.py", str(tmp_path)])
    main()
    assert f"{folder / 'ensemble.json'}: seeds 0, 1, 2, accuracy " in capsys.readouterr().out
    remove_outputs(folder)
    with pytest.raises(SystemExit):
        main()
    assert "mnist.safetensors is missing" in capsys.readouterr().err
