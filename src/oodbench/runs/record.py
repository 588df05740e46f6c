"""The record of a run, metrics.json, as pure functions: what a configuration asks for, and whether it has that.

A record is {"config_hash", "seed", "weights", numbers of `evaluation.evaluate`, "validation", "intervals", "resamples",
"provenance"}. Its provenance names the sets and detectors behind the numbers, so that a later start knows which of
them still hold (`runs.merge`).
"""

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from oodbench.runs.identity import Config, check_name, check_ood_name, without_places
from oodbench.runs.places import absolute_path, absolute_set, absolute_sets

Record = dict[str, Any]
IMAGE_DETECTORS = "oodbench.detectors.network."  # addresses of detectors that need images
OWN_SCORE = "ood_score"  # the detector whose scores are the loss's OOD score
MAIN_SCORES = (OWN_SCORE, "msp")  # what tables show if nothing else is asked for: msp is what every paper compares with
SELECTED = "_selected"  # suffix of a detector whose hyperparameters were chosen on the run's held-out images


def needs_images(detector: Config) -> bool:
    """Tell whether a detector's configuration is of one that passes images through the network."""
    return str(detector.get("_target_")).startswith(IMAGE_DETECTORS)


class Request(NamedTuple):
    """The numbers that a configuration asks for."""

    near: list[str]  # OOD sets that tables call near
    ood: Config  # {OOD set: its configuration without the data root}
    detectors: Config  # {detector, of outputs or of the network: its configuration}
    roots: dict[str, str]  # {train or test: where it lies, if not where the configuration's other data lie}
    validation: Config  # what hyperparameters are chosen on; empty where nothing is held out


def requested(config: Config) -> Request:
    """Return what a resolved configuration asks for.

    Raises ValueError where two detectors have one name, or one or a set has a name that no file can have.
    """
    of_outputs, of_network = config["detector"], config.get("image_detector", {})
    if both := sorted(of_outputs.keys() & of_network.keys()):
        raise ValueError(f"{', '.join(both)}: a detector and an image detector have this name")
    for name in config["ood"]:
        check_ood_name(name)
    for part in ("detector", "image_detector"):
        for name in config.get(part, {}):
            check_name(part, name)
    data_root = config.get("data_root")
    validation = without_places(config.get("validation", {}), data_root)
    validation = {key: value for key, value in validation.items() if key != "objective"}
    return Request(
        near=config["dataset"]["near"],
        ood=absolute_sets(without_places(config["ood"], data_root)),
        detectors=without_places(of_outputs | of_network),
        roots=_roots(config["dataset"], data_root),
        validation=_absolute(validation) if validation.get("images") else {},
    )


def _roots(data: Config, data_root: str | None) -> dict[str, str]:
    """Return {train or test: its root}, where it is not the data root: another folder may hold other images."""
    roots = {part: data[part].get("root") for part in ("train", "test") if isinstance(data.get(part), dict)}
    others = {part: root for part, root in roots.items() if root not in (None, data_root)}
    return {part: os.path.normpath(absolute_path(root)) for part, root in others.items()}


def is_complete(record: Record | None, request: Request) -> bool:
    """Tell whether the record has every requested number, of exactly these sets and detectors.

    A detector that does not apply to this run has none, and is complete.
    """
    if record is None:
        return False
    provenance, validation = record["provenance"], record.get("validation", {})
    roots = {part: absolute_path(root) for part, root in provenance.get("roots", {}).items()}
    if not (
        provenance["near"] == request.near
        and roots == request.roots
        and validation_of(validation) == request.validation
        and request.ood.items() <= absolute_sets(provenance["ood"]).items()
        and request.detectors.items() <= provenance["detector"].items()
    ):
        return False
    reasons = record["not_applicable"]
    judged = [record["ood"][name] | reasons for name in request.ood]
    if request.validation:  # a detector may apply to the test images alone, such as one that learns from held-out ones
        judged.append(validation["ood"] | reasons | validation.get("not_applicable", {}))
    return all(request.detectors.keys() <= known.keys() for known in judged)


def validation_of(validation: Record) -> Config:
    """Return what the numbers of held-out images are of, with absolute paths: early records have relative ones."""
    return _absolute(validation.get("of", {}))


def _absolute(validation: Config) -> Config:
    return validation | ({"ood": absolute_set(validation["ood"])} if "ood" in validation else {})


def number_named(numbers: Mapping[str, Any], name: str) -> float:
    """Return the number at a dotted name. Raises ValueError, with a reason, for a name that is none."""
    node: Any = numbers
    for key in name.split("."):
        if not isinstance(node, Mapping) or key not in node:
            available = ", ".join(sorted(node)) if isinstance(node, Mapping) else "nothing"
            reason = numbers.get("not_applicable", {}).get(key)
            raise ValueError(f"validation.objective={name}: {reason or f'no {key}; available: {available}'}")
        node = node[key]
    return float(node)
