"""Errors that end a command with one line, and the exit codes of a run."""

from collections.abc import Iterator
from contextlib import contextmanager

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from oodbench.runs.lock import LockedError
from oodbench.storage import UnwritableError

BUSY = 75  # sysexits.h's EX_TEMPFAIL: try again later


class UsageError(Exception):
    """A command line that no run can follow; the message names the key, the value and what is available instead."""


@contextmanager
def exit_codes() -> Iterator[None]:
    """Turn a lock and an unwritable folder into one line and an exit code; in a sweep the other runs go on."""
    is_single = HydraConfig.get().mode == RunMode.RUN
    try:
        yield
    except LockedError as error:
        print(f"not run: {error}")
        if is_single:
            raise SystemExit(BUSY) from error
    except UnwritableError as error:
        if is_single:
            raise SystemExit(f"not run: {error}") from error
        raise
