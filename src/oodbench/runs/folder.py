"""The folder of one run: its record and resamples, and the removal of what is out of date."""

import contextlib
import errno
import os
import re
import shutil
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from oodbench.runs.config import read_config
from oodbench.runs.identity import Config, identify
from oodbench.runs.paths import LOCK_FILES, RESAMPLES, results_dir_of
from oodbench.runs.record import Record
from oodbench.runs.reduced import pack, unpack
from oodbench.runs.training_files import ForeignFileError, TrainingFiles
from oodbench.storage import (
    Arrays,
    Content,
    UnwritableError,
    checksum,
    load_arrays,
    naming_unwritable,
    read_json,
    save_arrays,
    write_atomic,
    write_json,
)


class RunFolder(TrainingFiles):
    """Reading and writing of one run's files: besides those of its training, the record and its resamples."""

    @classmethod
    def of(cls, config: Config) -> "RunFolder":
        """Return the folder of the run that a resolved configuration describes."""
        return cls(Path(config["results_dir"]), identify(config))

    # the record

    def read_record(self) -> Record:
        """Return metrics.json. Raises ValueError naming the file where it is missing, damaged, or not of this training.

        The same run has other weights where it was trained on other images; a training.json that cannot be read says
        nothing.
        """
        record = dict(self._belonging(self.metrics, read_json(self.metrics)))
        trained = self.trained_weights()
        if trained and record.get("weights", trained) != trained:
            raise ForeignFileError(f"{self.metrics} is of other weights than {self.training}")
        return record

    def usable_record(self) -> Record | None:
        """Return metrics.json; None where the run is not finished, and, with a warning, where it cannot be used."""
        if not self.metrics.exists():
            return None
        try:
            return self.read_record()
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

    def write_note(self, note: str) -> None:
        """Give the run another note; the card, which has the one before, is removed."""
        self.write_config(read_config(self.config) | {"note": note})
        self.remove_card()

    def remove_card(self) -> None:
        """Remove the card, so that it never describes another record than metrics.json."""
        _remove_file(self.card)

    def remove_superseded(self, record: Record) -> None:
        """Remove what is of an earlier record: resamples that this one does not name, a summary of other numbers."""
        named = str((record.get("resamples") or {}).get("file"))
        for file in self.path.glob("resamples-*.safetensors"):
            if file.name not in (named, self.reduced_resamples(named).name):
                _remove_file(file)
        try:
            self.read_summary(record)
        except ForeignFileError:
            _remove_file(self.summary)
        except ValueError:  # missing, or damaged: a page names it
            pass

    def read_resamples(self, record: Record) -> Arrays:
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

    def usable_resamples(self, record: Record) -> Arrays:
        """Return what `read_resamples` does; empty, with a warning, where it cannot be used."""
        try:
            return self.read_resamples(record)
        except ValueError as error:
            warnings.warn(f"resamples not used: {error}", stacklevel=2)
            return {}

    def write_summary(self, record: Record, summary: Content) -> None:
        """Write the data of the run's figures, stamped with the checksum of its record."""
        content = {"run": str(self.run), "numbers": checksum(record), "summary": summary}
        write_json(self.summary, content, indent=None)

    def read_summary(self, record: Record) -> Content:
        """Return what `write_summary` wrote.

        Raises ValueError naming the file where it is missing, damaged, another run's, or of another record.
        """
        content = self._belonging(self.summary, read_json(self.summary, "publish the run again"))
        if content.get("numbers") != checksum(record):
            raise ForeignFileError(f"{self.summary} is of other numbers than {self.metrics}")
        if not isinstance(content.get("summary"), dict):
            raise ValueError(f"{self.summary} has no summary")
        return dict(content["summary"])

    def remove_record(self) -> None:
        """Remove the record, then its card, summary and resamples."""
        _remove_file(self.metrics)
        self.remove_card()
        _remove_file(self.summary)
        for file in self.path.glob("resamples*.safetensors"):
            _remove_file(file)

    def remove_numbers(self) -> None:
        """Remove what is of other weights: the record and the outputs."""
        self.remove_record()
        shutil.rmtree(self.path / "outputs", ignore_errors=True)

    def remove_all(self) -> None:
        """Remove everything that earlier starts have written, the record first; the lock stays."""
        if self.metrics.is_file():
            self.metrics.unlink()
        for path in self.path.iterdir() if self.path.exists() else ():
            if path.name not in LOCK_FILES:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    def remove_stale(self) -> None:
        """Remove what a killed process left: halves of files, and what is of an earlier record.

        Only for the process that holds the run's lock.
        """
        for path in self.path.rglob(".*"):
            if path.name not in LOCK_FILES and not path.is_dir():
                _remove_file(path)
        record = self.usable_record()
        if record:
            self.remove_superseded(record)

    def check_places(self) -> None:
        """Raise UnwritableError, naming it, if one of the run's files is a directory."""
        single = (self.config, self.history, self.training, self.metrics, self.summary, self.card)
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


def open_run(path: Path) -> tuple[RunFolder, Config]:
    """Return the folder at `path` as a run's, and its configuration.

    Raises ValueError where config.yaml cannot be read, or describes a run of another folder.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100 - without `..`, but of links by the names that the user sees
    file = path / "config.yaml"
    config = read_config(file)
    try:
        folder = RunFolder(results_dir_of(path), identify(config))
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"{file} is not the configuration of a run: {type(error).__name__} {error}") from error
    if folder.path != path:
        raise ValueError(f"{file} is the configuration of {folder.run.place}, not of this folder")
    return folder, config
