"""The lines that a run prints before and after its training: a header, and the result. Nothing here imports torch."""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from oodbench.evaluation.metric import MISSING, Metric
from oodbench.evaluation.metrics import ID_METRICS, OOD_METRICS, metric_of
from oodbench.phrases import counted, duration
from oodbench.runs.code import changed_parts, code_of, detector_code, metric_code
from oodbench.runs.identity import Config
from oodbench.runs.record import MAIN_SCORES, OWN_SCORE
from oodbench.storage import read_json

NAMES = {OWN_SCORE: "own score", "msp": "MSP"}
ID_SHOWN = ("accuracy", "ece")
OOD_SHOWN = ("auroc", "fpr95_idpos")
Numbers = Mapping[str, Any]


def header(config: Config, images: Mapping[str, int], provenance: Mapping[str, Any], folder: Path) -> str:
    """Return what is run, on what, on how many images, where, and how long other seeds took. images: of every set."""
    name, near = config["name"], config["dataset"]["near"]
    epochs = config["recipe"].get("epochs")
    recipe = f"recipe {name['recipe']}" + (f", {counted(epochs, 'epoch')}" if epochs else "")
    threads = f", {counted(provenance['threads'], 'thread')}" if provenance["device"] == "cpu" else ""
    devices = f"{provenance['devices']} x " if provenance["devices"] > 1 else ""
    ood = [f"{ood}{' (near)' * (ood in near)} {images[ood]:,}" for ood in config["ood"]]
    data = f"{images['train']:,} training and {images['test']:,} test images"
    data += f", {images['val']:,} held out" if "val" in images else ""
    return "\n".join(
        [
            f"{name['loss']} on {name['dataset']}: {name['backbone']}, {recipe}, seed {config['seed']}",
            f"{devices}{provenance['device']}{threads}, {provenance['precision']}",
            f"{data}; OOD: {', '.join(ood) or 'none'}",
            *other_seeds(folder),
            str(folder),
        ]
    )


def other_seeds(folder: Path) -> list[str]:
    """Return a line on how long the trainings of the same configuration with other seeds took, if there are any."""
    took = []
    for file in folder.parent.glob("seed*/training.json"):
        if file.parent == folder:
            continue
        with contextlib.suppress(ValueError, KeyError, TypeError):  # it is only a hint
            took.append(float(read_json(file)["wall_time_s"]))
    return [f"other seeds took {duration(sum(took) / len(took))} on average"] if took else []


def result(numbers: Numbers) -> str:
    """Return accuracy, ECE, and AUROC and FPR@95 of every OOD set, of the loss's own score and MSP, in percent."""
    scores = _scores(numbers)
    metrics = [metric_of(name) for name in OOD_SHOWN]
    wide = max(map(len, ["OOD set", *numbers["ood"]]))
    lines = [_of_id(numbers)]
    if scores:
        heads = [" = ".join(NAMES.get(name, name) for name in names) for names in scores]
        each = max(9, *(len(head) // 2 + 2 for head in heads))
        columns = [metric.heading.partition(" (")[0] for _ in scores for metric in metrics]
        lines += ["", " " * wide + "".join(f"{head:>{2 * each}}" for head in heads)]
        lines += [f"{'OOD set':<{wide}}" + "".join(f"{name:>{each}}" for name in columns)]
        for ood, of_set in numbers["ood"].items():
            cells = [_cell(of_set.get(names[0], {}), metric) for names in scores for metric in metrics]
            lines.append(f"{ood:<{wide}}" + "".join(f"{cell:>{each}}" for cell in cells))
        lines += ["", _explained(metrics)]
    return "\n".join(lines)


def finished(numbers: Numbers, folder: Path, config: Config, in_sweep: bool) -> str:
    """Return what the command of a finished run prints."""
    text = outcome(numbers, config, in_sweep)
    provenance, detectors = numbers["provenance"], config["detector"] | config["image_detector"]
    changed = changed_parts(provenance.get("code"), code_of(config))
    code = f" (the code of its {changed} has changed since)" * bool(changed)
    scored = [("detector_code", detector_code(detectors)), ("metric_code", metric_code())]
    if names := " and ".join(filter(None, (changed_parts(provenance.get(key), now) for key, now in scored))):
        code += f" (the code of {names} has changed since: scripts/evaluate.py scores the run again)"
    if in_sweep:
        return f"finished already{code}; {text}"
    return f"finished already{code}, force=true runs it again\n\n{text}\n\n{folder}"


def outcome(numbers: Numbers, config: Config, in_sweep: bool) -> str:
    """Return what a run prints at its end: the numbers that papers show, in a sweep in one line; if verbose, all."""
    if config.get("verbose"):
        return every_number(numbers)
    return brief(numbers) if in_sweep else result(numbers)


def brief(numbers: Numbers) -> str:
    """Return accuracy, ECE and the AUROC of every OOD set in one line."""
    auroc = metric_of("auroc")
    of_sets = [
        f"{ood} {_cell(of_set.get(names[0], {}), auroc)}"
        for names in _scores(numbers)[:1]
        for ood, of_set in numbers["ood"].items()
    ]
    return _of_id(numbers) + f"; AUROC {', '.join(of_sets)}" * bool(of_sets)


def every_number(numbers: Numbers) -> str:
    """Return every score and metric: shares in percent, both FPR@95 conventions named, a dash for none."""
    of_run = [_named(metric, numbers) for name, metric in ID_METRICS.items() if name in numbers]
    wide = max(map(len, ["OOD set", *numbers["ood"]]))
    long = max(map(len, ["score", *(detector for scores in numbers["ood"].values() for detector in scores)]))
    head = f"{'OOD set':<{wide}}  {'score':<{long}}" + "".join(f"{name:>{_width(name)}}" for name in OOD_METRICS)
    lines = ["  ".join(of_run), "", head]
    for set_name, scores in numbers["ood"].items():
        for detector, values in scores.items():
            cells = (
                f"{metric.unit.text(values[name]) if name in values else MISSING:>{_width(name)}}"
                for name, metric in OOD_METRICS.items()
            )
            lines.append(f"{set_name:<{wide}}  {detector:<{long}}" + "".join(cells))
    lines += ["", *(f"{metric.name}: {metric.title}, in {metric.unit.name or '1'}" for metric in OOD_METRICS.values())]
    lines += [f"{detector} has no numbers: {reason}" for detector, reason in numbers["not_applicable"].items()]
    return "\n".join(lines)


def _of_id(numbers: Numbers) -> str:
    metrics = [ID_METRICS[name] for name in ID_SHOWN if name in numbers]
    return ", ".join(f"{_word(metric)} {metric.unit.text(numbers[metric.name])} %" for metric in metrics)


def _word(metric: Metric) -> str:
    return metric.heading if metric.heading.isupper() else metric.heading.lower()


def _scores(numbers: Numbers) -> list[tuple[str, ...]]:
    """Return the scores to show; two that agree on every set, as own and MSP of cross-entropy do, stand together."""
    present = list(dict.fromkeys(name for of_set in numbers["ood"].values() for name in of_set))
    shown = [name for name in MAIN_SCORES if name in present] or present[:2]
    same: dict[str, list[str]] = {}
    for name in shown:
        values = {ood: {m: of_set.get(name, {}).get(m) for m in OOD_SHOWN} for ood, of_set in numbers["ood"].items()}
        same.setdefault(repr(values), []).append(name)
    return [tuple(names) for names in same.values()]


def _cell(values: Mapping[str, float], metric: Metric) -> str:
    return metric.unit.text(values[metric.name]) if metric.name in values else MISSING


def _explained(metrics: Sequence[Metric]) -> str:
    named = [metric.heading for metric in metrics if metric.convention]
    return f"In percent. {', '.join(named)}. verbose=true prints every score and metric."


def _named(metric: Metric, numbers: Numbers) -> str:
    return f"{metric.name} {metric.unit.text(numbers[metric.name])} {metric.unit.name}".rstrip()


def _width(name: str) -> int:
    return max(14, len(name) + 2)
