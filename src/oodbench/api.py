"""For notebooks: finished runs as a table, as networks and as figures; detectors on outputs of any network.

The names in `oodbench.API` are attributes of `oodbench`, which imports this module when one is asked for.
"""

import io
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import torch
import yaml
from numpy.typing import ArrayLike, NDArray
from torch import nn

from oodbench.data.images import SIDE
from oodbench.detectors.reference import Reference, without_training
from oodbench.evaluation.evaluate import Detector, intervals
from oodbench.evaluation.evaluate import evaluate as evaluate_outputs
from oodbench.losses.objective import Objective
from oodbench.model import Classifier, extract_features, predict
from oodbench.outputs import Outputs
from oodbench.pretrained.arrays import LogitsAlone, from_arrays, labels_of
from oodbench.pretrained.doubts import warn_of_doubts
from oodbench.pretrained.head import head_parts, head_reproduces
from oodbench.pretrained.module import last_linear, run_module
from oodbench.report.gallery import figures_of
from oodbench.report.material import read_material, read_one
from oodbench.report.plot import Plot
from oodbench.report.vector import STYLE, drawn, prefixes, save
from oodbench.runs.folder import RunFolder, open_run
from oodbench.runs.identity import Config
from oodbench.runs.record import Record
from oodbench.scoring.stored import stored_model, stored_objective, stored_on
from oodbench.shipped import conf_files
from oodbench.tables import fields
from oodbench.tables.load import load_runs
from oodbench.tables.long_format import NUMBER, PARTS, numbers_of
from oodbench.targets import trusted_detector


def results(results_dir: str | Path = "results") -> pd.DataFrame:
    """Return every number of every finished run, one row per number; shares in [0, 1].

    Every key of backbone, loss and recipe has a column, such as loss.tau, of numbers where all its values are numbers;
    the settings of the OOD set are one column, those of the detector another. Runs that cannot be read are named in a
    warning. Raises FileNotFoundError where no run is finished.
    """
    found = load_runs(Path(results_dir))
    _warn(reason for _, reason in found.unreadable)
    long = numbers_of(found.runs)
    table = pd.DataFrame(list(long.rows), columns=long.fields)
    table = table.astype(dict.fromkeys(["epochs", "train_limit", "test_limit"], "Int64"))  # whole numbers, or none
    settings = [field for field in long.fields if field.startswith(tuple(f"{part}." for part in PARTS))]
    return table.assign(**{name: _numbers(table[name]) for name in settings})


def load(folder: str | Path) -> "Run":
    """Return the finished run in a folder. Raises ValueError where there is none."""
    run = Run(*open_run(Path(folder)))
    run.numbers  # noqa: B018 - says now what is wrong with them
    return run


class Run:
    """A finished run: its numbers, outputs and network, each read when it is asked for."""

    def __init__(self, folder: RunFolder, config: Config) -> None:
        self.folder, self.config = folder, config

    def __repr__(self) -> str:
        return f"<finished run {self.folder.run.place}>"

    @cached_property
    def numbers(self) -> Record:
        """The record, metrics.json."""
        return self.folder.read_record()

    @cached_property
    def outputs(self) -> dict[str, Outputs]:
        """{"train", "test", or OOD set: outputs}. Raises ValueError where the run was published without them."""
        digests = self.numbers["provenance"]["digests"]
        return {name: stored_on(self.folder, name, digests) for name in ("train", "test", *self.numbers["ood"])}

    @cached_property
    def head(self) -> Objective:
        """The loss with its trained weights: logits, log_probs and ood_score of features."""
        return stored_objective(self.folder, self.config).eval()

    @cached_property
    def network(self) -> Classifier:
        """The trained network on the CPU; network.features takes (B, 3, S, S) uint8 images."""
        return stored_model(self.folder, self.config, self.head, torch.device("cpu")).eval()

    def predict(self, images: NDArray[np.uint8], labels: ArrayLike | None = None) -> Outputs:
        """Return the outputs on (N, S, S, 3) uint8 images of the run's size S; OOD images need no labels, (N,).

        Raises ValueError for images of another type or shape, and for labels of another number.
        """
        images, size = np.asarray(images), self.config["dataset"].get("size", SIDE)
        if images.dtype != np.uint8 or images.shape[1:] != (size, size, 3) or not len(images):
            raise ValueError(
                f"the images are {images.dtype} of shape {images.shape}; uint8 of shape (N, {size}, {size}, 3), 0 to "
                "255, are needed"
            )
        known = labels_of(labels, len(images))
        if len(known) != len(images):
            raise ValueError(f"there are {len(known)} labels for {len(images)} images")
        return predict(self.head, extract_features(self.network, images), known)


def from_model(model: nn.Module, loader: Iterable[Any], head: nn.Module | None = None) -> Outputs:
    """Return the outputs of any network on the batches of a data loader: (images, labels), or images alone.

    Its outputs are logits, and its features what enters `head`, by default the last `nn.Linear`; a softmax is assumed.
    """
    return from_arrays(**run_module(model, loader, head or last_linear(model)))


def evaluate(
    outputs: Outputs,
    ood: Mapping[str, Outputs],
    detectors: Sequence[str | Detector] | Mapping[str, Detector] = ("ood_score", "msp", "energy"),
    train: Outputs | None = None,
    head: Any = None,
    validation: Outputs | None = None,
) -> pd.DataFrame:
    """Return accuracy, calibration and OOD detection, one row per number, with 95 % intervals over images.

    outputs: on the ID test images; ood: {set: outputs}. detectors: names of conf/detector, with its hyperparameters
    ("all": each of them), or functions (outputs, reference) -> (N,). Some need train, outputs on the training images,
    or head, a module or W and b; validation: outputs on held-out ID images, on which some choose thresholds. A detector
    that does not apply is named in a warning. Raises ValueError for outputs of networks of different sizes.
    """
    if not isinstance(ood, Mapping):
        raise ValueError(f"ood is a {type(ood).__name__}; a mapping {{name of the set: outputs}} is needed")
    for name in ood:
        fields.safe_name("OOD set", name)
    given = {"test": outputs, "train": train, **{f"ood[{name!r}]": of for name, of in ood.items()}}
    named = {name: of for name, of in (given | {"validation": validation}).items() if of is not None}
    _check_sizes(named)
    K = outputs.log_probs.shape[1]
    for what, known in {"ID test": outputs, "training": train, "held-out": validation}.items():
        if known is not None and not ((known.labels >= 0) & (known.labels < K)).all():
            raise ValueError(f"the labels of {what} images are 0 to {K - 1}; some of these are not")
    sets = [outputs, *ood.values()]
    if any(isinstance(each, LogitsAlone) for each in sets):
        sets = [LogitsAlone(each.logits[:, :0], *each[1:]) for each in sets]
    apply, linear = (None, None) if head is None else head_parts(head)
    for name, of in named.items():
        if apply and not isinstance(of, LogitsAlone) and not head_reproduces(apply, of.features, of.logits):
            raise ValueError(f"the head does not give the logits of {name} of its features")
    warn_of_doubts(named)
    others = (apply, linear, validation)
    reference = without_training(*others) if train is None else Reference(train, *others)
    of_ood = dict(zip(ood, sets[1:], strict=True))
    numbers, resamples = evaluate_outputs(sets[0], of_ood, _detectors(detectors), reference)
    _warn(f"{name} {reason}" for name, reason in numbers["not_applicable"].items())
    ends = fields.intervals({"intervals": intervals(numbers, resamples)})
    rows = [[*key, value, *ends.get(key, (None, None))] for key, value in fields.numbers(numbers).items()]
    return pd.DataFrame(rows, columns=NUMBER)


def _check_sizes(given: Mapping[str, Outputs]) -> None:
    """Raise ValueError naming what is no Outputs, or has another number of features, logits or classes."""
    first: tuple[int, int, int] | None = None
    for name, outputs in given.items():
        if not isinstance(outputs, Outputs):
            raise ValueError(f"{name} is a {type(outputs).__name__}; outputs, of from_arrays or from_model, are needed")
        features, logits, log_probs, *_ = outputs
        D, C, K = size = features.shape[1], logits.shape[1], log_probs.shape[1]
        first = first or size
        if size[1:] != first[1:] or (D and first[0] and first[0] != D):  # D is 0 of logits alone
            raise ValueError(
                f"{name} has {D} features, {C} logits and {K} classes an image, outputs has "
                f"{', '.join(map(str, first))}: they are of different networks"
            )


def _detectors(chosen: Sequence[str | Detector] | Mapping[str, Detector]) -> dict[str, Detector]:
    """{name: function}. Raises ValueError for a name that conf/detector does not have, and for one that comes twice."""
    if isinstance(chosen, Mapping):
        return dict(chosen)
    known = conf_files("detector")
    chosen = [chosen] if isinstance(chosen, str) else list(chosen)
    found: dict[str, Detector] = {}
    for each in known if chosen == ["all"] else chosen:
        function = each.func if isinstance(each, partial) else each
        name = getattr(function, "__name__", type(function).__name__) if callable(each) else each
        if name in found:
            raise ValueError(f"two detectors are called {name}: give a mapping {{name: function}}")
        if not callable(each) and name not in known:
            raise ValueError(f"no detector {each!r}; available: {', '.join(known)}")
        found[name] = each if callable(each) else trusted_detector(yaml.safe_load(known[name].read_text("utf-8")))
    return found


class Figure(Plot):
    """A figure of the report that a notebook shows."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<figure {self.name}: {self.title}>"

    def _repr_png_(self) -> bytes:
        with mpl.rc_context(STYLE):
            drawn(self).savefig(file := io.BytesIO(), format="png", dpi=144)
        return file.getvalue()

    def save(self, path: str | Path) -> None:
        """Write the figure for a paper, as .pdf, .svg or .png."""
        save(self, Path(path).with_suffix(""), [Path(path).suffix[1:]])


def figures(folder: str | Path = "results") -> dict[str, Figure]:
    """Return the report's figures of a results folder or of one run, {the name of its file: figure}.

    Runs that cannot be read are named in a warning.
    """
    folder = Path(folder).absolute()
    if (folder / "config.yaml").exists():
        sections = [read_one(folder)]
    else:
        material = read_material(folder)
        _warn(material.left_out)
        sections = material.sections
    named = prefixes(sections).items()
    return {prefix + plot.name: Figure(*plot) for prefix, section in named for plot in figures_of(section)}


def _numbers(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return a column of texts as numbers, where all are."""
    try:
        return pd.to_numeric(column)
    except ValueError:
        return column


def _warn(lines: Iterable[str]) -> None:
    for line in lines:
        warnings.warn(line, stacklevel=3)
