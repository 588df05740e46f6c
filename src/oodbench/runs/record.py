"""The record of a run, metrics.json, as pure functions: what a configuration asks for, and how numbers are merged.

A record is {"config_hash", "seed", "weights", numbers of `evaluation.evaluate`, "validation", "intervals", "resamples",
"provenance"}. Its provenance names the sets and detectors behind the numbers, so that a later start knows which of
them still hold.
"""

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from oodbench.evaluation.metric import key_of
from oodbench.runs.identity import Config, check_name, check_ood_name, without_places
from oodbench.runs.places import absolute_path, absolute_set, absolute_sets
from oodbench.storage import Arrays

Record = dict[str, Any]
OF_SETS = ("images", "digests", "ood")  # parts of the provenance: {set: ...}
GROWING = (*OF_SETS, "detector", "detector_code")  # to which every start adds
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
        and _of(validation) == request.validation
        and request.ood.items() <= absolute_sets(provenance["ood"]).items()
        and request.detectors.items() <= provenance["detector"].items()
    ):
        return False
    reasons = record["not_applicable"]
    judged = [record["ood"][name] | reasons for name in request.ood]
    if request.validation:  # a detector may apply to the test images alone, such as one that learns from held-out ones
        judged.append(validation["ood"] | reasons | validation.get("not_applicable", {}))
    return all(request.detectors.keys() <= known.keys() for known in judged)


def _of(validation: Record) -> Config:
    """Return what the numbers of held-out images are of, with absolute paths: early records have relative ones."""
    return _absolute(validation.get("of", {}))


def _absolute(validation: Config) -> Config:
    return validation | ({"ood": absolute_set(validation["ood"])} if "ood" in validation else {})


def merge(before: Record | None, numbers: Mapping[str, Any], provenance: Mapping[str, Any], request: Request) -> Record:
    """Return the new numbers together with the old ones whose sets and detectors are still the same.

    before: the record that stands, or None. provenance: of the new numbers, with the `images` and `digests` of all
    sets. In the result a detector has numbers, or under "not_applicable" the reason why it has none.
    """
    nothing: Record = {"ood": {}, "not_applicable": {}, "provenance": {key: {} for key in GROWING}}
    old = without_renamed(before or nothing, {name: provenance["digests"].get(name) for name in request.ood})
    kept = _kept_detectors(old, numbers["not_applicable"], provenance, request)
    ood = dict(numbers["ood"])
    for name, scores in old["ood"].items():
        if _same_images(name, old["provenance"], provenance, request):
            ood[name] = {d: values for d, values in scores.items() if d in kept} | ood.get(name, {})
    merged = dict(numbers) | {"ood": ood, "not_applicable": _merged_reasons(old, kept, numbers, request)}
    if request.validation:
        merged["validation"] = _merged_validation(old, kept, numbers, provenance, request)
    provenance = dict(provenance) | {"near": request.near, "ood": request.ood, "detector": request.detectors}
    before_now = ((key, old["provenance"].get(key, {}), provenance.get(key, {})) for key in GROWING)
    provenance |= {"roots": request.roots} | {key: earlier | new for key, earlier, new in before_now}
    return merged | {"provenance": provenance}


def without_renamed(record: Record, digests: Mapping[str, Any]) -> Record:
    """Return a record without the OOD sets whose images have another name now: in means they would count twice.

    digests: {OOD set of now: of its images}.
    """
    known, images = record["provenance"]["digests"], {digest for digest in digests.values() if digest}
    renamed = {name for name in record["ood"] if name not in digests and known.get(name) in images}

    def others(by_set: Mapping[str, Any]) -> Config:
        return {name: each for name, each in by_set.items() if name not in renamed}

    provenance = {key: others(record["provenance"][key]) for key in OF_SETS if key in record["provenance"]}
    return record | {"ood": others(record["ood"]), "provenance": record["provenance"] | provenance}


def removed_numbers(before: Record, merged: Record) -> dict[str, list[str]]:
    """Return {OOD set: detectors whose old numbers on it do not hold any more, and which have no new ones}."""
    judged = merged["not_applicable"].keys()
    found = {
        name: sorted(scores.keys() - merged["ood"].get(name, {}) - judged) for name, scores in before["ood"].items()
    }
    return {name: detectors for name, detectors in found.items() if detectors}


def _merged_validation(
    old: Record, kept: set[str], numbers: Mapping[str, Any], new: Mapping[str, Any], request: Request
) -> dict[str, Any]:
    """Return the new numbers of the held-out images, with old ones where the validation set is still the same."""
    merged = dict(numbers["validation"]) | {"of": request.validation}
    before = old.get("validation", {})
    if _of(before) == request.validation and _same_digest("val_ood", old["provenance"], new) is not False:
        merged["ood"] = {d: values for d, values in before["ood"].items() if d in kept} | merged["ood"]
        merged["not_applicable"] = _merged_reasons(before, kept, merged, request)
    return merged


def _merged_reasons(old: Record, kept: set[str], new: Mapping[str, Any], request: Request) -> dict[str, str]:
    """Return why detectors have no numbers: new reasons, and the old ones of detectors that were not asked for now."""
    still = kept - request.detectors.keys()
    return new["not_applicable"] | {d: reason for d, reason in old.get("not_applicable", {}).items() if d in still}


def _kept_detectors(
    old: Record, not_applicable: Mapping[str, str], new: Mapping[str, Any], request: Request
) -> set[str]:
    """Return the old detectors whose hyperparameters and code are the same.

    A `_selected` one needs the same held-out images, too.
    Empty where training or test images are others, since every number of a detector depends on them.
    """
    settings = old["provenance"]["detector"]
    if False in (_same_digest(name, old["provenance"], new) for name in ("train", "test")):
        return set()
    before, now = (facts.get("detector_code", {}) for facts in (old["provenance"], new))
    edited = {d for d, digest in now.items() if before.get(d, digest) != digest}
    kept = {d for d, how in settings.items() if request.detectors.get(d, how) == how} - not_applicable.keys() - edited
    if _of(old.get("validation", {})) != request.validation:
        kept = {d for d in kept if not d.endswith(SELECTED)}
    return kept


def _same_images(name: str, old: Config, new: Mapping[str, Any], request: Request) -> bool:
    """Tell whether an old OOD set's images are those of now: by digest, else by configuration."""
    same = _same_digest(name, old, new)
    before = absolute_set(old["ood"][name])
    return bool(request.ood.get(name, before) == before) if same is None else same


def _same_digest(name: str, old: Config, new: Mapping[str, Any]) -> bool | None:
    """Tell whether two starts saw the same images of a set; None where one of them does not say."""
    digests = [provenance["digests"].get(name) for provenance in (old, new)]
    return None if None in digests else digests[0] == digests[1]


def merge_resamples(old: Arrays, new: Arrays, record: Record) -> Arrays:
    """Return {number: (R,)} of the new numbers, and of the old ones that the record kept."""
    kept = {(name, detector) for name, scores in record["ood"].items() for detector in scores}
    return {key: values for key, values in old.items() if key_of(key)[:2] in kept} | new


def merge_intervals(old: Record, new: Mapping[str, Any], record: Record) -> dict[str, Any]:
    """Return the new intervals, and the old ones of numbers that the record kept: they outlive their resamples."""
    merged = dict(new) | {"ood": dict(new["ood"])}
    for name, scores in record["ood"].items():
        before = old.get("intervals", {"ood": {}})["ood"].get(name, {})
        merged["ood"][name] = {d: values for d, values in before.items() if d in scores} | merged["ood"][name]
    return merged


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
