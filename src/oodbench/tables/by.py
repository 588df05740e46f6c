"""Runs -> tables over any keys of their configurations."""

from collections.abc import Sequence
from difflib import get_close_matches

from oodbench.tables.labels import protocol, row_labels
from oodbench.tables.results import Result
from oodbench.tables.sections import Table, by_protocol, section


def tables_by(runs: Sequence[Result], fpr: str, detectors: Sequence[str], by: Sequence[str]) -> list[Table]:
    """Tabulate one data set's runs that have all keys, rows sorted by their values; no table where no run has them."""
    having = [run for run in runs if set(by) <= run.settings.keys()]
    tables = [section(group, fpr, detectors, by) for group in by_protocol(having, by)]
    return [table._replace(notes=[*_left_out(runs, table.title, by), *table.notes]) for table in tables]


def _left_out(runs: Sequence[Result], title: str, by: Sequence[str]) -> list[str]:
    without = [run for run in runs if not set(by) <= run.settings.keys() and protocol(run, by) == title]
    names = ", ".join(f"`{label}`" for label in row_labels(without).values())
    return [f"Left out, their configuration has no {' or no '.join(f'`{key}`' for key in by)}: {names}."] * bool(names)


def check_keys(runs: Sequence[Result], by: Sequence[str]) -> None:
    """Raise ValueError for a key that no run has, with the names that are near, and where none has all of them."""
    known = dict.fromkeys(key for run in runs for key in run.settings)
    for key in by:
        if key not in known:
            same_end = [name for name in known if name.rpartition(".")[2] == key.rpartition(".")[2]]
            near = list(dict.fromkeys([*same_end, *get_close_matches(key, known)]))[:5]
            hint = f"; near to it: {', '.join(near)}" if near else "; a key is named as on the command line of train.py"
            raise ValueError(f"no run's configuration has the key {key}{hint}")
    if not any(set(by) <= run.settings.keys() for run in runs):
        raise ValueError(f"no run's configuration has all the keys {', '.join(by)}")
