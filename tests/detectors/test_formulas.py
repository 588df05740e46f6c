"""Every detector against a second definition, an image at a time and without blocks, logarithms or shortcuts."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from helpers.toy import DETECTORS, Problem, detector, random_problem
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp, softmax
from scipy.stats import entropy as kl_or_entropy
from scipy.stats import multivariate_normal, weibull_min
from torch.nn import functional as F

from oodbench.detectors import reference as reference_module
from oodbench.detectors.neighbours import largest_products
from oodbench.detectors.openmax import SHIFT, beyond, weibull
from oodbench.detectors.reference import Array, blocks
from oodbench.detectors.shaping import percentiles_of
from oodbench.outputs import Outputs

RIDGE = 1e-6


def head_of(problem: Problem) -> tuple[Array, Array]:
    assert problem.reference.linear is not None
    W, b = problem.reference.linear
    return W.astype("f8"), b.astype("f8")


def features_of(problem: Problem) -> tuple[Array, Array]:
    """Of the training images, of the images to be scored."""
    return problem.reference.train.features.astype("f8"), problem.test.features.astype("f8")


def energy_of_head(problem: Problem, shape: Callable[[Array], Array]) -> list[float]:
    W, b = head_of(problem)
    return [-np.log(np.exp(W @ shape(f) + b).sum()) for f in features_of(problem)[1]]


def p_of(outputs: Outputs) -> Array:
    return np.exp(outputs.log_probs)


def z_of(outputs: Outputs) -> Array:
    return outputs.logits[:, : outputs.log_probs.shape[1]].astype("f8")


def logit(p: float) -> float:
    return float(np.log(1 - p) - np.log(p))


def by_gen(problem: Problem, gamma: float, M: int) -> list[float]:
    return [sum((q * (1 - q)) ** gamma for q in sorted(p)[::-1][:M]) for p in p_of(problem.test)]


def by_kl_matching(problem: Problem) -> list[float]:
    train = p_of(problem.reference.train)
    templates = [train[train.argmax(1) == k].mean(0) for k in range(train.shape[1]) if (train.argmax(1) == k).any()]
    return [min(kl_or_entropy(p, q) for q in templates) for p in p_of(problem.test)]


def by_temperature(problem: Problem) -> list[float]:
    z, y = z_of(problem.reference.train), problem.reference.train.labels

    def nll(log_T: float) -> float:
        return -np.mean([row[label] - logsumexp(row) for row, label in zip(z / np.exp(log_T), y, strict=True)])

    T = np.exp(minimize_scalar(nll, bounds=(-7, 7), method="bounded", options={"xatol": 1e-9}).x)
    return [logit(softmax(row / T).max()) for row in z_of(problem.test)]


def by_mahalanobis(problem: Problem, relative: bool) -> list[float]:
    (train, test), y = features_of(problem), problem.reference.train.labels
    means = {k: train[y == k].mean(0) for k in set(y)}
    residuals = np.stack([f - means[k] for f, k in zip(train, y, strict=True)])

    def inverse(centred: Array) -> Array:
        C = centred.T @ centred / len(centred)
        return np.linalg.inv(C + RIDGE * np.diag(C).mean() * np.eye(len(C)))

    P, P0, mean = inverse(residuals), inverse(train - train.mean(0)), train.mean(0)
    return [min((f - m) @ P @ (f - m) for m in means.values()) - relative * (f - mean) @ P0 @ (f - mean) for f in test]


def by_gmm(problem: Problem, ridge: float) -> list[float]:
    (train, test), y = features_of(problem), problem.reference.train.labels
    centred = np.stack([f - train[y == k].mean(0) for f, k in zip(train, y, strict=True)])
    added = ridge * np.mean(centred**2) * np.eye(train.shape[1])
    density = np.zeros(len(test))
    for k in set(y):
        own = train[y == k]
        normal = multivariate_normal(own.mean(0), np.cov(own.T, bias=True) + added)
        density += len(own) / len(train) * normal.pdf(test)
    return list(-np.log(density))


def by_knn(problem: Problem, k: int) -> list[float]:
    train, test = features_of(problem)
    bank = [g / np.linalg.norm(g) for g in train]
    return [sorted(np.linalg.norm(f / np.linalg.norm(f) - g) for g in bank)[k - 1] for f in test]


def by_nnguide(problem: Problem, k: int) -> list[float]:
    (train, test), energies = features_of(problem), [logsumexp(z) for z in z_of(problem.reference.train)]
    bank = [e * g / np.linalg.norm(g) for e, g in zip(energies, train, strict=True)]
    return [
        -logsumexp(z) * np.mean(sorted(f / np.linalg.norm(f) @ g for g in bank)[-k:])
        for f, z in zip(test, z_of(problem.test), strict=True)
    ]


def by_relation(problem: Problem, power: float, threshold: float) -> list[float]:
    train, test = features_of(problem)
    train, test = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (train, test))
    scores = []
    for f, p in zip(test, p_of(problem.test), strict=True):
        r = [max(f @ g, 0) * (p @ q) for g, q in zip(train, p_of(problem.reference.train), strict=True)]
        scores.append(-sum(each**power for each in r if each > threshold))
    return scores


def by_vim(problem: Problem, dim: int, alone: bool) -> list[float]:
    (W, b), (train, test) = head_of(problem), features_of(problem)
    origin = -np.linalg.lstsq(W, b, rcond=1e-5)[0]
    _, _, directions = np.linalg.svd(train - origin)  # rows, the strongest first
    strong = directions[:dim]

    def residual(f: Array) -> float:
        x = f - origin
        return float(np.linalg.norm(x - strong.T @ (strong @ x)))

    if alone:
        return [residual(f) for f in test]
    alpha = z_of(problem.reference.train).max(1).mean() / np.mean([residual(f) for f in train])
    return [alpha * residual(f) - logsumexp(z) for f, z in zip(test, z_of(problem.test), strict=True)]


def by_pnml(problem: Problem) -> list[float]:
    (W, b), (train, test) = head_of(problem), features_of(problem)
    Q = np.stack([g / np.linalg.norm(g) for g in train])
    inverse = np.linalg.inv(Q.T @ Q)
    scores = []
    for f in test:
        q = f / np.linalg.norm(f)
        g = q @ inverse @ q / (1 + q @ inverse @ q)
        scores.append(np.log(sum(p / (p + (1 - p) * p**g) for p in softmax(W @ q + b))))
    return scores


def by_react(problem: Problem, percentile: float) -> list[float]:
    threshold = np.quantile(np.ravel(features_of(problem)[0]), percentile / 100)
    return energy_of_head(problem, lambda f: np.array([min(x, threshold) for x in f]))


def by_vra(problem: Problem, low: float, high: float) -> list[float]:
    low, high = np.quantile(np.ravel(features_of(problem)[0]), [low / 100, high / 100])
    return energy_of_head(problem, lambda f: np.array([min(max(x, low), high) for x in f]))


def top(f: Array, percentile: float) -> tuple[Array, float, int]:
    """f with all but its n largest at 0, sum f / sum of those, n"""
    n = len(f) - round(len(f) * percentile / 100)
    pruned = np.zeros_like(f)
    for i in sorted(range(len(f)), key=lambda i: f[i])[-n:]:
        pruned[i] = f[i]
    return pruned, f.sum() / pruned.sum(), n


def by_ash(problem: Problem, kind: str, percentile: float) -> list[float]:
    def shape(f: Array) -> Array:
        pruned, ratio, n = top(f, percentile)
        return {"p": pruned, "s": pruned * np.exp(ratio), "b": (pruned > 0) * f.sum() / n, "scale": f * np.exp(ratio)}[
            kind
        ]

    return energy_of_head(problem, shape)


def by_lts(problem: Problem, percentile: float) -> list[float]:
    ratios = [top(f, percentile)[1] for f in features_of(problem)[1]]
    return [-logsumexp(z * r**2) for z, r in zip(z_of(problem.test), ratios, strict=True)]


def by_dice(problem: Problem, percentile: float) -> list[float]:
    (W, b), (train, test) = head_of(problem), features_of(problem)
    contribution = [[w * m for w, m in zip(row, train.mean(0), strict=True)] for row in W]
    mask = np.array(contribution) > np.quantile(contribution, percentile / 100)
    return [-logsumexp([(w * keep) @ f + c for w, keep, c in zip(W, mask, b, strict=True)]) for f in test]


def by_fdbd(problem: Problem, from_mean: bool) -> list[float]:
    (W, _), (train, test) = head_of(problem), features_of(problem)
    scores = []
    for f, z in zip(test, z_of(problem.test), strict=True):
        c = int(z.argmax())
        to_boundary = [abs(z[c] - z[j]) / np.linalg.norm(W[c] - W[j]) for j in range(len(z)) if j != c]
        scores.append(-np.mean(to_boundary) / np.linalg.norm(f - from_mean * train.mean(0)))
    return scores


def by_nci(problem: Problem, alpha: float) -> list[float]:
    (W, _), (train, test) = head_of(problem), features_of(problem)
    scores = []
    for f, z in zip(test, z_of(problem.test), strict=True):
        x = f - train.mean(0)
        scores.append(-W[z.argmax()] @ x / np.linalg.norm(x) - alpha * sum(abs(f)))
    return scores


def by_gradnorm(problem: Problem, temperature: float) -> list[float]:
    W, b = (torch.from_numpy(array) for array in head_of(problem))
    W.requires_grad_()
    scores = []
    for f in torch.from_numpy(problem.test.features.astype("f8")):
        uniform = torch.full((len(b),), 1 / len(b), dtype=torch.float64)
        loss = F.cross_entropy((W @ f + b) / temperature, uniform)
        scores.append(-torch.autograd.grad(loss, W)[0].abs().sum().item())
    return scores


def by_she(problem: Problem) -> list[float]:
    (features, test), train = features_of(problem), problem.reference.train
    scores = []
    for f, p in zip(test, p_of(problem.test), strict=True):
        c = p.argmax()
        right = [g for g, y, q in zip(features, train.labels, p_of(train), strict=True) if y == c == q.argmax()]
        scores.append(-f @ np.mean(right or features[train.labels == c], axis=0))
    return scores


def by_openmax(problem: Problem, alpha: int, tail: int) -> list[float]:
    train, weights = problem.reference.train, []
    for k in range(train.log_probs.shape[1]):
        right = (train.labels == k) & (train.log_probs.argmax(1) == k)
        own = z_of(train)[right if right.any() else train.labels == k]
        largest = sorted(np.linalg.norm(z - own.mean(0)) for z in own)[-tail:]
        c, log_scale = weibull(np.log(1 + (np.array(largest) - largest[0]) / SHIFT))
        centre = own.mean(0)

        def weight(z: Array, c: float = c, scale: float = np.exp(log_scale), m: Array = centre, t: float = largest[0]):  # type: ignore[no-untyped-def]
            with np.errstate(over="ignore"):  # far beyond the tail
                return weibull_min.cdf(1 + (np.linalg.norm(z - m) - t) / SHIFT, c, scale=scale)

        weights.append(weight)
    scores = []
    for z in z_of(problem.test):
        revised, unknown = z.copy(), 0.0
        for rank, k in enumerate(np.argsort(-z)[:alpha]):
            moved = z[k] * weights[k](z) * (alpha - rank) / alpha
            revised[k] -= moved
            unknown += moved
        scores.append(logit(np.exp(unknown) / (np.exp(unknown) + np.exp(revised).sum())) * -1)
    return scores


CASES: dict[str, tuple[dict[str, Any], Callable[[Problem], list[float]]]] = {
    "ood_score": ({}, lambda p: list(p.test.ood_score)),
    "msp": ({}, lambda p: list(-p_of(p.test).max(1))),
    "maxlogit": ({}, lambda p: [-max(z) for z in z_of(p.test)]),
    "energy": ({"temperature": 0.3}, lambda p: [-0.3 * np.log(sum(np.exp(z / 0.3))) for z in z_of(p.test)]),
    "entropy": ({}, lambda p: [kl_or_entropy(each) for each in p_of(p.test)]),
    "gen": ({"gamma": 0.1, "M": 3}, lambda p: by_gen(p, 0.1, 3)),
    "kl_matching": ({}, by_kl_matching),
    "temperature_scaling": ({}, by_temperature),
    "odin_unperturbed": ({"temperature": 7}, lambda p: [logit(max(softmax(z / 7))) for z in z_of(p.test)]),
    "openmax": ({"alpha": 2, "tail": 9}, lambda p: by_openmax(p, 2, 9)),
    "mahalanobis": ({"ridge": RIDGE}, lambda p: by_mahalanobis(p, relative=False)),
    "relative_mahalanobis": ({"ridge": RIDGE}, lambda p: by_mahalanobis(p, relative=True)),
    "gmm": ({"ridge": 0.1}, lambda p: by_gmm(p, 0.1)),
    "knn": ({"k": 5}, lambda p: by_knn(p, 5)),
    "nnguide": ({"k": 7, "share": 1.0}, lambda p: by_nnguide(p, 7)),
    "relation": ({"power": 2, "threshold": 0.1}, lambda p: by_relation(p, 2, 0.1)),
    "vim": ({"dim": 2}, lambda p: by_vim(p, 2, alone=False)),
    "residual": ({"dim": 2}, lambda p: by_vim(p, 2, alone=True)),
    "pnml": ({}, by_pnml),
    "react": ({"percentile": 70}, lambda p: by_react(p, 70)),
    "vra": ({"percentile_low": 20, "percentile_high": 70}, lambda p: by_vra(p, 20, 70)),
    "ash_p": ({"percentile": 60}, lambda p: by_ash(p, "p", 60)),
    "ash_b": ({"percentile": 60}, lambda p: by_ash(p, "b", 60)),
    "ash_s": ({"percentile": 60}, lambda p: by_ash(p, "s", 60)),
    "scale": ({"percentile": 60}, lambda p: by_ash(p, "scale", 60)),
    "lts": ({"percentile": 60}, lambda p: by_lts(p, 60)),
    "dice": ({"percentile": 60}, lambda p: by_dice(p, 60)),
    "fdbd": ({"distance_as_normalizer": True}, lambda p: by_fdbd(p, from_mean=True)),
    "nci": ({"alpha": 0.1}, lambda p: by_nci(p, 0.1)),
    "gradnorm": ({"temperature": 1.5}, lambda p: by_gradnorm(p, 1.5)),
    "she": ({}, by_she),
}


def test_every_detector_has_a_second_definition() -> None:
    assert set(CASES) == set(DETECTORS)


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=6, deadline=None)
@given(K=st.integers(2, 5), D=st.integers(4, 9), extra=st.integers(0, 1), seed=st.integers(0, 2**32 - 1))
def test_detector_equals_its_definition(name: str, K: int, D: int, extra: int, seed: int) -> None:
    problem = random_problem(K, D, n=30, seed=seed, extra=extra)
    hyperparameters, definition = CASES[name]
    scores = detector(name, **hyperparameters)(problem.test, problem.reference)
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, definition(problem), rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("name", ["knn", "nnguide", "relation", "fdbd"])
def test_a_second_definition_where_there_are_several_blocks(name: str) -> None:
    problem = random_problem(K=5, D=7, n=700, signed=True)
    problem = problem._replace(test=Outputs(*(array[:40] for array in problem.test)))
    hyperparameters, definition = CASES[name]
    scores = detector(name, **hyperparameters)(problem.test, problem.reference)
    np.testing.assert_allclose(scores, definition(problem), rtol=2e-4, atol=2e-5)


def test_fdbd_by_the_length_of_the_feature() -> None:
    problem = random_problem()
    scores = detector("fdbd", distance_as_normalizer=False)(problem.test, problem.reference)
    np.testing.assert_allclose(scores, by_fdbd(problem, from_mean=False), rtol=1e-5)


@pytest.mark.parametrize("spread", [1e-3, 1, 100])
def test_the_weibull_fit_is_the_likeliest(spread: float) -> None:
    tail = np.sort(np.random.default_rng(0).exponential(size=20)) * spread
    x = 1 + (tail - tail[0]) / SHIFT
    c, log_scale = weibull(np.log(x))
    ours = weibull_min.logpdf(x, c, scale=np.exp(log_scale)).sum()
    for dc in (-0.01, 0, 0.01):
        for ds in (-0.01, 0, 0.01):  # of the shape; of the distance between two images
            other = weibull_min.logpdf(x, c * (1 + dc), scale=np.exp(log_scale + ds / c)).sum()
            assert other <= ours + 1e-9


def test_a_weibull_tail_is_between_0_and_1_and_rises_and_without_spread_it_is_a_step() -> None:
    distance = np.linspace(0, 40_000, 999)
    w = beyond(distance, np.array([3.0, 4, 6, 20]))
    assert ((w >= 0) & (w <= 1) & (np.diff(w, prepend=0) >= 0)).all()
    assert beyond(np.array([4.9, 5.1]), np.full(20, 5.0)) == pytest.approx([0, 1])


@given(st.integers(0, 2**32 - 1), st.lists(st.floats(0, 100), min_size=1, max_size=3), st.booleans())
@settings(deadline=None, max_examples=50)
def test_percentiles_by_counting_bits_are_numpys(seed: int, percentiles: list[float], rounded: bool) -> None:
    x = np.random.default_rng(seed).normal(size=(37, 5)).astype("f4") * np.float32(10) ** (seed % 7 - 3)
    x = np.round(x) if rounded else x  # ties, zeros of both signs
    for rows in (slice(None), slice(1)):
        want = np.percentile(x[rows].astype("f8"), percentiles)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("oodbench.detectors.reference.BLOCK", 8)
            got = percentiles_of(x[rows], percentiles)
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12 * np.abs(x).max())


def test_percentiles_of_one_number_of_infinity_and_of_nan() -> None:
    assert percentiles_of(np.array([[-0.5]], "f4"), [0, 30, 100]).tolist() == [-0.5] * 3
    assert percentiles_of(np.array([[1, np.inf, 2]], "f4"), [0, 50, 100]).tolist() == [1, 2, np.inf]
    for nan in (np.nan, -np.nan):
        assert np.isnan(percentiles_of(np.array([[1, nan, 2]], "f4"), [0, 50])).all()


def test_the_largest_products_do_not_depend_on_how_the_bank_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    q, bank = random.normal(size=(9, 6)), random.normal(size=(50, 6))
    want = np.sort(q @ bank.T, axis=1)[:, -7:]
    for size in (1, 3, 7, 8, 49, 50, 51):
        monkeypatch.setattr(reference_module, "BLOCK", size)
        found = largest_products(q, (Q for (Q,) in blocks(bank)), 7)
        np.testing.assert_allclose(np.sort(found, axis=1), want, rtol=1e-12)
        np.testing.assert_allclose(found[:, 0], want[:, 0], rtol=1e-12)
