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
    state = dict([*model.named_parameters(), *model.backbone.named_buffers()])
    finite = torch.stack([value.isfinite().all() for value in state.values()]).tolist()  # waits for a GPU once
    spoilt = [name for name, is_finite in zip(state, finite, strict=True) if not is_finite]
    if spoilt:
        raise FloatingPointError(f"a step of epoch {epoch + 1} made {', '.join(spoilt)} NaN or infinite; {ADVICE}")


class RunningMeans:
    """Running means of an epoch, kept in the same tensors on the device from the first epoch to the last.

    watch: check each loss at once, which would wait for a GPU.
    """

    def __init__(self, history: list[Row], steps: int, device: torch.device, watch: bool) -> None:
        """steps: of an epoch; history: the rows of finished epochs, which grows."""
        self.history, self.watch = history, watch
        self.losses = torch.zeros(steps, device=device)
        self.sums: dict[str, Tensor] = {}

    def begin(self, epoch: int, step: int, earlier: dict[str, Any]) -> None:
        """Begin an epoch, or continue the first after its first `step` steps, whose `state` is `earlier`."""
        self.epoch, self.first, self.steps = epoch, step, step
        self.images, self.seconds = earlier.get("images", 0), earlier.get("seconds", 0.0)
        self.started = time.perf_counter()
        for total in self.sums.values():
            total.zero_()
        self.sums |= {name: total.clone().to(self.losses.device) for name, total in earlier.get("sums", {}).items()}

    def state(self) -> dict[str, Any]:
        """Return the sums of an unfinished epoch, for a checkpoint."""
        sums = {name: value.to("cpu", copy=True) for name, value in self.sums.items()}
        return {"images": self.images, "seconds": self.elapsed(), "sums": sums}

    def elapsed(self) -> float:
        """Return the seconds spent in the epoch, including those before a restart."""
        return self.seconds + time.perf_counter() - self.started

    def add(self, values: dict[str, Tensor], step: Tensor, images: int) -> None:
        """Add the scalars of step (1,), which are means over its images. Nothing here waits for a GPU."""
        self.losses.index_copy_(0, step, values["loss"][None])
        for name, value in values.items():
            if name not in self.sums:
                self.sums[name] = torch.zeros_like(value)
            self.sums[name].add_(value * images)

    def count(self, images: int) -> None:
        """Count a step that was added, and its images."""
        self.steps, self.images = self.steps + 1, self.images + images
        if self.watch and not self.losses[self.steps - 1].isfinite():
            self.check()

    def check(self) -> None:
        """Raise FloatingPointError naming the first step with a NaN or infinite loss, and the numbers before it."""
        losses = self.losses[self.first : self.steps]
        bad = (~losses.isfinite()).nonzero()
        if len(bad):
            first = int(bad[0])
            since = "it is the first after a restart" if self.first else "it is the first step"
            before = f"the step before had loss {losses[first - 1]:.4g}" if first else since
            last = ", ".join(f"{k} {v:.4g}" for k, v in self.history[-1].items()) if self.history else "none"
            raise FloatingPointError(
                f"the loss is {losses[first]} at epoch {self.epoch + 1}, step {self.first + first + 1}; {before}; last "
                f"finished epoch: {last}; {ADVICE}"
            )

    def so_far(self) -> str:
        """Return text for the progress bar: this epoch's means, or the last epoch's where reading them would wait."""
        known = self.means() if self.watch else {}
        known = known or (self.history[-1] if self.history else {})
        return "".join(f" {name} {known[name]:.3f}" for name in ("loss", "accuracy") if name in known)

    def row(self) -> Row:
        """Return the epoch's means, its seconds and images per second."""
        self.check()
        means, seconds = self.means(), self.elapsed()
        return {"epoch": self.epoch + 1, **means, "seconds": seconds, "images_per_second": self.images / seconds}

    def means(self) -> Row:
        """Return the means so far, in one read from the device."""
        totals = torch.stack([*self.sums.values()]).tolist()
        return {name: total / self.images for name, total in zip(self.sums, totals, strict=True)}
