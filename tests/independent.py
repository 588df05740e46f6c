"""The numbers of a finished run once more, from its files alone, with public libraries and nothing of oodbench:

    python tests/independent.py RUN        RUN has metrics.json, config.yaml, model.safetensors and outputs/

prints every number beside the run's own. Each formula is the paper's, in float64, written for reading and not for
speed. Three steps, each compared with what the run has stored:

1. logits from features and weights         up to float32's rounding: the network multiplies in float32
2. log p and OOD scores from stored logits  exactly
3. metrics from these, by scikit-learn      exactly

Letters: N images, D features, K classes, C >= K logits, the K classes first. Higher OOD score = more likely OOD.
"""

import json
import sys
from math import log
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray
from safetensors.numpy import load_file
from scipy.optimize import brentq, minimize_scalar
from scipy.spatial.distance import cdist
from scipy.special import log_expit, log_softmax, logsumexp
from sklearn.covariance import EmpiricalCovariance
from sklearn.metrics import accuracy_score, average_precision_score, roc_auc_score, roc_curve
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

Array = NDArray[Any]
Arrays = dict[str, Array]
EXACT = 1e-9
GRID = 2e-5  # of an integral by trapezoids
FLOAT32 = 1e-5  # of the largest logit; a product of 512 float32 numbers is wrong by less
FLOAT32_SQUARE = 4e-7  # 2 - 2 q . Q of unit vectors, likewise
BINS = 15


class Row(NamedTuple):
    name: str
    ours: float
    independent: float
    tolerance: float

    @property
    def agrees(self) -> bool:
        return abs(self.ours - self.independent) <= self.tolerance  # False for NaN


# ---- the losses


def logits(loss: dict[str, Any], weights: Arrays, train: Arrays, features: Array) -> Array:
    """(N, D) -> (N, C), the loss's head"""
    w = {name.removeprefix("objective."): a.astype(float) for name, a in weights.items() if "objective." in name}
    f = features.astype(float)
    kind = loss["_target_"].split(".")[-1]
    if kind == "Circle":  # scaled cosines to the prototypes: learned, or the classes' mean directions
        unit, labels = normalize(train["features"].astype(float)), train["labels"]
        means = np.stack([unit[labels == k].mean(0) for k in np.unique(labels)])
        return loss["scale"] * cosine_similarity(f, w["prototypes"] if loss["variant"] == "class_level" else means)
    if kind == "IsoMaxPlus":  # -|d_s| distance of the directions
        return -abs(w["distance_scale"]) * cdist(normalize(f), normalize(w["prototypes"]))
    if kind == "Halo":  # -gamma |z - c|^2 / D shifted by gamma |z|^2 / D, and the abstain class at the origin
        z, c = f @ w["embed.weight"].T + w["embed.bias"], w["centroids"] - w["centroids"].mean(0)
        (K, D), ls, gamma = c.shape, loss["label_smoothing"], np.log1p(np.exp(w["raw_gamma"]))
        ratio = (1 - ls + ls / K) / (ls / K) if ls else 0.99 / (0.01 / K)
        first = 20 / (1 + 2 / D) if loss["gamma"] is None else loss["gamma"]
        abstain = first * 2 / D - log(ratio) if loss["abstain_bias"] is None else loss["abstain_bias"]
        closer = gamma * ((z**2).sum(1, keepdims=True) - cdist(z, c, "sqeuclidean")) / D
        return np.column_stack([closer, np.full(len(z), abstain)])
    if kind == "T2FNorm":  # the feature divided by tau, the bias not
        f = f / loss["tau"]
    return f @ w["head.weight"].T + w["head.bias"]


def log_p_and_own_score(loss: dict[str, Any], z: Array) -> tuple[Array, Array]:
    """(N, C) logits -> (N, K), (N,): the loss's predictive probabilities and its own OOD score"""
    kind, z = loss["_target_"].split(".")[-1], z.astype(float)
    if kind == "Halo":
        log_p = log_softmax(z, axis=1)
        return log_p[:, :-1], log_p[:, -1]
    if kind == "GHMC":
        return log_expit(z), -z.max(1)
    if kind in ("Circle", "IsoMaxPlus"):
        return log_softmax(z, axis=1), -z.max(1) / loss.get("scale", 1)
    log_p = log_softmax(z, axis=1)
    return log_p, -log_p.max(1)


# ---- detectors: (N,) OOD scores


def detector_scores(settings: dict[str, Any], train: Arrays, x: Arrays) -> Arrays:
    """{detector: its hyperparameters} -> {detector: (N,)}, of those that are known here"""
    z, f = x["logits"][:, : x["log_probs"].shape[1]].astype(float), x["features"].astype(float)
    bank, labels = train["features"].astype(float), train["labels"]
    found = {"ood_score": x["ood_score"], "msp": -np.exp(x["log_probs"].max(1)), "maxlogit": -z.max(1)}
    if "energy" in settings:
        T = settings["energy"]["temperature"]
        found["energy"] = -T * logsumexp(z / T, axis=1)
    if "knn" in settings:
        neighbours = NearestNeighbors(n_neighbors=settings["knn"]["k"]).fit(normalize(bank))
        found["knn"] = neighbours.kneighbors(normalize(f))[0][:, -1] ** 2
    if "mahalanobis" in settings:
        means = np.stack([bank[labels == k].mean(0) for k in np.unique(labels)])
        covariance = EmpiricalCovariance(assume_centered=True).fit(bank - means[labels]).covariance_
        covariance += settings["mahalanobis"]["ridge"] * np.diag(covariance).mean() * np.eye(len(covariance))
        found["mahalanobis"] = cdist(f, means, "mahalanobis", VI=np.linalg.inv(covariance)).min(1) ** 2
    return {name: found[name] for name in settings if name in found}


# ---- metrics


def ood_metrics(of_id: Array, of_ood: Array) -> dict[str, float]:
    """(N,), (M,) OOD scores -> {metric: value}"""
    score, is_ood = np.concatenate([of_id, of_ood]), np.repeat([0, 1], [len(of_id), len(of_ood)])

    def fpr95(positive: Array, score: Array) -> float:
        fpr, tpr, _ = roc_curve(positive, score, drop_intermediate=False)
        return float(fpr[tpr >= 0.95][0])

    return {
        "auroc": roc_auc_score(is_ood, score),
        "fpr95_idpos": fpr95(1 - is_ood, -score),
        "fpr95_oodpos": fpr95(is_ood, score),
        "aupr_in": average_precision_score(1 - is_ood, -score),
        "aupr_out": average_precision_score(is_ood, score),
    }


def id_metrics(log_p: Array, labels: Array) -> dict[str, float]:
    """(N, K), (N,) -> {metric: value}"""
    p, one_hot = np.exp(log_p), np.eye(log_p.shape[1])[labels]
    confidence, correct = p.max(1), log_p.argmax(1) == labels
    ascending = np.argsort(confidence, kind="stable")
    shared = pd.Series(correct.astype(float)).groupby(confidence).transform("mean").to_numpy()  # of equal confidences
    adaptive = [abs((shared - confidence)[part].sum()) for part in np.array_split(ascending, BINS)]
    by_confidence = pd.Series(~correct).groupby(-log_p.max(1))  # the surest images first
    wrong, accepted = by_confidence.sum().cumsum().to_numpy(), by_confidence.size().cumsum().to_numpy()
    risk, c = wrong / accepted, correct.mean()
    a = roc_auc_score(correct, log_p.max(1)) if 0 < c < 1 else 0.0
    return {
        "aurc": np.trapezoid([risk[0], *risk], [0, *accepted / len(p)]),
        "augrc": (1 - a) * c * (1 - c) + (1 - c) ** 2 / 2,
        "accuracy": accuracy_score(labels, log_p.argmax(1)),
        "ece": sum(n * gap for n, gap in bins(confidence, correct)) / len(p),
        "adaptive_ece": sum(adaptive) / len(p),
        "classwise_ece": sum(n * gap for pk, yk in zip(p.T, one_hot.T, strict=True) for n, gap in bins(pk, yk))
        / p.size,
        "mce": max(gap for _, gap in bins(confidence, correct)),
        "nll": -log_p[one_hot == 1].mean(),
        "brier": ((p - one_hot) ** 2).sum(1).mean(),
        "smooth_ece": smooth_ece(confidence, correct),
    }


def smooth_ece(confidence: Array, correct: Array) -> float:
    """(N,), (N,) -> the s at which the integral of |smoothed residual| is s itself (Blasiok & Nakkiran, 2024)"""
    t = np.linspace(0, 1, 1001)[:, None]
    reflected = [sign * confidence + 2 * k for k in range(-2, 3) for sign in (-1, 1)]

    def excess(s: float) -> float:
        kernel = sum(np.exp(-(((t - at) / s) ** 2) / 2) for at in reflected) / (s * np.sqrt(2 * np.pi))
        return float(np.trapezoid(abs((kernel * (correct - confidence)).mean(1)), t[:, 0])) - s

    least = 2**-10  # where the error is below the width here already, it is the error at this width
    return least + excess(least) if excess(least) <= 0 else float(brentq(excess, least, 1, xtol=1e-7))


def autc(of_id: Array, of_ood: Array) -> float:
    """(N,), (M,) -> area under (FPR + FNR) / 2 over all thresholds of 1 - p (Humblot-Renaux et al., 2023)"""
    id_, ood = 1 + of_id, 1 + of_ood
    t = np.unique([0, *id_, *ood, 1])
    fpr, fnr = (id_ >= t[1:, None]).mean(1), (ood <= t[:-1, None]).mean(1)  # between two thresholds they are constant
    return float(np.diff(t) @ (fpr + fnr) / 2)


def bins(confidence: Array, correct: Array) -> list[tuple[int, float]]:
    """(N,), (N,) -> [(images, |accuracy - mean confidence|)] of the bins (lo, hi] that are not empty"""
    found = []
    for b in range(BINS):  # 0 is in the first, and in the last what rounding has made larger than 1
        inside = ((b / BINS < confidence) | (b == 0)) & ((confidence <= (b + 1) / BINS) | (b == BINS - 1))
        if inside.any():
            found.append((inside.sum(), abs(correct[inside].mean() - confidence[inside].mean())))
    return found


def least_nll(log_p: Array, labels: Array) -> float:
    """(N, K), (N,) -> the least `scaled_nll` of any temperature (Guo et al., 2017)"""
    ends = (-14, 14)  # T from 1e-6 to 1e6
    found = minimize_scalar(lambda log_t: scaled_nll(np.exp(log_t), log_p, labels), bounds=ends, method="bounded")
    return float(found.fun)


def scaled_nll(T: float, log_p: Array, labels: Array) -> float:
    """-> mean -log softmax(log p / T) of the label"""
    return float(-log_softmax(log_p / T, axis=1)[np.arange(len(labels)), labels].mean())


def halves(labels: Array) -> Array:
    """(N,) -> (N,), 0 or 1: shuffled by seed 0, sorted by class, every other one"""
    shuffled = np.random.default_rng(0).permutation(len(labels))
    half = np.empty(len(labels), int)
    half[sorted(shuffled, key=lambda i: labels[i])] = np.arange(len(labels)) % 2
    return half


# ---- the comparison


def compared(run: Path) -> list[Row]:
    """Every number of the run that is known here, beside the independent one."""
    ours, config = json.loads((run / "metrics.json").read_text()), yaml.safe_load((run / "config.yaml").read_text())
    outputs = {name: load_file(run / f"outputs/{name}.safetensors") for name in ("train", "test", *ours["ood"])}
    return [
        *compared_outputs(config["loss"], load_file(run / "model.safetensors"), outputs),
        *compared_calibration(ours, outputs["test"]),
        *compared_detection(ours, outputs),
    ]


def compared_outputs(loss: dict[str, Any], weights: Arrays, outputs: dict[str, Arrays]) -> list[Row]:
    """Largest differences; what is compared afterwards are our log p and scores."""
    rows = []
    for name, x in outputs.items():
        z = logits(loss, weights, outputs["train"], x["features"])
        log_p, own = log_p_and_own_score(loss, x["logits"])
        rows += [
            Row(f"{name} logits / largest", abs(z - x["logits"]).max() / abs(z).max(), 0, FLOAT32),
            Row(f"{name} log p", abs(log_p - x["log_probs"]).max(), 0, EXACT),
            Row(f"{name} OOD score", abs(own - x["ood_score"]).max(), 0, EXACT),
        ]
    return rows


def compared_calibration(ours: dict[str, Any], test: Arrays) -> list[Row]:
    log_p, labels = test["log_probs"], test["labels"]
    normalised, theirs = log_softmax(log_p, axis=1), ours["calibration"]
    versions = {"own": log_p, "normalised": normalised}
    rows = [Row(name, ours[name], value, EXACT) for name, value in id_metrics(log_p, labels).items() if name in ours]
    if theirs["temperature_scaled"]:
        half, T = halves(labels), theirs["temperature_scaled"]["temperatures"]
        versions["temperature_scaled"] = log_softmax(log_p / np.array(T)[1 - half][:, None], axis=1)
        for h in (0, 1):
            fitted_to = log_p[half == h], labels[half == h]
            rows.append(Row(f"NLL at temperature {h}", scaled_nll(T[h], *fitted_to), least_nll(*fitted_to), EXACT))
    for version, log_p in versions.items():
        values = id_metrics(log_p, labels)
        numbers = theirs.get(version, theirs["own"])  # normalised probabilities that were so before are not given twice
        rows += [
            Row(f"{version} {name}", numbers[name], values[name], GRID if name == "smooth_ece" else EXACT)
            for name in values
            if name in numbers
        ]
    return rows


def compared_detection(ours: dict[str, Any], outputs: dict[str, Arrays]) -> list[Row]:
    settings, rows = ours["provenance"]["detector"], []
    scores = {name: detector_scores(settings, outputs["train"], x) for name, x in outputs.items() if name != "train"}
    for ood, numbers in ours["ood"].items():
        for detector in (name for name in scores[ood] if name in numbers):
            values = scores["test"][detector], scores[ood][detector]
            metrics, tolerances = ood_metrics(*values), rounding(*values) if detector == "knn" else {}
            if "autc" in numbers[detector]:
                metrics["autc"] = autc(*values)
            rows += [
                Row(f"{ood} {detector} {name}", numbers[detector][name], value, EXACT + tolerances.get(name, 0))
                for name, value in metrics.items()
            ]
    return rows


def rounding(of_id: Array, of_ood: Array) -> dict[str, float]:
    """Bounds of each metric where squared distances are computed from float32 products: all change in one direction."""
    exact = ood_metrics(of_id, of_ood)
    ends = [ood_metrics(of_id + e, of_ood - e) for e in (-FLOAT32_SQUARE, FLOAT32_SQUARE)]
    return {name: max(abs(end[name] - exact[name]) for end in ends) for name in exact}


def main() -> None:
    rows = compared(Path(sys.argv[1]))
    wide = max(len(row.name) for row in rows)
    print(f"{'metric':<{wide}}  {'ours':>18}  {'independent':>18}  {'difference':>10}")
    for name, ours, independent, tolerance in rows:
        mark = "" if abs(ours - independent) <= tolerance else f"  more than {tolerance:.0e}"
        print(f"{name:<{wide}}  {ours:18.12f}  {independent:18.12f}  {ours - independent:10.1e}{mark}")
    if differ := sum(not row.agrees for row in rows):
        sys.exit(f"{differ} of {len(rows)} numbers differ")
    print(f"all {len(rows)} numbers agree")


if __name__ == "__main__":
    main()
