"""Ensembles over the seeds of a row, read from ensemble.json beside the seeds' folders."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from oodbench.runs.paths import ENSEMBLE, ENSEMBLE_AGAIN
from oodbench.storage import Content, errors_name, read_json
from oodbench.tables.fields import calibration, intervals, numbers, whole
from oodbench.tables.labels import Row, row_of
from oodbench.tables.results import Result

MEANING = (
    "Ensemble of n: one predictor, the mean of the predictive probabilities of the n seeds. It is not compared; "
    "its scores are those that need the probabilities alone, its interval is over the test images, and its means over "
    "OOD sets have none."
)


class Ensembles(NamedTuple):
    """The ensembles of a table's rows, each as a run of that name, and the reasons why rows have none."""

    found: Mapping[Row, Result] = {}
    missing: Mapping[Row, str] = {}


NO_ENSEMBLES = Ensembles()


def load_ensembles(runs: Sequence[Result]) -> Ensembles:
    """Return the ensembles of the rows that have several seeds. A damaged file is a reason, too."""
    rows: dict[Row, list[Result]] = {}
    for run in runs:
        rows.setdefault(row_of(run), []).append(run)
    found, missing = {}, {}
    for row, members in rows.items():
        if len(members) > 1:
            try:
                found[row] = _load(members)
            except ValueError as error:
                missing[row] = str(error)
    return Ensembles(found, missing)


def _load(members: Sequence[Result]) -> Result:
    file = members[0].folder.parent / ENSEMBLE
    if not file.exists():
        raise ValueError("not scored, which scripts/ensemble.py does where the seeds' outputs are")
    with errors_name(file):
        content = read_json(file, ENSEMBLE_AGAIN)
        if content["run"] != members[0].hash:
            raise ValueError(f"it belongs to {content['run']}")
        images, digests = content["provenance"]["images"], content["provenance"]["digests"]
        other = _other(content, digests, members)
        found = members[0]._replace(
            loss=f"{members[0].loss}, ensemble of {len(members)}",
            numbers=numbers(content),
            intervals=intervals(content),
            calibration=calibration(content["calibration"]),
            ood_images={ood: whole(images[ood], f"images of {ood}") for ood in content["ood"]},
            digests=digests,
            not_applicable={},
            resampled={},
        )
    if other:
        raise ValueError(f"{other}; {ENSEMBLE_AGAIN}")
    return found


def _other(content: Content, digests: Mapping[str, str], members: Sequence[Result]) -> str:
    """Say why an ensemble is not that of these runs, "" where it is; a seed may have been trained since."""
    if content["members"] != {str(run.seed): run.weights for run in members}:
        return f"made of seeds {', '.join(content['members'])} and their weights, other than those here"
    code = {str(run.seed): run.code for run in members}
    if content.get("code", code) != code:  # early files do not say
        return "made of the outputs of other code of the loss or the backbone"
    scored = content["provenance"]
    for run in members:
        for now, then in ((run.metric_code, "metric_code"), (run.detector_code, "detector_code")):
            if any(now.get(name, digest) != digest for name, digest in scored.get(then, {}).items()):
                return "scored with other code of a metric or a score than its seeds: score them again first"
    if any(run.digests.get(name, digest) != digest for run in members for name, digest in digests.items()):
        return "of other images than the row"
    return ""


def ensemble_notes(ensembles: Ensembles, labels: Mapping[Row, str]) -> list[str]:
    """Say what an ensemble is, and which rows have none for which reason."""
    reasons: dict[str, list[str]] = {}
    for row, reason in ensembles.missing.items():
        reasons.setdefault(reason, []).append(f"`{labels[row]}`")
    without = [f"No ensemble of {', '.join(names)}: {reason}." for reason, names in reasons.items()]
    return [*[MEANING] * bool(ensembles.found), *without]
