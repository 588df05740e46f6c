"""Files that a training leaves: weights, and the outputs on each set. Each names the run that it belongs to."""

import contextlib
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from oodbench.outputs import LABELLED_SETS, Outputs, problem_of
from oodbench.runs.config import read_config
from oodbench.runs.identity import Config
from oodbench.runs.paths import RunPaths
from oodbench.storage import (
    Arrays,
    arrays_checksum,
    load_arrays,
    read_json,
    regular,
    save_arrays,
    write_atomic,
    write_json,
)

LARGEST_HISTORY = 2_000_000  # bytes of a train.csv: ten thousand epochs


TRAINING_KEYS = ("device", "devices", "threads", "compile", "cuda_graph")  # keys of a configuration beside its hash
GROUPS = {"ood": "ood", "detector": "detector", "image_detector": "detector"}  # of a configuration: of a provenance


class ForeignFileError(ValueError):
    """The file is whole, but belongs to another run or to other weights."""


class DataChangedError(ValueError):
    """The training images are not those that an earlier start was trained on."""


class TrainingFiles(RunPaths):
    """Reading and writing of what one training leaves; outputs and scores name its weights, too.

    `read_...` raises ValueError for a file that is damaged or not of this run; `usable_...` warns and returns nothing.
    """

    def write_config(self, config: Config, recorded: Config | None = None) -> None:
        """Write config.yaml; of a trained run keep the settings of its training, and its record's sets and detectors.

        recorded: the record's provenance, which names them.
        """
        if self.weights.exists():
            with contextlib.suppress(ValueError, TypeError, AttributeError, KeyError):  # garbage is replaced
                before = read_config(self.config)
                kept = {key: before[key] for key in TRAINING_KEYS if key in before}
                kept["note"] = config.get("note") or before.get("note", "")
                kept["allow_overlap"] = config.get("allow_overlap") or before.get("allow_overlap", False)  # of any set
                for group, part in GROUPS.items():
                    names = (recorded or {}).get(part, {})
                    earlier = {name: node for name, node in before.get(group, {}).items() if name in names}
                    kept[group] = earlier | config.get(group, {})
                config = config | kept
        write_atomic(self.config, yaml.safe_dump(config, sort_keys=False))

    def is_started(self) -> bool:
        """Tell whether an earlier start left weights or a checkpoint to go on from."""
        return self.weights.exists() or any(self.path.glob("checkpoint*.pt"))  # of the last or the one before

    def threads_before(self) -> int | None:
        """Return the number of threads that the earlier start computed with which this one goes on from; None: all.

        With another number, results differ in their last bits. Garbage counts as None, and so does a number above that
        of the cores which this process may use: threads that wait for a core are far slower.
        """
        if not self.is_started():
            return None
        with contextlib.suppress(ValueError):
            threads = read_config(self.config).get("threads")
            return threads if type(threads) is int and 1 <= threads <= usable_cores() else None
        return None

    def write_history(self, rows: Sequence[Mapping[str, float]]) -> None:
        lines = [["run", *rows[0]], *([str(self.run), *(f"{v:.6g}" for v in row.values())] for row in rows)]
        write_atomic(self.history, "".join(",".join(line) + "\n" for line in lines))

    def read_history(self) -> bytes | None:
        """Return train.csv; None where there is none. Raises ValueError if it is another run's or not a file."""
        if not os.path.lexists(self.history):
            return None
        with regular(self.history).open("rb") as file:
            content = file.read(LARGEST_HISTORY + 1)
        if len(content) > LARGEST_HISTORY:
            raise ValueError(f"{self.history} has more than {LARGEST_HISTORY} bytes")
        for line in content.splitlines()[1:]:
            self._belonging(self.history, {"run": line.partition(b",")[0].decode(errors="replace")})
        return content

    def write_training(self, provenance: Mapping[str, Any], weights: Arrays, train_digest: str) -> None:
        """Record a training that is over: where it ran, which weights came of it, which images it saw."""
        stamp = {"run": str(self.run), "weights": self._weights_checksum(weights), "train_digest": train_digest}
        write_json(self.training, stamp | dict(provenance))

    def read_training(self) -> dict[str, Any]:
        """Return what `write_training` recorded. Raises ValueError where it is missing, damaged or another run's."""
        return dict(self._belonging(self.training, read_json(self.training)))

    def trained_weights(self) -> str | None:
        """Return the checksum of the weights that the training ended in; None where training.json cannot be read."""
        try:
            return str(self.read_training()["weights"])
        except (ValueError, KeyError):
            return None

    def write_weights(self, weights: Arrays) -> None:
        """Write the weights of the last epoch; with them the training is finished."""
        save_arrays(self.weights, weights, run=str(self.run))

    def read_weights(self) -> Arrays:
        """Return the weights of a training that is over.

        Raises ValueError naming the file where it is missing, damaged, of another run or of another training.
        """
        weights, about = load_arrays(self.weights)
        self._belonging(self.weights, about)
        if self.read_training()["weights"] != self._weights_checksum(weights):
            raise ForeignFileError(f"{self.weights} holds other weights than {self.training} says")
        return weights

    def usable_weights(self) -> Arrays | None:
        """Return the weights of a training that is over; None before, and, with a warning, where they are unusable."""
        if not self.weights.exists():
            return None
        try:
            return self.read_weights()
        except ValueError as error:
            warnings.warn(f"weights are restored from the checkpoint: {error}", stacklevel=2)
            return None

    def _weights_checksum(self, weights: Arrays) -> str:
        return arrays_checksum(weights, {"run": str(self.run)})

    def check_train_digest(self, digest: str) -> None:
        """Raise DataChangedError where an earlier start of this run saw other training images."""
        try:
            seen = self.read_training()["train_digest"]
        except ValueError:  # missing, damaged or another run's: `usable_weights` warns, and it is made again
            return
        check_same_images(self.training, seen, digest)

    def write_outputs(self, name: str, outputs: Outputs, digest: str) -> None:
        """Write the outputs on a set; digest: of its images."""
        save_arrays(self.outputs(name), outputs._asdict(), **self._stamp(digest=digest))

    def read_outputs(self, name: str, digest: str | None = None) -> Outputs | None:
        """Return the outputs on a set; None where there are none, or they are of other images than `digest` says.

        Raises ValueError, naming the file, where it is damaged, of another run, or of other weights.
        """
        arrays = self._read_stamped(self.outputs(name), {} if digest is None else {"digest": digest})
        if arrays is None:
            return None
        if arrays.keys() != set(Outputs._fields):
            raise ValueError(f"{self.outputs(name)} holds {sorted(arrays)}, not the outputs of a network")
        outputs = Outputs(**arrays)
        if problem := problem_of(outputs, of_classes=name in LABELLED_SETS):
            raise ValueError(f"{self.outputs(name)} holds no outputs of a network: {problem}")
        return outputs

    def usable_outputs(self, name: str, digest: str) -> Outputs | None:
        """Return what `read_outputs` does; None, with a warning, where it cannot be used."""
        try:
            return self.read_outputs(name, digest)
        except ValueError as error:
            warnings.warn(f"outputs are computed again: {error}", stacklevel=2)
            return None

    def write_scores(self, detector: str, name: str, scores: NDArray[np.floating], **about: str) -> None:
        """Write an image detector's scores of a set; about: digests and settings they depend on."""
        save_arrays(self.scores(detector, name), {"scores": scores}, **self._stamp(**about))

    def read_scores(self, detector: str, name: str, **about: str) -> NDArray[np.floating] | None:
        """Return the scores that were written with the same `about`, or None. Raises ValueError as `read_outputs`."""
        arrays = self._read_stamped(self.scores(detector, name), about)
        return None if arrays is None else arrays["scores"]

    def usable_scores(self, detector: str, name: str, **about: str) -> NDArray[np.floating] | None:
        """Return what `read_scores` does; None, with a warning, where it cannot be used."""
        try:
            return self.read_scores(detector, name, **about)
        except ValueError as error:
            warnings.warn(f"scores are computed again: {error}", stacklevel=2)
            return None

    def _stamp(self, **about: str) -> dict[str, str]:
        return {"run": str(self.run), "weights": self.read_training()["weights"], **about}

    def _read_stamped(self, path: Path, about: Mapping[str, str]) -> Arrays | None:
        """Return a file's arrays where its metadata agree with `about`, else None."""
        if not path.exists():
            return None
        arrays, metadata = load_arrays(path)
        self._belonging(path, metadata)
        if metadata.get("weights") != self.read_training()["weights"]:
            raise ForeignFileError(f"{path} was computed with other weights than those of {self.training}")
        return arrays if about.items() <= metadata.items() else None

    def _belonging(self, path: Path, content: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the content. Raises ForeignFileError where it names another run."""
        if content.get("run") != str(self.run):
            raise ForeignFileError(f"{path} belongs to run {content.get('run')}, this folder to {self.run}")
        return content


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_same_images(file: Path, seen: str, now: str) -> None:
    """Raise DataChangedError where two digests of a training set differ; file: names the one that was seen."""
    if seen != now:
        raise DataChangedError(
            f"the training images have digest {now[:12]}, but {file} was made from images with digest {seen[:12]}; "
            "restore those images, take another results_dir, or start over with force=true"
        )
