"""Standard output that may end before the command does, as in `| head`: the command then ends without a traceback."""

import io
import os
import signal
import sys

UNREAD = 128 + signal.SIGPIPE  # the status that a shell gives other programs then


class Output(io.FileIO):
    """Standard output whose errors end the process: quietly where nobody reads it, else with a line.

    No `except OSError` takes them for those of a run's files; a training that ends so is continued by its command.
    """

    def write(self, data: object) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())  # for what is printed on the way out
            unread = isinstance(error, BrokenPipeError)
            raise SystemExit(UNREAD if unread else f"cannot write the output: {error.strerror}") from None


def end_with_output() -> None:
    """Let the process end where its standard output does. Not where a test or a notebook has replaced that."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout is sys.__stdout__:
        before = sys.stdout
        before.flush()
        raw = io.BufferedWriter(Output(before.fileno(), "w", closefd=False))
        sys.stdout = io.TextIOWrapper(raw, before.encoding, before.errors, line_buffering=True)
