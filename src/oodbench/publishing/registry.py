"""The registry of results: its runs checked, and its two pages written."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from oodbench.publishing.check import Entry, check_run
from oodbench.publishing.leaderboard import OWN, RECOMPUTED, SUBMITTED, leaderboard
from oodbench.report.material import material_of
from oodbench.report.page.build import report_html
from oodbench.runs.paths import finished_folders
from oodbench.runs.record import MAIN_SCORES, OWN_SCORE
from oodbench.shipped import PUBLISHED
from oodbench.storage import write_atomic
from oodbench.tables.load import load_runs, merged
from oodbench.tables.published import load_published
from oodbench.tables.results import Found
from oodbench.tables.write import chosen_detectors


class Registry(NamedTuple):
    """Checked runs."""

    found: Found
    entries: list[Entry]
    origins: dict[Path, str]  # {folder of a run: where its numbers come from}
    detectors: Sequence[str]  # the scores of the leaderboard

    def problems(self) -> list[str]:
        """Return why runs may not stand on the leaderboard."""
        unreadable = [reason for _, reason in self.found.unreadable]
        return [*unreadable, *(problem for entry in self.entries for problem in entry.problems)]


def check_registry(
    results_dir: Path, own: Path | None, outputs: Path | None, detectors: Iterable[str] | None
) -> Registry:
    """Check every run below a results folder, and below `own`, this project's.

    outputs: a results folder that may have the same runs with their outputs. Raises ValueError for a folder without
    runs and for a score that no run has.
    """
    if own and not finished_folders(own):
        raise ValueError(f"--own {own}: no finished run below {own / 'runs'}")
    if outputs and not (outputs / "runs").is_dir():
        raise ValueError(f"--outputs {outputs}: there is no folder {outputs / 'runs'}")
    folders = [results_dir, own] if own else [results_dir]
    finished = [folder for folder in folders if finished_folders(folder)]
    chosen = list(detectors or [])
    found = merged(load_runs(folder, {*(chosen or MAIN_SCORES), OWN_SCORE}) for folder in finished or folders)
    shown = chosen_detectors(found.runs, chosen or None)
    entries = [check_run(run, outputs) for run in found.runs]
    return Registry(found, entries, {entry.run.folder: _origin(entry, own) for entry in entries}, shown)


def write_pages(registry: Registry, results_dir: Path, command: str) -> list[Path]:
    """Write the leaderboard, README.md, and report.html below a results folder; return both paths."""
    material = material_of(registry.found, results_dir)
    page = report_html(material, registry.detectors, load_published(PUBLISHED), command)
    text = leaderboard(registry.found.runs, registry.origins, registry.detectors)
    written = []
    for name, content in (("README.md", text), ("report.html", page)):
        write_atomic(results_dir / name, content)
        written.append(results_dir / name)
    return written


def _origin(entry: Entry, own: Path | None) -> str:
    """Return where a run's numbers come from."""
    if entry.recomputed:
        return RECOMPUTED
    return OWN if own and entry.run.folder.is_relative_to(own / "runs") else SUBMITTED
