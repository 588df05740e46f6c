"""Parts of the second definitions of detectors: one image at a time, in float64, in plain NumPy."""

from collections.abc import Callable
from typing import Any

import numpy as np
from helpers.toy import Problem, blobs, detector, random_problem
from hypothesis import given, settings
from hypothesis import strategies as st

from oodbench.detectors.reference import Array
from oodbench.outputs import Outputs

Definition = Callable[[Problem], list[float]]
Definitions = dict[str, tuple[dict[str, Any], Definition]]  # {detector: (hyperparameters, its second definition)}


def definition_test(test: Callable[..., None]) -> Callable[..., None]:
    """Run a test on random numbers of classes and features, extra logits, and seeds."""
    seeds = st.integers(0, 2**32 - 1)
    sizes = given(K=st.integers(2, 5), D=st.integers(4, 9), extra=st.integers(0, 1), seed=seeds)
    return settings(max_examples=6, deadline=None)(sizes(test))


def check_definition(name: str, definitions: Definitions, problem: Problem) -> None:
    hyperparameters, definition = definitions[name]
    scores = detector(name, **hyperparameters)(problem.test, problem.reference)
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, definition(problem), rtol=2e-4, atol=2e-5)


def uses_held_out_images(name: str) -> bool:
    """Return True if the scores change when the run has held-out images."""
    test, _, reference = random_problem(n=150)
    held_out = reference._replace(validation=random_problem(n=150, seed=1).test)
    return bool((detector(name)(test, held_out) != detector(name)(test, reference)).any())


def check_zero_features(name: str) -> None:
    """Images whose features are all 0, and features that are 0 in every image, have finite scores."""
    images, columns = blobs(), blobs()
    images.test.features[::2] = 0
    images.reference.train.features[::2] = 0
    columns.test.features[:, :5] = 0
    columns.reference.train.features[:, :5] = 0
    for problem in (images, columns):
        assert np.isfinite(detector(name)(problem.test, problem.reference)).all()


def linear_head(problem: Problem) -> tuple[Array, Array]:
    assert problem.reference.linear is not None
    W, b = problem.reference.linear
    return W.astype("f8"), b.astype("f8")


def features(problem: Problem) -> tuple[Array, Array]:
    """-> of the training images, of the test images"""
    return problem.reference.train.features.astype("f8"), problem.test.features.astype("f8")


def probabilities(outputs: Outputs) -> Array:
    return np.exp(outputs.log_probs)


def class_logits(outputs: Outputs) -> Array:
    return outputs.logits[:, : outputs.log_probs.shape[1]].astype("f8")


def log_odds(p: float) -> float:
    """log((1 - p) / p)"""
    return float(np.log(1 - p) - np.log(p))
