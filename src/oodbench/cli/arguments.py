"""Arguments of the scripts, and the two spellings of the results folder that every command takes."""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from oodbench.cli.errors import plain_warnings
from oodbench.cli.output import end_with_output

OPTION, KEY = "--results-dir", "results_dir="


class Parser(argparse.ArgumentParser):
    """Parser of a script's arguments whose errors are one line, status 2; --help prints the script's docstring.

    results_dir=PATH, as for train.py, is --results-dir PATH.
    """

    def __init__(self, doc: str | None = None, **options: Any) -> None:
        super().__init__(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def add_results_dir(self, what: str, default: str | None = "results") -> None:
        """Add the results folder; `what`: what it holds or will hold; default None: it is required."""
        words = f"{what}; or {KEY}PATH" + (f"; default: {default}" if default else "")
        folder = default and Path(default)
        self.add_argument(OPTION, type=as_folder, default=folder, required=not default, metavar="PATH", help=words)

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        plain_warnings()
        end_with_output()
        given = sys.argv[1:] if args is None else args
        if OPTION in self._option_string_actions:
            given = [f"{OPTION}={text.removeprefix(KEY)}" if text.startswith(KEY) else text for text in given]
        return super().parse_known_args(given, namespace)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {' '.join(message.split())}; --help lists the options\n")


def as_overrides(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of train.py with --results-dir PATH, as the scripts have it, as results_dir='PATH'."""
    given: list[str] = []
    for argument in arguments:
        if given and given[-1] == OPTION:
            given[-1] = f"{OPTION}={argument}"
        else:
            given.append(argument)
    return [_as_override(argument) for argument in given]


def _as_override(argument: str) -> str:
    if argument.startswith(f"{OPTION}="):
        return KEY + as_text(str(as_folder(argument.removeprefix(f"{OPTION}="))))
    return f"{KEY}{as_folder(argument.removeprefix(KEY))}" if argument.startswith(f"{KEY}~/") else argument


def as_folder(path: str) -> Path:
    """Return the path, ~/ as the home, which a shell leaves to us where it is quoted."""
    return Path(path).expanduser() if path.startswith("~/") else Path(path)


def as_text(value: str) -> str:
    """Quote a value so that Hydra takes it as it is."""
    return "'" + re.sub(r"(\\*)('|\Z)", lambda found: found[1] * 2 + found[2].replace("'", r"\'"), value) + "'"
