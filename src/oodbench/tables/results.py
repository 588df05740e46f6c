"""A finished run as tables have it. Shares in [0, 1]."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from oodbench.evaluation.intervals import Interval
from oodbench.evaluation.metric import arrays_key
from oodbench.evaluation.metrics import metric_of
from oodbench.runs.paths import place_of
from oodbench.runs.reduced import Resampled
from oodbench.tables.fields import Key
from oodbench.tables.kinds import Kind


class Result(NamedTuple):
    """A finished run. `dataset`, `backbone`, `loss`, `recipe` are names."""

    folder: Path
    dataset: str
    backbone: str
    loss: str
    recipe: str
    loss_class: str  # of oodbench.losses
    hash: str
    seed: int
    epochs: int | None  # None: trained by other code, for how long is not known
    weights: str  # checksum; of older runs ""
    precision: str
    train_limit: int | None
    test_limit: int | None
    train_images: int
    held_out: int  # training images that were not trained on, to choose hyperparameters by
    scored_by: dict[str, str]  # {detector: its configuration}
    test_images: int
    ood_images: dict[str, int]
    near: frozenset[str]
    shifted: frozenset[str]  # of known classes: no OOD, in no mean
    note: str
    numbers: dict[Key, float]
    intervals: dict[Key, Interval]  # 95 %, over the images; of older runs none
    calibration: dict[str, dict[str, Any] | None]  # {version of the probabilities: numbers}; of older runs {}
    digests: dict[str, str]  # {"test" or OOD set: of its images}
    code: dict[str, str]  # {"loss" or "backbone": digest of its file}; of older runs {}
    detector_code: dict[str, str]  # {detector: digest, see `runs.code`}; of older runs {}
    metric_code: dict[str, str]  # {metric: digest}; of older runs {}
    ood_settings: dict[str, dict[str, str]]  # {OOD set: {key of its configuration: printed value}}, without places
    validation: dict[str, str]  # what hyperparameters of detectors were chosen on; {} where nothing was held out
    settings: dict[str, str]  # {dotted key of the whole configuration: printed value}
    not_applicable: dict[str, str]  # {detector: why it has no numbers}
    resampled: dict[str, Resampled]  # {see `arrays_key`: (R,), rounded to 1e-5}; {} where none belong to the numbers

    def settings_of(self, part: str) -> dict[str, str]:
        """Return {dotted key below a part of the configuration: printed value}."""
        prefix = f"{part}."
        return {key.removeprefix(prefix): value for key, value in self.settings.items() if key.startswith(prefix)}

    @property
    def place(self) -> Path:
        """Return <dataset>/<backbone>/<loss>/<recipe>-<hash>/seed<n>."""
        return place_of(self.folder)

    @property
    def backbone_settings(self) -> dict[str, str]:
        return self.settings_of("backbone")

    @property
    def loss_settings(self) -> dict[str, str]:
        return self.settings_of("loss")

    @property
    def recipe_settings(self) -> dict[str, str]:
        return self.settings_of("recipe")

    def interval(self, key: Key) -> Interval | None:
        """Return the 95 % interval of a number over the images; of a mean over sets, that of its resamples."""
        if key not in self.intervals and (resampled := self.resampled.get(arrays_key(*key))) is not None:
            return metric_of(key[2]).interval(self.numbers[key], np.asarray(resampled))
        return self.intervals.get(key)

    def kind(self, ood: str) -> Kind:
        """Return near where the run's data set calls the OOD set so, and for the mean of near sets."""
        if ood in self.shifted:
            return Kind.SHIFTED
        return Kind.NEAR if ood in self.near else Kind.FAR

    @property
    def test_split(self) -> str:
        """Return which part of the test set the run was tested on, "test" if on the whole."""
        return self.settings.get("dataset.test.split", "test")

    @property
    def detectors(self) -> set[str]:
        return {detector for _, detector, _ in self.numbers if detector} | self.not_applicable.keys()


class Unreadable(NamedTuple):
    """A finished run that no table has, and the reason."""

    folder: Path
    reason: str


class Found(NamedTuple):
    """The runs of a results folder; `unfinished`: how many have no metrics.json."""

    runs: list[Result]
    unfinished: int
    unreadable: list[Unreadable]
