"""The numbers of a run's starts as one record, as pure functions: which of the old ones still hold beside the new."""

from collections.abc import Mapping
from typing import Any

from oodbench.evaluation.metric import key_of
from oodbench.runs.identity import Config
from oodbench.runs.places import absolute_set
from oodbench.runs.record import SELECTED, Record, Request, validation_of
from oodbench.storage import Arrays

OF_SETS = ("images", "digests", "ood")  # parts of the provenance: {set: ...}
GROWING = (*OF_SETS, "detector", "detector_code", "metric_code")  # to which every start adds


def merge(before: Record | None, numbers: Mapping[str, Any], provenance: Mapping[str, Any], request: Request) -> Record:
    """Return the new numbers together with the old ones whose sets, detectors and metrics are still the same.

    before: the record that stands, or None. provenance: of the new numbers, with the `images` and `digests` of all
    sets. In the result a detector has numbers, or under "not_applicable" the reason why it has none.
    """
    nothing: Record = {"ood": {}, "not_applicable": {}, "provenance": {key: {} for key in GROWING}}
    old = without_renamed(before or nothing, {name: provenance["digests"].get(name) for name in request.ood})
    kept = _kept_detectors(old, numbers["not_applicable"], provenance, request)
    ood = dict(numbers["ood"])
    for name, scores in old["ood"].items():
        if _same_images(name, old["provenance"], provenance, request):
            ood[name] = _kept_numbers(scores, kept, old, provenance) | ood.get(name, {})
    merged = dict(numbers) | {"ood": ood, "not_applicable": _merged_reasons(old, kept, numbers, request)}
    if request.validation:
        merged["validation"] = _merged_validation(old, kept, numbers, provenance, request)
    provenance = dict(provenance) | {"near": request.near, "ood": request.ood, "detector": request.detectors}
    before_now = ((key, old["provenance"].get(key, {}), provenance.get(key, {})) for key in GROWING)
    provenance |= {"roots": request.roots} | {key: earlier | new for key, earlier, new in before_now}
    has_old = any(ood[name].keys() - numbers["ood"].get(name, {}) for name in ood)
    if has_old and not old["provenance"].get("metric_code"):  # early records do not say
        provenance["metric_code"] = {}
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
    if validation_of(before) == request.validation and _same_digest("val_ood", old["provenance"], new) is not False:
        merged["ood"] = _kept_numbers(before["ood"], kept, old, new) | merged["ood"]
        merged["not_applicable"] = _merged_reasons(before, kept, merged, request)
    return merged


def _kept_numbers(scores: Config, kept: set[str], old: Record, new: Mapping[str, Any]) -> Config:
    """{detector: {metric: value}} -> the same of detectors that are kept and have no metric whose code is another now

    The others go as a whole, so that the record is not complete and the next start computes them.
    """
    edited = _edited("metric_code", old, new)
    return {d: values for d, values in scores.items() if d in kept and not edited & values.keys()}


def _edited(part: str, old: Record, new: Mapping[str, Any]) -> set[str]:
    """Return the names whose digest in a part of the provenance is another now; early records have none."""
    before, now = (facts.get(part, {}) for facts in (old["provenance"], new))
    return {name for name, digest in now.items() if before.get(name, digest) != digest}


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
    kept = {d for d, how in settings.items() if request.detectors.get(d, how) == how} - not_applicable.keys()
    kept -= _edited("detector_code", old, new)
    if validation_of(old.get("validation", {})) != request.validation:
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
