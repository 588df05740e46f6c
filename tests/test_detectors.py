"""Every detector of conf/detector by its formula and its sign; how a run's numbers are put together."""

from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT, names
from hydra.utils import instantiate
from omegaconf import OmegaConf
from scipy.special import log_softmax, softmax

from oodbench import metrics
from oodbench.detectors import Array, Reference, energy, maxlogit, msp, native
from oodbench.evaluate import Detector, evaluate, report
from oodbench.losses import CrossEntropy
from oodbench.model import head_of, read
from oodbench.outputs import Outputs

DETECTORS = names("detector")
FORMULAS = {
    "native": lambda o: o.ood_score,
    "msp": lambda o: -np.exp(o.log_probs).max(1),
    "maxlogit": lambda o: -o.logits[:, :4].max(1),
    "energy": lambda o: -np.log(np.exp(o.logits[:, :4].astype(np.float64)).sum(1)),
}


def detector(name: str) -> Detector:
    return instantiate(OmegaConf.load(ROOT / f"conf/detector/{name}.yaml"))


def random_outputs(n: int = 40, extra: int = 0, seed: int = 0) -> Outputs:
    """Of 4 classes and 6 features, all five fields independent of one another, with columns beyond the classes."""
    random = np.random.default_rng(seed)
    features, logits = random.normal(size=(n, 6)), random.normal(size=(n, 4 + extra)) * 5
    log_probs = log_softmax(random.normal(size=(n, 4)), axis=1)
    labels = random.integers(4, size=n)
    return Outputs(features.astype("f4"), logits.astype("f4"), log_probs, random.normal(size=n), labels)


NOTHING = Reference(random_outputs(), lambda features: features)


def blobs() -> tuple[Outputs, Outputs, Reference]:
    """Four Gaussians and a linear head that knows them; images between them are strange."""
    centres = 6 * np.eye(4, 8)
    random = np.random.default_rng(0)

    def head(features: Array) -> Array:
        return (features @ centres.T - 18).astype("f4")

    def outputs(n: int, spread_about: Array) -> Outputs:
        labels = random.integers(4, size=n)
        features = (spread_about[labels] + random.normal(size=(n, 8))).astype("f4")
        log_probs = log_softmax(head(features).astype(np.float64), axis=1)
        return Outputs(features, head(features), log_probs, -log_probs.max(1), labels)

    train, test, ood = outputs(400, centres), outputs(200, centres), outputs(200, 0 * centres)
    return test, ood, Reference(train, head)


def test_the_detectors_that_need_only_outputs_are_there() -> None:
    assert {"native", "msp", "maxlogit", "energy"} <= set(DETECTORS)


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("extra", [0, 1])
def test_detector_equals_its_formula(name: str, extra: int) -> None:
    outputs = random_outputs(extra=extra)
    np.testing.assert_allclose(detector(name)(outputs, NOTHING), FORMULAS[name](outputs), rtol=1e-6)


@pytest.mark.parametrize("name", DETECTORS)
def test_what_is_strange_scores_higher(name: str) -> None:
    test, ood, reference = blobs()
    id_scores, ood_scores = detector(name)(test, reference), detector(name)(ood, reference)
    assert id_scores.shape == ood_scores.shape == (200,)
    assert metrics.auroc(id_scores, ood_scores) > 0.9


@pytest.mark.parametrize("name", DETECTORS)
def test_the_score_of_an_image_does_not_depend_on_its_neighbours_nor_change_the_outputs(name: str) -> None:
    test, _, reference = blobs()
    before = [array.copy() for array in test]
    together = detector(name)(test, reference)
    alone = detector(name)(Outputs(*(array[17:18] for array in test)), reference)
    assert alone[0] == pytest.approx(together[17])
    assert all((a == b).all() for a, b in zip(before, test, strict=True))


@pytest.mark.parametrize("name", ["maxlogit", "energy"])
def test_a_column_beyond_the_classes_is_no_part_of_the_score(name: str) -> None:
    """HALO's logits have one for abstaining."""
    outputs = random_outputs(extra=1)
    without = detector(name)(outputs._replace(logits=outputs.logits[:, :4]), NOTHING)
    outputs.logits[:, 4] = 1e4
    assert (detector(name)(outputs, NOTHING) == without).all()


def test_energy_divides_and_multiplies_by_its_temperature() -> None:
    outputs = random_outputs()
    z = outputs.logits.astype(np.float64)
    by_hand = -0.1 * np.log(np.exp(z / 0.1).sum(1))
    np.testing.assert_allclose(energy(outputs, NOTHING, temperature=0.1), by_hand)


def test_energy_of_huge_logits_is_finite() -> None:
    outputs = random_outputs()
    outputs.logits[:] = 1e4
    np.testing.assert_allclose(energy(outputs, NOTHING, temperature=1.0), -1e4 - np.log(4))


@pytest.mark.parametrize("score", [native, msp, maxlogit, energy])
def test_margins_that_tie_in_a_float32_softmax_are_told_apart(score: Any) -> None:
    objective = CrossEntropy(1, 2, label_smoothing=0.0)
    with torch.no_grad():
        objective.head.weight.copy_(torch.tensor([[1.0], [0.0]]))
        objective.head.bias.zero_()
    margins = np.array([[18.0], [20.0], [25.0], [30.0]], dtype="f4")
    outputs = read(objective, torch.from_numpy(margins), np.zeros(4, dtype=np.int64))
    assert (softmax(outputs.logits, axis=1)[:, 0] == 1).all()  # in float32: all the same
    scores = score(outputs, NOTHING, **({"temperature": 1.0} if score is energy else {}))
    assert (np.diff(scores) < 0).all()


def test_evaluate_gives_every_number_of_every_set_and_detector() -> None:
    test, ood = random_outputs(seed=1), {"a": random_outputs(30, seed=2), "b": random_outputs(50, seed=3)}
    detectors: dict[str, Detector] = {"native": native, "msp": msp}
    numbers = evaluate(test, ood, detectors, NOTHING)
    assert list(numbers) == ["accuracy", "ece", "nll", "brier", "ood"]
    assert numbers["accuracy"] == np.mean(test.log_probs.argmax(1) == test.labels)
    confidence = np.exp(test.log_probs.max(1))
    assert numbers["ece"] == metrics.ece(confidence, test.log_probs.argmax(1) == test.labels)
    assert {k: list(v) for k, v in numbers["ood"].items()} == {"a": ["native", "msp"], "b": ["native", "msp"]}
    for name, outputs in ood.items():
        for key, value in numbers["ood"][name]["native"].items():
            assert value == metrics.OOD_METRICS[key](test.ood_score, outputs.ood_score)
            assert type(value) is float
    assert set(numbers["ood"]["a"]["msp"]) == {"auroc", "fpr95_idpos", "fpr95_oodpos", "aupr_in", "aupr_out"}


def test_evaluate_asks_a_detector_once_for_each_set() -> None:
    """A detector may take minutes over the training set."""
    asked = []

    def slow(outputs: Outputs, reference: Reference) -> Array:
        asked.append(len(outputs.labels))
        return outputs.ood_score

    evaluate(random_outputs(40), {"a": random_outputs(30), "b": random_outputs(50)}, {"slow": slow}, NOTHING)
    assert sorted(asked) == [30, 40, 50]


@pytest.mark.parametrize(("spoilt", "says"), [("test", "ID scores"), ("svhn", "OOD scores")])
def test_a_score_that_is_not_a_number_names_the_detector_and_the_set(spoilt: str, says: str) -> None:
    sets = {"test": random_outputs(seed=1), "svhn": random_outputs(seed=2)}
    sets[spoilt].ood_score[3] = np.nan
    with pytest.raises(ValueError, match=f"native on svhn.*{says}.*nan at 3"):
        evaluate(sets["test"], {"svhn": sets["svhn"]}, {"msp": msp, "native": native}, NOTHING)


def test_the_report_names_both_fpr_conventions_and_prints_percent() -> None:
    test, ood = random_outputs(seed=1), {"a_set_with_a_long_name": random_outputs(30, seed=2)}
    numbers = evaluate(test, ood, {"msp": msp}, NOTHING)
    lines = report(numbers).splitlines()
    assert f"accuracy {100 * numbers['accuracy']:.2f} %" in lines[0]
    header, row = lines[-2], lines[-1]
    columns = header.split()[-5:]
    assert columns == list(metrics.OOD_METRICS)
    values = numbers["ood"]["a_set_with_a_long_name"]["msp"]
    assert row.split() == ["a_set_with_a_long_name", "msp", *(f"{100 * values[name]:.2f}" for name in columns)]
    assert len(header) == len(row)


def test_the_head_takes_features_that_a_detector_has_changed() -> None:
    objective = CrossEntropy(3, 2, label_smoothing=0.0)
    features = np.random.default_rng(0).normal(size=(5, 3))
    for dtype in (np.float32, np.float64):
        expected = features @ objective.head.weight.detach().numpy().T + objective.head.bias.detach().numpy()
        np.testing.assert_allclose(head_of(objective)(features.astype(dtype)), expected, rtol=1e-5)
