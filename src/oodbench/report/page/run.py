"""The page of one run: its numbers and figures, and all that is needed to repeat and to cite it."""

from collections.abc import Sequence
from typing import Any

from oodbench.report.card import COST, cost_of
from oodbench.report.cite import citations
from oodbench.report.command import command_of_record
from oodbench.report.material import Run, Section
from oodbench.report.page.build import index_of, page_html, section_context
from oodbench.runs.folder import open_run
from oodbench.runs.paths import results_dir_of
from oodbench.tables.means import FAR, NEAR
from oodbench.tables.names import set_name
from oodbench.tables.settings import flatten

Pairs = Sequence[tuple[str, str]]  # name, value


def run_html(section: Section, detectors: Sequence[str], command: str) -> str:
    """Return the page of the one run of a section."""
    (run,) = section.runs
    index = index_of([section], detectors)
    shown = section_context("p0", section, detectors, [], results_dir_of(run.result.folder))
    own = {
        "title": f"{run.label} on {set_name(section.dataset)}, seed {run.result.seed}",
        "lead": section.protocol,
        "facts": facts(run),
        "left_out": [],
        "losses": [run.label],
        "command": command,
        "details": details(run),
    }
    return page_html([section], [shown | {"title": "Results", "protocol": "", "runs": []}], index, own)


def facts(run: Run) -> list[tuple[str, str]]:
    result = run.result
    images = ", ".join(f"{set_name(ood)} {n:,}" for ood, n in result.ood_images.items() if ood not in (NEAR, FAR))
    return [
        ("Loss", run.label),
        ("Seed", str(result.seed)),
        ("Training images", f"{result.train_images:,}"),
        ("Test images", f"{result.test_images:,}"),
        ("OOD images", images),
    ]


def details(run: Run) -> list[dict[str, Any]]:
    """Return the parts beneath the figures: command, cost, provenance, configuration, citation."""
    _, config = open_run(run.result.folder)
    command = command_of_record(config, run.provenance)
    unrepeatable = "No command of this version of conf/ gives this run's hash; config.yaml has all of its values."
    shown = (*COST, "detector", "ood", "digests", "images", "near")  # in other parts of the page
    about = flatten({key: value for key, value in run.provenance.items() if key not in shown})
    return [
        _part("Repeat it", code=[("", command)] if command else [], said="" if command else unrepeatable),
        _part("Cost", cost_of(run.provenance)),
        _part("Cite", [("", line) for line in citations(run.result)]),
        _part("Provenance", [*about.items(), *_digests(run)]),
        _part("Configuration", list(run.result.settings.items())),
    ]


def _part(title: str, pairs: Pairs = (), code: Pairs = (), said: str = "") -> dict[str, Any]:
    return {"title": title, "code": code, "pairs": pairs, "said": said}


def _digests(run: Run) -> list[tuple[str, str]]:
    digests = run.provenance.get("digests", {})
    return [(f"digest of {name}", str(digest)) for name, digest in digests.items()] if isinstance(digests, dict) else []
