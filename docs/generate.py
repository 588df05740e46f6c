"""Rewrite the generated parts of docs/*.md, from docstrings and conf/:  python docs/generate.py [--check]

A generated part stands between `<!-- generated: NAME -->` and `<!-- end -->`; everything else is written by hand.
"""

import argparse
import inspect
import json
import re
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from hydra.utils import instantiate
from scipy.special import log_softmax

from oodbench import detectors, losses, targets
from oodbench.detectors import network
from oodbench.detectors.reference import NotApplicable, Reference
from oodbench.evaluation import calibration
from oodbench.evaluation.metrics import CALIBRATION_METRICS, ID_METRICS, OOD_METRICS
from oodbench.outputs import Outputs
from oodbench.shipped import CONF, conf_files

DOCS = Path(__file__).resolve().parent
PART = re.compile(r"(<!-- generated: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def updated(page: str) -> str:
    """Return the text of a page with its generated parts rewritten."""
    return PART.sub(lambda part: f"{part[1]}\n{PARTS[part[2]]()}\n\n{part[3]}", page)


# ---- what all pages are made of


def header(path: Path) -> str:
    """The comment at the top of a YAML file, which names the source."""
    lines = [line for line in path.read_text("utf-8").splitlines() if not line.startswith("# @package")]
    end = next(i for i, line in enumerate(lines) if not line.startswith("#"))
    return " ".join(line.removeprefix("#").strip() for line in lines[:end])


def defaults(path: Path) -> str:
    """The hyperparameters of a YAML file with their comments, as a code block; "" if there are none."""
    lines = path.read_text("utf-8").splitlines()
    body = lines[next(i for i, line in enumerate(lines) if not line.startswith("#")) :]
    kept = [line for line in body if not line.strip().startswith(("_target_:", "_partial_:"))]
    return "\n".join(["```yaml", *kept, "```"]) if kept else ""


def formula(described: Any) -> str:
    """A docstring, as a code block."""
    return f"```\n{inspect.getdoc(described)}\n```"


def section(title: str, *paragraphs: str) -> str:
    return "\n\n".join([f"### {title}", *filter(None, paragraphs)])


def table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [columns, ["---"] * len(list(columns)), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)


# ---- losses


def loss_node(path: Path) -> dict[str, Any]:
    content = yaml.safe_load(path.read_text("utf-8"))
    return content.get("loss", content)  # a file that also sets keys of the recipe has its own below `loss`


def loss_class(path: Path) -> Any:
    return getattr(losses, loss_node(path)["_target_"].rpartition(".")[2])


def stated(method: Any, shape: str) -> str:
    """The formula in a method's own docstring, after its shape; "" if it has none."""
    found = (method.__doc__ or "").partition(f"-> {shape}, ")[2].partition("\n")[0].rstrip(".")
    return f"`{found}`" if found else ""


def loss_table() -> str:
    rows = []
    for name, path in conf_files("loss").items():
        cls = loss_class(path)
        linear = instantiate(loss_node(path), num_features=4, num_classes=3).linear() is not None
        scores = stated(cls.log_probs, "(B, K)"), stated(cls.ood_score, "(B,)")
        rows.append([f"[`{name}`](#{name})", f"`{cls.__name__}`", *scores, "yes" if linear else "no"])
    return table(["`loss=`", "class", "`log_probs`", "OOD score", "linear head"], rows)


def loss_sections() -> str:
    return "\n\n".join(
        section(name, header(path), formula(loss_class(path)), defaults(path))
        for name, path in conf_files("loss").items()
    )


# ---- detectors


def random_outputs(random: np.random.Generator, n: int = 200) -> Outputs:
    """Features after a ReLU, logits, log-probabilities and scores, all independent; labels that often are right."""
    features = random.normal(size=(n, 8)).clip(0).astype("f4")
    logits, log_probs = (random.normal(size=(n, 3)) for _ in range(2))
    labels = np.where(random.random(n) < 0.8, logits.argmax(1), np.arange(n) % 3)
    return Outputs(features, logits.astype("f4"), log_softmax(log_probs, axis=1), random.normal(size=n), labels)


def reads(detector: Callable[[Outputs, Reference], Any]) -> tuple[list[str], list[str]]:
    """Return which fields of the test outputs change the scores, and what else the detector needs, by trying."""
    random = np.random.default_rng(0)
    test, other, train, other_train, held_out = (random_outputs(random) for _ in range(5))
    W, b = random.normal(size=(3, 8)).astype("f4"), np.zeros(3, "f4")
    other_train.features[:] *= np.linspace(0, 9, 8)  # another order of the features' means
    reference = Reference(train, lambda features: features @ W.T + b, (W, b), None)
    scores = detector(test, reference)

    def changes(outputs: Outputs = test, reference: Reference = reference) -> bool:
        try:
            return not np.array_equal(detector(outputs, reference), scores)
        except NotApplicable:
            return True

    signed = test._replace(features=test.features - 1)
    needs = {
        "training images": changes(reference=reference._replace(train=other_train)),
        "held-out images if any": changes(reference=reference._replace(validation=held_out)),
        "the head": changes(reference=reference._replace(head=None)),
        "a linear head": changes(reference=reference._replace(linear=None)),
        "features after a ReLU": refuses(detector, signed, reference),
    }
    fields = [f for f in Outputs._fields if changes(test._replace(**{f: getattr(other, f)}))]
    return fields, [need for need, is_needed in needs.items() if is_needed]


def refuses(detector: Callable[[Outputs, Reference], Any], outputs: Outputs, reference: Reference) -> bool:
    try:
        detector(outputs, reference)
    except NotApplicable:
        return True
    return False


def detector_table() -> str:
    rows = []
    for name, path in conf_files("detector").items():
        fields, needs = reads(instantiate(yaml.safe_load(path.read_text("utf-8"))))
        rows.append([f"[`{name}`](#{name})", ", ".join(f"`{field}`" for field in fields), ", ".join(needs)])
    return f"{len(rows)} detectors.\n\n" + table(["`detector=`", "reads", "needs"], rows)


def detector_sections(group: str, package: Any) -> str:
    """The detectors of a group by the module that defines them, in its order, below its docstring."""
    functions = {}
    for name, path in conf_files(group).items():
        target = yaml.safe_load(path.read_text("utf-8"))["_target_"]
        functions[name] = inspect.unwrap(getattr(package, target.rpartition(".")[2]))
    order = sorted(functions, key=lambda name: (functions[name].__module__, functions[name].__code__.co_firstlineno))
    found = []
    for module, names in groupby(order, key=lambda name: functions[name].__module__):
        found.append(inspect.getdoc(import_module(module)) or "")
        found += [detector_section(name, conf_files(group)[name], functions[name]) for name in names]
    return "\n\n".join(filter(None, found))


def detector_section(name: str, path: Path, function: Any) -> str:
    grid_file = CONF / "select" / path.name
    grid = yaml.safe_load(grid_file.read_text("utf-8")) if grid_file.exists() and path.parent.name == "detector" else {}
    tried = "; ".join(f"`{key}` {', '.join(map(json.dumps, values))}" for key, values in grid.items())
    searched = f"`--select` tries {tried}." if tried else ""
    return section(name, header(path), formula(function), defaults(path), searched)


# ---- metrics


def metric_table(metrics: Mapping[str, Any]) -> str:
    rows = [
        [f"`{name}`", m.heading, m.definition, m.unit.name, "higher" if m.higher_is_better else "lower", m.source]
        for name, m in metrics.items()
    ]
    return table(["key", "heading", "definition", "printed in", "better", "source"], rows)


def metric_formulas() -> str:
    metrics = ID_METRICS | CALIBRATION_METRICS | OOD_METRICS
    return "\n\n".join(f"`{name}`\n\n{formula(metric.function)}" for name, metric in metrics.items())


PARTS: dict[str, Callable[[], str]] = {
    "losses": loss_table,
    "formulas of losses": loss_sections,
    "detectors": detector_table,
    "formulas of detectors": lambda: detector_sections("detector", detectors),
    "formulas of image detectors": lambda: detector_sections("image_detector", network),
    "metrics of the test images": lambda: metric_table(ID_METRICS),
    "metrics of calibration": lambda: metric_table(CALIBRATION_METRICS),
    "versions of the probabilities": lambda: formula(calibration),
    "metrics of OOD detection": lambda: metric_table(OOD_METRICS),
    "formulas of metrics": metric_formulas,
    "rule for stored configurations": lambda: formula(targets),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Rewrite the generated parts of docs/*.md.")
    parser.add_argument("--check", action="store_true", help="write nothing; end with status 1 where a page is stale")
    check = parser.parse_args().check
    torch.manual_seed(0)
    for path in sorted(DOCS.glob("*.md")):
        page = path.read_text("utf-8")
        if updated(page) != page:
            if check:
                raise SystemExit(f"{path} is stale: run make docs")
            path.write_text(updated(page), "utf-8")


if __name__ == "__main__":
    main()
