"""The numbers of all finished runs as the tables of a paper: Markdown, LaTeX and one long CSV.

load: folders -> runs. sections: runs -> tables. render: tables -> text.
A run is read from its config.yaml and its metrics.json alone. What sets two runs apart is found by comparing their
configurations, so a loss that is added tomorrow has its row and its caption without a line here.
Shares in [0, 1] in files and in code; percent only where a cell is printed.
"""

from collections.abc import Sequence
from pathlib import Path

from oodbench.runs import write_atomic
from oodbench.tables.load import FIELDS, Published, Result, load_published, load_runs, long_format
from oodbench.tables.render import to_latex, to_markdown
from oodbench.tables.sections import FPR, Table, tables_of


def write_tables(
    results_dir: Path, runs: Sequence[Result], published: Path, fpr: str, detectors: Sequence[str]
) -> None:
    """<dataset>.md, <dataset>.tex and runs.csv in `results_dir`; none is written before all are made.

    ValueError for a detector that no run has, or published rows that cannot be read.
    """
    known = sorted({detector for run in runs for detector in run.detectors})
    if unknown := sorted(set(detectors) - set(known)):
        raise ValueError(f"no run has the detector {', '.join(unknown)}; the runs have {', '.join(known)}")
    texts = {"runs.csv": long_format(runs).to_csv(columns=FIELDS, index=False, lineterminator="\n")}
    rows = load_published(published)
    for dataset in sorted({run.dataset for run in runs}):
        tables = tables_of([run for run in runs if run.dataset == dataset], rows, fpr, detectors)
        texts[f"{dataset}.md"] = to_markdown(dataset, tables)
        texts[f"{dataset}.tex"] = to_latex(dataset, tables)
    for name, text in texts.items():
        write_atomic(results_dir / name, text)
