"""Every detector that pytorch-ood has too, on the same tensors: the same order of the images.

Where the library's definition or its defaults are others, the test says so and sets what makes them equal.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import pytorch_ood.detector as peers
import torch
from helpers.toy import Problem, detector, random_problem
from scipy.stats import spearmanr
from torch import Tensor, nn

from oodbench.detectors.logits import temperature
from oodbench.detectors.reference import Array, class_logits

PROBLEM = random_problem(K=5, D=12, n=300)
TRAIN, TEST = PROBLEM.reference.train, PROBLEM.test
F_TRAIN, F_TEST = torch.from_numpy(TRAIN.features), torch.from_numpy(TEST.features)
Z_TRAIN, Z_TEST = torch.from_numpy(TRAIN.logits), torch.from_numpy(TEST.logits)
Y = torch.from_numpy(TRAIN.labels)


def linear(dtype: torch.dtype = torch.float32) -> nn.Linear:
    assert PROBLEM.reference.linear is not None
    W, b = PROBLEM.reference.linear
    head = nn.Linear(W.shape[1], W.shape[0])
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(W))
        head.bias.copy_(torch.from_numpy(b))
    return head.to(dtype)


HEAD = linear()


def maps(features: Tensor) -> Tensor:
    return features[:, :, None, None]


def head_of_maps(x: Tensor) -> Tensor:
    return HEAD(x.flatten(1))


def fitted(peer: Any, *train: Tensor) -> Tensor:
    return peer.fit_features(*train).predict_features(F_TEST)


def of_maps(peer: Any, fit: bool = False) -> Tensor:
    if fit:
        peer.fit_feature_maps(maps(F_TRAIN), Y)
    return peer.predict_feature_maps(maps(F_TEST))


def openmax() -> Tensor:
    """The library fits the tail of all images of a class: here of those predicted as it, so that all are correct."""
    return peers.OpenMax(None, tailsize=20, alpha=3).fit_logits(Z_TRAIN, Z_TRAIN.argmax(1)).predict_logits(Z_TEST)


def she() -> Tensor:
    return fitted(peers.SHE(None, HEAD), F_TRAIN, Y)


WB = (HEAD.weight, HEAD.bias)
CASES: dict[str, tuple[dict[str, Any], Callable[[], Tensor]]] = {
    "msp": ({}, lambda: peers.MaxSoftmax(None).predict_logits(Z_TEST.double())),
    "maxlogit": ({}, lambda: peers.MaxLogit(None).predict_logits(Z_TEST)),
    "energy": ({"temperature": 0.5}, lambda: peers.EnergyBased(None, t=0.5).predict_logits(Z_TEST)),
    "entropy": ({}, lambda: peers.Entropy(None).predict_logits(Z_TEST.double())),
    "gen": ({"M": 3}, lambda: peers.GEN(None, gamma=0.1, M=3).predict_logits(Z_TEST.double())),  # its M: all
    "kl_matching": ({}, lambda: peers.KLMatching(None).fit_logits(Z_TRAIN, Y).predict_logits(Z_TEST)),
    "openmax": ({}, openmax),  # its tail: 25, its alpha: 10
    "mahalanobis": ({}, lambda: fitted(peers.Mahalanobis(None), F_TRAIN, Y)),
    "relative_mahalanobis": ({}, lambda: fitted(peers.RMD(None), F_TRAIN.double(), Y)),
    "gmm": ({"ridge": 1e-6}, lambda: fitted(peers.GMM(None), F_TRAIN, Y)),
    "knn": ({"k": 50}, lambda: fitted(peers.KNN(None, k=50), F_TRAIN, Y)),
    "nnguide": ({"k": 10, "share": 1.0}, lambda: fitted(peers.NNGuide(None, HEAD), F_TRAIN, Y)),  # its bank: all
    "vim": ({"dim": 6}, lambda: fitted(peers.ViM(None, 6, *WB), F_TRAIN, Y)),
    "pnml": ({}, lambda: fitted(peers.PNML(None, HEAD), F_TRAIN, Y)),
    "react": ({}, lambda: of_maps(peers.ReAct(None, head_of_maps), fit=True)),
    "ash_p": ({"percentile": 65}, lambda: of_maps(peers.ASH(None, head_of_maps, "ash-p"))),  # its share: 65 %
    "ash_b": ({"percentile": 65}, lambda: of_maps(peers.ASH(None, head_of_maps, "ash-b"))),
    "ash_s": ({"percentile": 65}, lambda: of_maps(peers.ASH(None, head_of_maps))),
    "scale": ({"percentile": 65}, lambda: of_maps(peers.SCALE(None, head_of_maps))),
    "lts": ({"percentile": 75}, lambda: peers.LTS(None, HEAD, p=0.25).predict_features(F_TEST)),  # its p is kept
    "dice": ({}, lambda: fitted(peers.DICE(None, *WB, p=0.9), F_TRAIN, Y)),
    "fdbd": ({}, lambda: fitted(peers.fDBD(None, HEAD), F_TRAIN)),  # has no distance_as_normalizer: false
    "nci": ({"alpha": 0.1}, lambda: fitted(peers.NCI(None, HEAD, alpha=0.1), F_TRAIN)),  # its alpha: 0
    "gradnorm": ({}, lambda: peers.GradNorm(linear(), lambda name: name == "weight").predict(F_TEST)),  # its: all
    "she": ({}, she),
}


@pytest.mark.parametrize("name", CASES)
def test_the_order_is_that_of_pytorch_ood(name: str) -> None:
    hyperparameters, peer = CASES[name]
    problem = everything_right() if name == "openmax" else PROBLEM
    ours = detector(name, **hyperparameters)(problem.test, problem.reference)
    assert order_agreement(ours, peer()) > (0.999 if name == "openmax" else 0.999999)  # whose tail it fits by search


def everything_right() -> Problem:
    train = TRAIN._replace(labels=TRAIN.log_probs.argmax(1))
    return PROBLEM._replace(reference=PROBLEM.reference._replace(train=train))


def order_agreement(ours: Array, theirs: Tensor) -> float:
    return float(spearmanr(ours, theirs.detach().double().numpy()).statistic)


def test_odin_unperturbed_is_odin_with_a_step_of_zero() -> None:
    theirs = peers.ODIN(linear(torch.float64), eps=0.0, temperature=1000).predict(F_TEST.double())
    assert order_agreement(detector("odin_unperturbed")(TEST, PROBLEM.reference), theirs) > 0.999999


def test_vra_equals_pytorch_ood_with_equal_percentiles() -> None:
    """The library takes percentiles of each feature, the public benchmark those of all features together."""
    values = np.sort(TRAIN.features[:, 0])
    random = np.random.default_rng(0)
    alike = np.stack([random.permutation(values) for _ in range(TRAIN.features.shape[1])], axis=1)
    reference = PROBLEM.reference._replace(train=TRAIN._replace(features=alike))
    peer = peers.VRA(None, head_of_maps, lower_percentile=0.1, upper_percentile=0.9)
    peer.fit_feature_maps(maps(torch.from_numpy(alike)), Y)
    theirs = peer.predict_feature_maps(maps(F_TEST))
    assert order_agreement(detector("vra")(TEST, reference), theirs) > 0.9999
    assert order_agreement(detector("vra")(TEST, PROBLEM.reference), of_maps(peer, fit=True)) < 0.9999


def test_the_temperature_is_likelier_than_that_of_pytorch_ood() -> None:
    z = class_logits(TRAIN) / 30  # as small as LogitNorm's
    peer = peers.TemperatureScaling(None).fit_logits(torch.from_numpy(z), Y)

    def nll(b: float) -> float:
        return nn.functional.cross_entropy(torch.from_numpy(z) * b, Y).item()

    assert nll(1 / temperature(z, TRAIN.labels)) < nll(1 / peer.t.item()) - 0.1
