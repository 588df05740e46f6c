"""Attacks, counted: what was tried, and how much of it was survived."""

from collections.abc import Iterator
from contextlib import contextmanager

Counts = dict[str, list[int]]  # attack: tried, survived


class Attempts:
    """The attacks of one test. What is asserted in `with attempt(...)` is counted, and told when the test ends."""

    def __init__(self) -> None:
        self.counts, self.failures = Counts(), list[str]()

    @contextmanager
    def __call__(self, attack: str, what: str, tried: int = 1) -> Iterator[None]:
        """tried: attacks at once, of which none counts as survived unless all are."""
        count = self.counts.setdefault(attack, [0, 0])
        count[0] += tried
        try:
            yield
            count[1] += tried
        except AssertionError as error:
            self.failures.append(f"{attack}, {what}: {' '.join(str(error).split())[:1500]}")
            print(self.failures[-1], flush=True)


def add(counts: Counts, more: Counts) -> None:
    """Add the counts of a test to those of all."""
    for attack, (tried, survived) in more.items():
        count = counts.setdefault(attack, [0, 0])
        count[0] += tried
        count[1] += survived


def table(counts: Counts) -> str:
    """Return the counts as Markdown."""
    rows = [*sorted(counts.items()), ("**all**", [sum(n) for n in zip(*counts.values(), strict=True)])]
    lines = [f"| {attack} | {tried:,} | {survived:,} |" for attack, (tried, survived) in rows]
    return "\n".join(["| attack | tried | survived |", "|---|---:|---:|", *lines]) + "\n"
