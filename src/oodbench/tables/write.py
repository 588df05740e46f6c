"""Files of tables: of all runs, by keys, of every detector, of calibration, for papers; none before all are made."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from oodbench.evaluation.metrics import OOD_METRICS
from oodbench.runs.paths import place_of
from oodbench.runs.record import MAIN_SCORES
from oodbench.storage import write_atomic
from oodbench.tables.by import check_keys, tables_by
from oodbench.tables.calibration import calibration_table
from oodbench.tables.caveats import AGAIN
from oodbench.tables.columns import DEFAULT_FPR
from oodbench.tables.ensembles import load_ensembles
from oodbench.tables.long_format import means_of, numbers_of, to_csv
from oodbench.tables.matrix import matrix_tables
from oodbench.tables.paper import paper
from oodbench.tables.paper.style import Style, check_style
from oodbench.tables.published import Published, load_published
from oodbench.tables.published_table import published_table
from oodbench.tables.ranks import rank_tables
from oodbench.tables.render import to_latex, to_markdown
from oodbench.tables.results import Result, Unreadable
from oodbench.tables.sections import Table, by_protocol, section

CONVENTIONS = sorted({metric.convention for metric in OOD_METRICS.values()} - {""})


def tables_of(
    runs: Iterable[Result], published: Iterable[Published], fpr: str, detectors: Sequence[str]
) -> list[Table]:
    """Return the tables of one data set's runs: of each protocol one and its published rows, then those of the order of
    the losses under two protocols.
    """
    runs, published, tables = list(runs), list(published), list[Table]()
    for group in by_protocol(runs):
        tables.append(section(group, fpr, detectors, ensembles=load_ensembles(group)))
        if beside := published_table(group, published, fpr):
            tables.append(beside)
    return tables + rank_tables(runs, fpr, detectors)


def write_tables(
    results_dir: Path,
    runs: Sequence[Result],
    published: Path,
    fpr: str,
    detectors: Sequence[str],
    unreadable: Sequence[Unreadable] = (),
) -> None:
    """Write <dataset>.md, <dataset>.tex, runs.csv and means.csv into `results_dir`; none before all are made.

    With fpr="oodpos" <dataset>.oodpos.md and .tex, as in the functions below; the CSVs have both conventions. The runs
    that cannot be read are named above the tables. Raises ValueError for a detector that no run has, or published rows
    that cannot be read.
    """
    check_detectors(runs, detectors)
    rows = load_published(published)
    csvs = {"runs.csv": to_csv(numbers_of(runs)), "means.csv": to_csv(means_of(runs))}
    options = _option(detectors, default_detectors(runs))
    _write(results_dir, runs, unreadable, fpr, "", options, lambda some: tables_of(some, rows, fpr, detectors))
    for name, text in csvs.items():
        write_atomic(results_dir / name, text)


def write_by(
    results_dir: Path,
    runs: Sequence[Result],
    fpr: str,
    detectors: Sequence[str],
    keys: Sequence[str],
    unreadable: Sequence[Unreadable] = (),
) -> None:
    """Write <dataset>.by-<keys>.md and .tex of the data sets of which a run has the keys.

    Raises ValueError where none has.
    """
    check_detectors(runs, detectors)
    check_keys(runs, keys)
    suffix, options = f".by-{'+'.join(keys)}", f" --by {' '.join(keys)}{_option(detectors, default_detectors(runs))}"
    _write(results_dir, runs, unreadable, fpr, suffix, options, lambda some: tables_by(some, fpr, detectors, keys))


def write_matrix(
    results_dir: Path,
    runs: Sequence[Result],
    fpr: str,
    detectors: Sequence[str],
    unreadable: Sequence[Unreadable] = (),
) -> None:
    """Write <dataset>.matrix.md and .tex: every loss with every detector."""
    check_detectors(runs, detectors)

    def tables(some: Sequence[Result]) -> list[Table]:
        return [table for group in by_protocol(some) for table in matrix_tables(group, fpr, detectors)]

    options = f" --matrix{_option(detectors, all_detectors(runs))}"
    _write(results_dir, runs, unreadable, fpr, ".matrix", options, tables)


def write_calibration(results_dir: Path, runs: Sequence[Result], unreadable: Sequence[Unreadable] = ()) -> None:
    """Write <dataset>.calibration.md and .tex, the numbers of three versions of the probabilities.

    Raises ValueError where no run has them.
    """

    def tables(some: Sequence[Result]) -> list[Table]:
        found = (calibration_table(group, load_ensembles(group)) for group in by_protocol(some))
        return [table for table in found if table]

    if not any(run.calibration for run in runs):
        raise ValueError(f"no run was scored with calibration numbers; {AGAIN}")
    _write(results_dir, runs, unreadable, DEFAULT_FPR, ".calibration", " --calibration", tables)


def write_paper(
    results_dir: Path, runs: Sequence[Result], fpr: str, detectors: Sequence[str], style: Style
) -> list[Path]:
    """Write <dataset>.paper.tex, with fpr="oodpos" <dataset>.oodpos.paper.tex; return the files.

    Raises ValueError for a detector, loss, set or metric that no run has.
    """
    check_detectors(runs, detectors)
    check_style(runs, style)
    by_dataset = {run.dataset: [other for other in runs if other.dataset == run.dataset] for run in runs}
    suffix = "" if fpr == DEFAULT_FPR else f".{fpr}"
    texts = {
        results_dir / f"{dataset}{suffix}.paper.tex": paper(some, fpr, detectors, style)
        for dataset, some in sorted(by_dataset.items())
        if not style.losses or any(run.loss in style.losses for run in some)
    }
    for file, text in texts.items():
        write_atomic(file, text)
    return list(texts)


def all_detectors(runs: Iterable[Result]) -> list[str]:
    """Return the detectors that a run has, MAIN_SCORES first, the others by name."""
    known = {detector for run in runs for detector in run.detectors}
    return [*(name for name in MAIN_SCORES if name in known), *sorted(known - set(MAIN_SCORES))]


def default_detectors(runs: Sequence[Result]) -> list[str]:
    """Return the scores that tables show where none is named, but for the matrix, which has all.

    [""] for runs without an OOD set, whose rows have the metrics of the test images alone.
    """
    known = all_detectors(runs)
    return [name for name in known if name in MAIN_SCORES] or known or [""]


def chosen_detectors(runs: Sequence[Result], asked: Sequence[str] | None) -> list[str]:
    """Return the scores that are asked for, else `default_detectors`. Raises ValueError as `write_tables`."""
    detectors = list(asked or default_detectors(runs))
    check_detectors(runs, detectors)
    return detectors


def _option(detectors: Sequence[str], default: Sequence[str]) -> str:
    """Return the option of scripts/tables.py that names the detectors, where they are not the default."""
    return f" --detectors {' '.join(detectors)}" * (list(detectors) != list(default))


def check_detectors(runs: Sequence[Result], detectors: Sequence[str]) -> None:
    """Raise ValueError for a detector that no run has."""
    known = sorted(all_detectors(runs))
    if unknown := sorted(set(detectors) - {"", *known}):
        raise ValueError(f"no run has the detector {', '.join(unknown)}; the runs have {', '.join(known)}")


def _write(
    results_dir: Path,
    runs: Sequence[Result],
    unreadable: Sequence[Unreadable],
    fpr: str,
    suffix: str,
    options: str,
    make: Callable[[Sequence[Result]], list[Table]],
) -> None:
    if fpr != DEFAULT_FPR:
        suffix, options = f".{fpr}{suffix}", f"{options} --fpr {fpr}"
    texts = {}
    for dataset in sorted({run.dataset for run in runs}):
        tables = make([run for run in runs if run.dataset == dataset])
        of_set = [reason for folder, reason in unreadable if place_of(folder).parts[0] == dataset]
        left_out = [reason.replace(f"{results_dir}/", "") for reason in of_set]
        if tables:
            texts[f"{dataset}{suffix}.md"] = to_markdown(dataset, tables, options, left_out)
            texts[f"{dataset}{suffix}.tex"] = to_latex(dataset, tables, left_out, suffix)
    for name, text in texts.items():
        write_atomic(results_dir / name, text)
