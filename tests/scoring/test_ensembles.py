"""Ensembles over seeds, from stored outputs to their numbers."""

import runpy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.config import ROOT
from helpers.ensembles import CLASSES, DIGESTS, SETS, N, add_seeds, other_images, outputs
from helpers.made_up import add_run
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from oodbench.runs.folder import open_run
from oodbench.scoring.ensembles import mean_log_probs, score_ensemble
from oodbench.storage import read_json


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


def other_weights(folder: Path) -> None:
    open_run(folder / "seed1")[0].write_training({}, {"weight": np.array([7])}, "digest")


def outputs_on_other_images(folder: Path) -> None:
    run, _ = open_run(folder / "seed1")
    run.write_outputs("mnist", outputs(1, "mnist"), "0" * 64)


def other_labels(folder: Path) -> None:
    run, _ = open_run(folder / "seed1")
    one = outputs(1, "mnist")
    run.write_outputs("mnist", one._replace(labels=1 - one.labels), DIGESTS["mnist"])


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (remove_outputs, r"mnist\.safetensors is missing"),
        (other_images, "were scored on other images of mnist"),
        (other_weights, "is of other weights than"),
        (outputs_on_other_images, r"mnist\.safetensors is of other images than .*metrics\.json"),
        (other_labels, "have other labels of mnist"),
    ],
)
def test_members_that_do_not_agree_are_refused(tmp_path: Path, damage: Callable[[Path], None], complaint: str) -> None:
    folder = add_seeds(tmp_path)
    damage(folder)
    with pytest.raises(ValueError, match=complaint):
        score_ensemble(folder)
    assert not (folder / "ensemble.json").exists()


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


@given(st.integers(1, 4).flatmap(lambda s: arrays(np.float64, (s, 5, 3), elements=st.floats(1e-6, 1))))
def test_the_mean_is_of_probabilities(p: NDArray[np.float64]) -> None:
    np.testing.assert_allclose(np.exp(mean_log_probs(list(np.log(p)))), sum(p) / len(p), rtol=1e-12)


@given(arrays(np.float64, (4, 3), elements=st.floats(-50, 0)))
def test_equal_members_are_their_own_ensemble(log_probs: NDArray[np.float64]) -> None:
    np.testing.assert_allclose(mean_log_probs([log_probs] * 3), log_probs, rtol=1e-12, atol=1e-12)


def test_members_do_not_depend_on_their_order() -> None:
    p = np.log(np.random.default_rng(0).dirichlet(np.ones(4), (3, 6)))
    np.testing.assert_allclose(mean_log_probs(list(p)), mean_log_probs(list(p[::-1])), rtol=1e-14)


def test_probabilities_below_the_smallest_number_are_not_lost() -> None:
    log_probs = np.array([[-800.0, -900.0]])
    np.testing.assert_allclose(mean_log_probs([log_probs, log_probs - 1]), log_probs + np.log((1 + np.exp(-1)) / 2))


@pytest.mark.parametrize("shapes", [[], [(2, 3), (2, 4)], [(2, 3), (1, 3)]])
def test_members_of_other_shapes_are_refused(shapes: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match="members of one shape are needed"):
        mean_log_probs([np.zeros(shape) for shape in shapes])
