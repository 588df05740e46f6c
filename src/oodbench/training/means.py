"""Running means of one epoch, and the checks that stop a training before it saves weights that are not finite."""

import time
from typing import Any

import torch
from torch import Tensor

from oodbench.model import Classifier

Row = dict[str, float]  # the numbers of one epoch: a line of train.csv
ADVICE = "try recipe.warmup_epochs=1 recipe.clip_grad_norm=1.0 or a lower recipe.optimizer.lr"


def check_weights(model: Classifier, epoch: int) -> None:
    """Raise FloatingPointError where a weight or a batch norm statistic is not finite, even after a finite loss."""
    state = [*model.named_parameters(), *model.backbone.named_buffers()]
    spoilt = [name for name, value in state if not value.isfinite().all()]
    if spoilt:
        raise FloatingPointError(f"a step of epoch {epoch + 1} made {', '.join(spoilt)} NaN or infinite; {ADVICE}")


class RunningMeans:
    """Running means of an epoch, kept on the device. watch: check each loss at once, which would wait for a GPU."""

    def __init__(self, epoch: int, step: int, history: list[Row], earlier: dict[str, Any], watch: bool) -> None:
        """earlier: the `state` after the epoch's first `step` steps."""
        self.epoch, self.step, self.history, self.watch = epoch, step, history, watch
        self.images, self.seconds = earlier.get("images", 0), earlier.get("seconds", 0.0)
        self.sums: dict[str, Tensor] = {k: v.clone() for k, v in earlier.get("sums", {}).items()}
        self.losses: list[Tensor] = []
        self.started = time.perf_counter()

    def state(self) -> dict[str, Any]:
        """Return the sums of an unfinished epoch, for a checkpoint."""
        sums = {name: value.cpu() for name, value in self.sums.items()}
        return {"images": self.images, "seconds": self.elapsed(), "sums": sums}

    def elapsed(self) -> float:
        """Return the seconds spent in the epoch, including those before a restart."""
        return self.seconds + time.perf_counter() - self.started

    def add(self, values: dict[str, Tensor], images: int) -> None:
        """Add one step's scalars, which are means over its images."""
        self.losses.append(values["loss"])
        for name, value in values.items():
            earlier = self.sums[name].to(value) if name in self.sums else 0  # on the device from the second on
            self.sums[name] = earlier + value * images
        self.images += images
        if self.watch and not values["loss"].isfinite():
            self.check()

    def check(self) -> None:
        """Raise FloatingPointError naming the first step with a NaN or infinite loss, and the numbers before it."""
        losses = torch.stack(self.losses)
        bad = (~losses.isfinite()).nonzero()
        if len(bad):
            first = int(bad[0])
            before = f"the step before had loss {losses[first - 1]:.4g}" if first else "it is the first step"
            last = ", ".join(f"{k} {v:.4g}" for k, v in self.history[-1].items()) if self.history else "none"
            raise FloatingPointError(
                f"the loss is {losses[first]} at epoch {self.epoch + 1}, step {self.step + first + 1}; {before}; last "
                f"finished epoch: {last}; {ADVICE}"
            )

    def so_far(self) -> str:
        """Return text for the progress bar: this epoch's means, or the last epoch's where reading them would wait."""
        known = {name: float(value) / self.images for name, value in self.sums.items()} if self.watch else {}
        known = known or (self.history[-1] if self.history else {})
        return "".join(f" {name} {known[name]:.3f}" for name in ("loss", "accuracy") if name in known)

    def row(self) -> Row:
        """Return the epoch's means, its seconds and images per second."""
        self.check()
        means = {name: float(value) / self.images for name, value in self.sums.items()}
        seconds = self.elapsed()
        return {"epoch": self.epoch + 1, **means, "seconds": seconds, "images_per_second": self.images / seconds}
