"""The card of a run, README.md in its folder: what it is, its numbers, cost, command, data and citation, for a reader.

Made from config.yaml and metrics.json, without torch. Text from them is escaped.
"""

import contextlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from oodbench import __version__
from oodbench.evaluation.metric import MISSING, Metric
from oodbench.evaluation.metrics import ID_METRICS, OOD_METRICS
from oodbench.report.cite import citations
from oodbench.report.command import command_of_record
from oodbench.runs.folder import RunFolder, open_run
from oodbench.runs.lock import LockedError, run_lock
from oodbench.runs.record import MAIN_SCORES
from oodbench.storage import write_atomic
from oodbench.tables.fields import Key
from oodbench.tables.labels import protocol
from oodbench.tables.load import load_run
from oodbench.tables.means import FAR, NEAR, common_means, with_means
from oodbench.tables.names import licence, row_name, score_name, set_name
from oodbench.tables.render import markdown_table
from oodbench.tables.results import Result
from oodbench.tables.settings import in_brackets

COST = (
    *("wall_time_s", "images_per_second", "device", "processor", "threads", "devices"),
    *("precision", "compile", "cuda_graph"),
)
SPECIAL = re.compile(r"[\\`*_\[\]<>~&$]")  # what Markdown or HTML takes for more than text; tables escape their |


def write_card(path: Path) -> None:
    """Write the card of the finished run in a folder, from its record."""
    folder, _ = open_run(path)
    write_atomic(folder.card, card(path))


def restore_card(folder: RunFolder) -> None:
    """Write the card of a finished run that has none; remove what the process that did not write it left behind.

    That process was killed between record and card, or ran older code. Does nothing if the folder cannot be written or
    is damaged, or if another process works on it.
    """
    with contextlib.suppress(LockedError, OSError, ValueError), run_lock(folder.path):
        folder.remove_stale()
        write_card(folder.path)


def card(path: Path) -> str:
    """Return the card of the finished run in a folder. Raises ValueError naming the file that cannot be read."""
    folder, config = open_run(path)
    result = load_run(path, keep=lambda detector, metric: detector in MAIN_SCORES)
    (run,) = with_means([result], common_means([result]))
    provenance = folder.read_record()["provenance"]
    parts = [
        f"# {escaped(row_name(run.loss, run.loss))} on {escaped(set_name(run.dataset))}, seed {run.seed}",
        _what(run),
        "## Numbers",
        _of_test_images(run),
        _of_ood_sets(run),
        _others(run),
        "## Cost",
        bullets(f"{key}: {escaped(value)}" for key, value in cost_of(provenance)),
        "## Repeat it",
        _command(command_of_record(config, provenance)),
        "## Load it",
        _loading(folder),
        "## Data",
        _data(run),
        "## Cite",
        bullets(map(escaped, citations(run))),
        f"Written by oodbench {__version__} from metrics.json, which has every number, its origin and a checksum.",
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _what(run: Result) -> str:
    what = f"Loss {run.loss}{in_brackets(run.loss_settings)}: {protocol(run)}. Configuration {run.hash}."
    return escaped(f"{what} {run.note}")


def _of_test_images(run: Result) -> str:
    rows = [
        [metric.title, _printed(run, ("", "", name), metric)]
        for name, metric in ID_METRICS.items()
        if ("", "", name) in run.numbers
    ]
    return markdown_table([f"{run.test_images:,} test images", "value [95 % interval over images]"], rows, 1)


def _of_ood_sets(run: Result) -> str:
    """Return one row per OOD set and score, near sets first, in each kind the mean first."""
    metrics = {name: metric for name, metric in OOD_METRICS.items() if metric.in_tables}
    sets = sorted(run.ood_images, key=lambda ood: (run.kind(ood).rank, ood not in (NEAR, FAR), ood))
    rows = [
        [_set(run, ood), score_name(score), *(_printed(run, (ood, score, name), m) for name, m in metrics.items())]
        for ood in sets
        for score in MAIN_SCORES
        if any((ood, score, name) in run.numbers for name in metrics)
    ]
    return markdown_table(["OOD set", "score", *(metric.title for metric in metrics.values())], rows, 2) if rows else ""


def _printed(run: Result, key: Key, metric: Metric) -> str:
    if key not in run.numbers:
        return MISSING
    ends = run.interval(key)
    parts = [metric.unit.text(run.numbers[key]), metric.unit.name, metric.unit.ends(ends) if ends else ""]
    return " ".join(filter(None, parts))


def _set(run: Result, ood: str) -> str:
    return escaped(ood if ood in (NEAR, FAR) else f"{set_name(ood)}, {run.kind(ood)}, {run.ood_images[ood]:,} images")


def _others(run: Result) -> str:
    """Name the scores with numbers that the table leaves out"""
    others = sorted(run.detectors - set(MAIN_SCORES) - run.not_applicable.keys())
    return f"Further scores in metrics.json: {escaped(', '.join(others))}." if others else ""


def _command(command: str | None) -> str:
    if command is None:
        return "No command of this version gives this run again; config.yaml has all of its values."
    return fenced(command)


def _loading(folder: RunFolder) -> str:
    lines = ["import oodbench", "", 'run = oodbench.load(".")  # in this folder']
    lines += ['run.numbers, run.outputs["test"], run.head, run.network']
    missing = "This copy has neither weights nor outputs: `run.numbers` alone can be read."
    return fenced("\n".join(lines), "python") + f"\n\n{missing}" * (not folder.weights.exists())


def _data(run: Result) -> str:
    sets = [run.dataset, *(ood for ood in run.ood_images if ood not in (NEAR, FAR))]
    rows = [
        [escaped(set_name(key)), escaped(licence(key) or "not known to this project")] for key in dict.fromkeys(sets)
    ]
    return markdown_table(["set", "licence"], rows, 2)


def cost_of(provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (name, printed value) of what a run took, and on what machine."""
    return [
        (key.removesuffix("_s").replace("_", " "), _quantity(key, provenance[key])) for key in COST if key in provenance
    ]


def _quantity(key: str, value: Any) -> str:
    if key.endswith("_s") and isinstance(value, int | float):
        return f"{value / 60:.1f} min" if value >= 120 else f"{value:.1f} s"
    return f"{value:.0f}" if isinstance(value, float) else str(value)


def escaped(text: str) -> str:
    """Return one line of text that Markdown shows as it is."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return SPECIAL.sub(r"\\\g<0>", line)


def fenced(code: str, language: str = "") -> str:
    """Return a block of code; its fence is longer than what the code could end it with."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", code)), default=0))
    return f"{fence}{language}\n{code}\n{fence}"


def bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
