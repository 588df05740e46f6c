"""One call of each method of a loss, before hours of training end in an output that no metric can read."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from oodbench.losses.objective import Objective

FIXED_COLUMNS = ("epoch", "loss", "accuracy", "seconds", "images_per_second", "lr")  # of train.csv, whatever the loss


def try_out(objective: Objective, num_features: int, num_classes: int) -> None:
    """Call loss, diagnostics, finalize, logits, log_probs and ood_score with 2K random features, each class twice.

    Raises ValueError, naming the method, for a result of another shape or type than `Objective` says, and for what the
    method raises. It uses up the objective, which has been trained by nothing, and numbers of torch's generator.
    """
    B, K = 2 * num_classes, num_classes
    features, labels = torch.randn(B, num_features), torch.arange(B) % K
    with _naming(objective, "loss"):
        found = objective.loss(features.clone().requires_grad_(), labels)
        if not isinstance(found, Tensor) or found.shape != () or not found.requires_grad:
            raise ValueError(f"{_what(found)} was returned; a scalar tensor with a gradient is needed")
    with torch.no_grad():
        with _naming(objective, "diagnostics"):
            for name, value in objective.diagnostics(features.clone(), labels).items():
                if name in FIXED_COLUMNS:
                    raise ValueError(f"{name} is a column of every train.csv; another name is needed")
                if not isinstance(value, Tensor) or value.shape != () or not value.is_floating_point():
                    raise ValueError(f"{name} is {_what(value)}; a scalar float tensor is needed")
        with _naming(objective, "finalize"):
            objective.finalize(features, labels)
        objective.eval()
        with _naming(objective, "logits"):
            logits = objective.logits(features.clone())
            C = logits.shape[-1] if isinstance(logits, Tensor) and logits.ndim else 0
            _check(logits, (B, max(C, K)))
        with _naming(objective, "log_probs"):
            _check(log_probs := objective.log_probs(logits.double()), (B, K))
            if not log_probs.isfinite().all():
                raise ValueError("a log-probability is NaN or infinite; metrics and temperatures need finite ones")
        with _naming(objective, "ood_score"):
            _check(objective.ood_score(logits.double()), (B,))


def _check(found: Any, shape: tuple[int, ...]) -> None:
    if not isinstance(found, Tensor) or found.shape != shape or not found.is_floating_point():
        raise ValueError(f"{_what(found)} was returned for {shape[0]} images; a float tensor of {shape} is needed")


def _what(found: Any) -> str:
    if not isinstance(found, Tensor):
        return f"a {type(found).__name__}"
    without = "" if found.requires_grad else " without a gradient"
    return f"a {str(found.dtype).removeprefix('torch.')} tensor of {tuple(found.shape)}{without}"


@contextmanager
def _naming(objective: Objective, method: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # of anybody's code
        raise ValueError(f"{type(objective).__name__}.{method}: {error}") from error
