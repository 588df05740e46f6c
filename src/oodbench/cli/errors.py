"""Errors and warnings as one line, and the exit codes of a run."""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from oodbench.cli.sweep import in_search, in_sweep
from oodbench.runs.lock import LockedError
from oodbench.storage import UnwritableError

BUSY = 75  # sysexits.h's EX_TEMPFAIL: try again later
USER_ERRORS = (OSError, ValueError, FloatingPointError)  # say what is wrong, where, and what to do
FULL = "HYDRA_FULL_ERROR"  # set it to 1 for tracebacks
PACKAGE = Path(__file__).resolve().parents[1]

_format_of_python = warnings.formatwarning


class UsageError(Exception):
    """A command line that no run can follow; the message names the key, the value and what is available instead."""


def plain_warnings() -> None:
    """Print this project's warnings as one line, without the line of source that raised them."""
    warnings.formatwarning = _format


def _format(message: Any, category: type[Warning], filename: str, lineno: int, line: str | None = None) -> str:
    file = Path(filename).resolve()
    ours = category is UserWarning and (PACKAGE in file.parents or file == Path(sys.argv[0]).resolve())
    text = f"warning: {' '.join(str(message).split())}\n"
    before = "\r\033[K" if sys.stderr.isatty() else ""  # there may be a progress bar
    return before + text if ours else _format_of_python(message, category, filename, lineno, line)


@contextmanager
def exit_codes(error_file: Path) -> Iterator[None]:
    """Turn an error of a run into one line and an exit code; in a sweep, but not in a search, the other runs go on.

    error_file: has the traceback, if the run got far enough to write it. An error that no user can cause keeps its
    traceback.
    """
    before = written(error_file)
    try:
        yield
    except LockedError as error:
        print(f"not run: {error}")
        if not in_sweep():
            raise SystemExit(BUSY) from error
    except UnwritableError as error:
        if not in_sweep():
            raise SystemExit(f"not run: {error}") from error
        raise
    except Exception as error:
        has_file = written(error_file) != before
        if os.environ.get(FULL) == "1" or not (has_file or isinstance(error, USER_ERRORS)):
            raise
        kind = "" if isinstance(error, USER_ERRORS) else f"{type(error).__name__}: "
        where = f"; the traceback is in {error_file}" * (has_file and bool(kind))
        sentence = f"failed: {kind}{' '.join(str(error).split())}{where}"
        if not in_sweep():
            raise SystemExit(sentence) from error
        print(sentence, flush=True)
        if in_search():
            raise


def written(file: Path) -> float:
    """Return when the file was written; 0 where it is not there."""
    return file.stat().st_mtime if file.is_file() else 0.0
