"""Read and write the files of one run. Each names the run, and where it matters the weights, that it belongs to."""

import contextlib
import errno
import os
import re
import shutil
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from oodbench.outputs import OF_CLASSES, Outputs, problem_of
from oodbench.runs.config import read_config
from oodbench.runs.identity import Config, identify
from oodbench.runs.paths import LOCK_FILES, RESAMPLES, RunPaths
from oodbench.runs.record import Record
from oodbench.runs.reduced import pack, unpack
from oodbench.storage import (
    Arrays,
    UnwritableError,
    arrays_checksum,
    checksum,
    load_arrays,
    naming_unwritable,
    read_json,
    regular,
    save_arrays,
    write_atomic,
    write_json,
)

LARGEST_HISTORY = 2_000_000  # bytes of a train.csv: ten thousand epochs


class ForeignFileError(ValueError):
    """The file is whole, but belongs to another run or to other weights."""


class DataChangedError(ValueError):
    """The training images are not those that an earlier start was trained on."""


class RunFolder(RunPaths):
    """Reading and writing of one run's files."""

    @classmethod
    def of(cls, config: Config) -> "RunFolder":
        """Return the folder of the run that a resolved configuration describes."""
        return cls(Path(config["results_dir"]), identify(config))

    # what a training writes

    def write_config(self, config: Config) -> None:
        write_atomic(self.config, yaml.safe_dump(config, sort_keys=False))

    def write_history(self, rows: Sequence[Mapping[str, float]]) -> None:
        lines = [["run", *rows[0]], *([str(self.run), *(f"{v:.6g}" for v in row.values())] for row in rows)]
        write_atomic(self.history, "".join(",".join(line) + "\n" for line in lines))

    def write_training(self, provenance: Mapping[str, Any], weights: Arrays, train_digest: str) -> None:
        """Record a training that is over: where it ran, which weights came of it, which images it saw."""
        stamp = {"run": str(self.run), "weights": self._weights_checksum(weights), "train_digest": train_digest}
        write_json(self.training, stamp | dict(provenance))

    def read_training(self) -> dict[str, Any]:
        """Return what `write_training` recorded. Raises ValueError where it is missing, damaged or another run's."""
        return dict(self._belonging(self.training, read_json(self.training)))

    def write_weights(self, weights: Arrays) -> None:
        """Write the weights of the last epoch; with them the training is finished."""
        save_arrays(self.weights, weights, run=str(self.run))

    def read_weights(self) -> Arrays | None:
        """Return the weights of a training that is over; None before, and, with a warning, where they are unusable."""
        if not self.weights.exists():
            return None
        try:
            weights, about = load_arrays(self.weights)
            self._belonging(self.weights, about)
            if self.read_training()["weights"] != self._weights_checksum(weights):
                raise ForeignFileError(f"{self.weights} holds other weights than {self.training} says")
            return weights
        except ValueError as error:
            warnings.warn(f"weights are restored from the checkpoint: {error}", stacklevel=2)
            return None

    def _weights_checksum(self, weights: Arrays) -> str:
        return arrays_checksum(weights, {"run": str(self.run)})

    def check_train_digest(self, digest: str) -> None:
        """Raise DataChangedError where an earlier start of this run saw other training images."""
        try:
            seen = self.read_training()["train_digest"]
        except ValueError:  # missing, damaged or another run's: `read_weights` warns, and it is made again
            return
        check_same_images(self.training, seen, digest)

    # what the network says of a set

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
        if problem := problem_of(outputs, of_classes=name in OF_CLASSES):
            raise ValueError(f"{self.outputs(name)} holds no outputs of a network: {problem}")
        return outputs

    def write_scores(self, detector: str, name: str, scores: NDArray[np.floating], **about: str) -> None:
        """Write an image detector's scores of a set; about: digests and settings they depend on."""
        save_arrays(self.scores(detector, name), {"scores": scores}, **self._stamp(**about))

    def read_scores(self, detector: str, name: str, **about: str) -> NDArray[np.floating] | None:
        """Return the scores that were written with the same `about`, or None. Raises ValueError as `read_outputs`."""
        arrays = self._read_stamped(self.scores(detector, name), about)
        return None if arrays is None else arrays["scores"]

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

    # the record

    def load_record(self) -> Record:
        """Return metrics.json. Raises ValueError naming the file where it is missing, damaged or another run's."""
        return dict(self._belonging(self.metrics, read_json(self.metrics)))

    def read_history(self) -> bytes | None:
        """Return train.csv; None where there is none. Raises ValueError where it is another run's, or no file."""
        if not os.path.lexists(self.history):
            return None
        with regular(self.history).open("rb") as file:
            content = file.read(LARGEST_HISTORY + 1)
        if len(content) > LARGEST_HISTORY:
            raise ValueError(f"{self.history} has more than {LARGEST_HISTORY} bytes")
        for line in content.splitlines()[1:]:
            self._belonging(self.history, {"run": line.partition(b",")[0].decode(errors="replace")})
        return content

    def read_record(self) -> Record | None:
        """Return metrics.json; None where the run is not finished, and, with a warning, where it cannot be used."""
        if not self.metrics.exists():
            return None
        try:
            return self.load_record()
        except ValueError as error:
            warnings.warn(f"numbers are computed again: {error}", stacklevel=2)
            return None

    def write_record(self, record: Record, resamples: Arrays) -> Record:
        """Write numbers and their resamples so that one is never without the other; return what was written.

        metrics.json names the resamples' file, so that the old pair or the new one stands whenever the process dies.
        """
        stamp = {"run": str(self.run), "config_hash": self.run.hash, "seed": self.run.seed}
        content = {**stamp, "weights": self.read_training()["weights"], **record}
        mark = checksum(content)
        file = self.path / f"resamples-{mark[:12]}.safetensors"
        save_arrays(file, resamples, run=str(self.run), numbers=mark)
        content |= {"resamples": {"file": file.name, "numbers": mark}}
        write_json(self.metrics, content)
        return content

    def remove_superseded(self, record: Record) -> None:
        """Remove resamples that the record does not name: those of a record before."""
        named = str((record.get("resamples") or {}).get("file"))
        for file in self.path.glob("resamples-*.safetensors"):
            if file.name not in (named, self.reduced_resamples(named).name):
                _remove_file(file)

    def load_resamples(self, record: Record) -> Arrays:
        """Return {number: (R,)} that belong to the record, in a published run reduced ones; empty where it has none.

        Raises ValueError naming the file where it is damaged, another run's, or of other numbers.
        """
        named = record.get("resamples")
        if named is None:
            return {}
        if not isinstance(named, dict) or not re.fullmatch(RESAMPLES, str(named.get("file"))):
            raise ValueError(f"{self.metrics} names its resamples {named!r}, not a file of this folder")
        full, reduced = self.path / named["file"], self.reduced_resamples(named["file"])
        file = full if full.exists() else reduced
        if not file.exists():
            return {}
        arrays, about = load_arrays(file)
        if self._belonging(file, about).get("numbers") != named["numbers"]:
            raise ForeignFileError(f"{file} holds the resamples of other numbers than {self.metrics}")
        try:
            return arrays if file == full else unpack(arrays, about)
        except ValueError as error:
            raise ValueError(f"{file} is damaged: {error}") from error

    def write_reduced(self, record: Record, resamples: Arrays) -> None:
        """Write resamples of a record that is there, in few bits."""
        named = record["resamples"]
        arrays, about = pack(resamples)
        save_arrays(self.reduced_resamples(named["file"]), arrays, run=str(self.run), numbers=named["numbers"], **about)

    def read_resamples(self, record: Record) -> Arrays:
        """Return what `load_resamples` does; empty, with a warning, where it cannot be used."""
        try:
            return self.load_resamples(record)
        except ValueError as error:
            warnings.warn(f"resamples not used: {error}", stacklevel=2)
            return {}

    def remove_numbers(self) -> None:
        """Remove what other weights were measured by: the record first, then resamples and outputs."""
        _remove_file(self.metrics)
        for file in self.path.glob("resamples*.safetensors"):
            _remove_file(file)
        shutil.rmtree(self.path / "outputs", ignore_errors=True)

    def remove_all(self) -> None:
        """Remove everything that earlier starts have written, the record first; the lock stays."""
        if self.metrics.is_file():
            self.metrics.unlink()
        for path in self.path.iterdir() if self.path.exists() else ():
            if path.name not in LOCK_FILES:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    def remove_stale(self) -> None:
        """Remove what a killed process left: halves of files, and resamples that the record does not name.

        Only for the process that holds the run's lock.
        """
        for path in self.path.rglob(".*"):
            if path.name not in LOCK_FILES and not path.is_dir():
                _remove_file(path)
        record = self.read_record()
        if record:
            self.remove_superseded(record)

    def check_places(self) -> None:
        """Raise UnwritableError, naming it, where a directory lies in the place of one of the run's files."""
        single = (self.config, self.history, self.training, self.metrics)
        for path in (*single, *self.path.glob("*.pt"), *self.path.glob("**/*.safetensors")):
            with naming_unwritable(path):
                if path.is_dir():
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))

    @contextmanager
    def recording_errors(self) -> Iterator[None]:
        """Write error.txt where the block raises: the sentence first, then the traceback. Remove an earlier one."""
        _remove_file(self.error)
        try:
            yield
        except Exception as error:
            with contextlib.suppress(UnwritableError):  # the error itself matters more
                sentence = " ".join(f"{type(error).__name__}: {error}".split())
                write_atomic(self.error, f"{sentence}\n\n{traceback.format_exc()}")
            raise


def _remove_file(path: Path) -> None:
    """Remove a file if it is there. Raises UnwritableError, naming it, where it is a folder or cannot be removed."""
    with naming_unwritable(path):
        path.unlink(missing_ok=True)


def check_same_images(file: Path, seen: str, now: str) -> None:
    """Raise DataChangedError where two digests of a training set differ; file: names the one that was seen."""
    if seen != now:
        raise DataChangedError(
            f"the training images have digest {now[:12]}, but {file} was made from images with digest {seen[:12]}; "
            "restore those images, take another results_dir, or start over with force=true"
        )


def open_run(path: Path) -> tuple[RunFolder, Config]:
    """Return the folder at `path` as a run's, and its configuration.

    Raises ValueError where config.yaml cannot be read, or describes a run of another folder.
    """
    file = path / "config.yaml"
    config = read_config(file)
    path = path.absolute()
    try:
        folder = RunFolder(path.parents[5], identify(config))
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"{file} is not the configuration of a run: {type(error).__name__} {error}") from error
    if folder.path != path:
        raise ValueError(f"{file} is the configuration of {folder.run.place}, not of this folder")
    return folder, config


def epochs_done(history: Path) -> int:
    """Return how many epochs train.csv has; 0 where it cannot be read."""
    with contextlib.suppress(OSError, ValueError):
        return max(0, len(regular(history).read_bytes().splitlines()) - 1)
    return 0
