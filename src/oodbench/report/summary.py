"""One run's stored outputs -> the data of its figures: counts and a few points."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from oodbench.detectors.logits import NoTemperatureError
from oodbench.evaluation.calibration import cross_fitted
from oodbench.evaluation.metrics import auroc
from oodbench.outputs import Outputs
from oodbench.report.figures.components import Components, components_of, rounded
from oodbench.report.figures.histogram import Histogram, histogram_of
from oodbench.report.figures.norms import Norms, norms_of
from oodbench.report.figures.reliability import Reliability, reliability_of
from oodbench.report.figures.roc import Roc, roc_of
from oodbench.report.scores import Scored, scores_of
from oodbench.runs.folder import open_run
from oodbench.tables.results import Result

AGREE = 1e-9  # of a share that is computed again from the same outputs


class Summary(NamedTuple):
    """The data of a run's figures. Keys: detectors, and OOD sets."""

    histograms: dict[str, Histogram]
    rocs: dict[str, dict[str, Roc]]
    before: Reliability
    after: Reliability | None  # None where no temperature is the best
    temperatures: tuple[float, float] | None
    norms: Norms
    components: Components
    wrong: dict[str, list["Wrong"]]
    disagreements: list[str]  # numbers that the outputs give otherwise than metrics.json has them


class Wrong(NamedTuple):
    """One of the OOD images with the lowest own scores: its place in the set, the class and its probability."""

    row: int
    predicted: int
    confidence: float
    score: float


def summarise(run: Result) -> Summary:
    """Read a run's outputs and count. Raises ValueError, in one sentence, where there are none that can be used."""
    folder, _ = open_run(run.folder)
    sets = {name: folder.read_outputs(name, run.digests.get(name)) for name in ("test", *run.ood_images)}
    test = sets.pop("test")
    if test is None:
        raise ValueError("no stored outputs")
    oods = {name: outputs for name, outputs in sets.items() if outputs is not None}
    for name, outputs in {"test": test, **oods}.items():
        _check(name, outputs, test)
    return summary_of(test, oods, run)


def _check(name: str, outputs: Outputs, test: Outputs) -> None:
    """Raise ValueError where outputs, whole as `read_outputs` returns them, are of another network or not finite."""
    if [each.shape[1:] for each in outputs] != [each.shape[1:] for each in test]:
        raise ValueError(f"the outputs on {name} have shapes {[each.shape for each in outputs]}")
    if not all(np.isfinite(each).all() for each in (outputs.features, outputs.logits, outputs.ood_score)):
        raise ValueError(f"the outputs on {name} are not all finite")
    if np.isnan(outputs.log_probs).any() or (outputs.log_probs > 1e-6).any():
        raise ValueError(f"log_probs on {name} are no logarithms of probabilities")


def summary_of(test: Outputs, oods: Mapping[str, Outputs], run: Result) -> Summary:
    """Return what the figures of one network need."""
    measured = run.detectors - run.not_applicable.keys()
    scored = scores_of(test, oods, measured, run.scored_by) if oods else {}
    after, temperatures = _after_temperature(test)
    features = {name: outputs.features for name, outputs in oods.items()}
    return Summary(
        histograms={name: histogram_of(each) for name, each in scored.items()},
        rocs={name: {ood: roc_of(each.ids, s) for ood, s in each.oods.items()} for name, each in scored.items()},
        before=reliability_of(test.log_probs, test.labels),
        after=after,
        temperatures=temperatures,
        norms=norms_of(test.features, features),
        components=rounded(components_of(test.features, test.labels, features)),
        wrong={name: confidently_wrong(outputs) for name, outputs in oods.items()},
        disagreements=disagreements(scored, run),
    )


def _after_temperature(test: Outputs) -> tuple[Reliability | None, tuple[float, float] | None]:
    try:
        scaled, temperatures = cross_fitted(test.log_probs, test.labels, seed=0)
    except NoTemperatureError:
        return None, None
    return reliability_of(scaled, test.labels), temperatures


def confidently_wrong(outputs: Outputs, n: int = 12) -> list[Wrong]:
    """Return the n images of an OOD set with the lowest OOD scores, the lowest first."""
    order = np.argsort(outputs.ood_score, kind="stable")[:n]
    return [
        Wrong(
            int(i),
            int(outputs.log_probs[i].argmax()),
            float(np.exp(outputs.log_probs[i].max())),
            float(outputs.ood_score[i]),
        )
        for i in order
    ]


def disagreements(scored: Mapping[str, Scored], run: Result) -> list[str]:
    """Name the AUROCs that the stored outputs give otherwise than metrics.json has them."""
    found = []
    for detector, each in scored.items():
        for ood, scores in each.oods.items():
            recorded = run.numbers.get((ood, detector, "auroc"))
            computed = auroc(each.ids, scores)
            if recorded is not None and abs(recorded - computed) > AGREE:
                found.append(
                    f"AUROC of {detector} on {ood}: {recorded:.6f} in metrics.json, {computed:.6f} from the outputs"
                )
    return found
