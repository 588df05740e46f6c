"""A command whose output nobody reads, or that has no room, ends without a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.config import ROOT

from oodbench.cli.output import UNREAD, end_with_output

COMMANDS = {  # those that print on three ways: by argparse, by themselves, by what catches an OSError
    "help": ["scripts/tables.py", "--help"],
    "nothing chosen": ["train.py"],
    "status": ["scripts/status.py", "results_dir=nowhere"],
    "commands": ["-m", "oodbench.commands.main"],
}


def unread() -> int:
    """Return a pipe's end whose other end is closed."""
    read, write = os.pipe()
    os.close(read)
    return write


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_command_that_nobody_reads_ends_quietly(command: list[str]) -> None:
    ended = subprocess.run([sys.executable, *command], cwd=ROOT, stdout=unread(), stderr=subprocess.PIPE, text=True)
    assert (ended.returncode, ended.stderr) == (UNREAD, "")


def test_output_without_room_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "scripts/status.py", "results_dir=nowhere"]
        ended = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (ended.returncode, ended.stderr) == (1, "cannot write the output: No space left on device\n")


def test_no_handler_takes_it_for_an_error_of_files() -> None:
    """As in scripts/report.py, and in a run, which would write error.txt."""
    code = """
from oodbench.cli.output import end_with_output
end_with_output()
try:
    print("a line")
except OSError as error:
    raise SystemExit(f"failed: {error}")
"""
    ended = subprocess.run([sys.executable, "-c", code], stdout=unread(), stderr=subprocess.PIPE, text=True)
    assert (ended.returncode, ended.stderr) == (UNREAD, "")


def test_output_that_a_test_has_replaced_stays(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout
    end_with_output()
    assert sys.stdout is before
