"""The Markdown page that a benchmark writes: where it was measured, targets, sections of a text and a table."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import torch

from oodbench.training.provenance import git_commit, processor

RESULTS = Path(__file__).parent / "results"


class Target(NamedTuple):
    measured: float
    wanted: float
    at_most: bool = False

    def row(self, name: str) -> list[str]:
        reached = self.measured <= self.wanted if self.at_most else self.measured >= self.wanted
        wanted = f"{'at most' if self.at_most else 'at least'} {self.wanted:g}"
        return [name, wanted, f"{self.measured:.3g}", "yes" if reached else "no"]


class Section(NamedTuple):
    title: str
    text: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    targets: Mapping[str, Target] = {}
    words: int = 1  # columns of words, which are aligned to the left

    def __str__(self) -> str:
        parts = [f"## {self.title}", self.text, table(self.header, self.rows, self.words)]
        return "\n\n".join(part for part in parts if part)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], words: int = 1) -> str:
    rule = ["---" if column < words else "---:" for column in range(len(header))]
    return "\n".join(f"| {' | '.join(line)} |" for line in [header, rule, *rows])


def number(value: float) -> str:
    """Three digits, never an exponent."""
    digits = 0 if value >= 99.95 else 1 if value >= 9.995 else 2 if value >= 0.1 else 4
    return f"{value:,.{digits}f}"


def argument_parser(description: str | None, page: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="tiny sizes: does it run?")
    parser.add_argument("--output", type=Path, default=RESULTS / page, help="default: %(default)s")
    return parser


def measured_where() -> str:
    """Name the day, the commit, the command and the machine."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    command = " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    return (
        f"Measured on {datetime.now(UTC):%Y-%m-%d} at commit {git_commit() or 'unknown'} by `{command}` on "
        f"{processor()}, {torch.get_num_threads()} thread(s), {gpu}, torch {torch.__version__}."
    )


def write_page(path: Path, title: str, introduction: str, sections: Sequence[Section]) -> None:
    targets = [target.row(name) for section in sections for name, target in section.targets.items()]
    parts = [f"# {title}", measured_where(), introduction]
    if targets:
        parts.append("## Targets\n\n" + table(["", "wanted", "measured", "reached"], targets))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join([*parts, *map(str, sections)]) + "\n", "utf-8")
    print(f"written: {path}")
