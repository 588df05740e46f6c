"""External outputs, computed by other code, become a run like any other."""

from pathlib import Path
from typing import Any

import torch

from oodbench.losses.external import ExternalLinear, ExternalLogits
from oodbench.model import HEAD
from oodbench.pretrained.external_file import External
from oodbench.runs.folder import RunFolder
from oodbench.runs.identity import PRETRAINED, Config, identify
from oodbench.runs.lock import run_lock
from oodbench.runs.paths import ENSEMBLE, LOCK_FILES
from oodbench.runs.record import Record
from oodbench.scoring.recompute import score_stored
from oodbench.scoring.stored import stored_run
from oodbench.storage import read_json
from oodbench.training.provenance import collect_provenance


def configuration(
    external: External,
    name: str,
    dataset: str,
    kinds: dict[str, list[str]],
    seed: int,
    detector: Config,
    results_dir: Path,
) -> Config:
    """Return the configuration of the run that these outputs become; how it was trained is not known.

    kinds: {"near" or "shifted": the sets that tables call so}; the others are far.
    Raises ValueError for a name that cannot be a folder's, for sets that the file does not have, or of both kinds.
    """
    for kind, names in kinds.items():
        if unknown := set(names) - set(external.ood):
            known = ", ".join(external.ood) or "none"
            raise ValueError(f"{kind} {sorted(unknown)}: the OOD sets of the file are {known}")
    if both := set.intersection(*map(set, kinds.values())):
        raise ValueError(f"{' and '.join(kinds)} {sorted(both)}: a set is of one kind")
    loss = ExternalLinear if external.head else ExternalLogits
    config = {
        "name": {"dataset": dataset, "backbone": "external", "loss": name, "recipe": PRETRAINED},
        "seed": seed,
        "dataset": {"num_classes": external.num_classes, **kinds, "limit": None, "limit_test": None},
        "backbone": {},
        "loss": {"_target_": f"oodbench.losses.{loss.__name__}"},
        "recipe": {"epochs": None},
        "precision": "unknown",
        "validation": {"images": 0},
        "note": "",
        "ood": {ood: {"digest": external.digests[ood]} for ood in external.ood},
        "detector": detector,
        "results_dir": str(results_dir),
    }
    identify(config)
    return config


def import_external(external: External, config: Config, file: str, force: bool) -> tuple[RunFolder, Record]:
    """Write the run's folder and its record. Raises FileExistsError where there is one and no force."""
    folder = RunFolder.of(config)
    with run_lock(folder.path):
        if not force and any(path.name not in LOCK_FILES for path in folder.path.iterdir()):
            raise FileExistsError(f"{folder.path} exists already: choose another name or seed, or --force")
        with folder.recording_errors():
            folder.remove_all()
            (folder.path.parent / ENSEMBLE).unlink(missing_ok=True)  # it may be of the outputs before
            folder.write_config(config)
            weights = {
                f"{HEAD}head.{part}": a for part, a in zip(("weight", "bias"), external.head or (), strict=False)
            }
            folder.write_training(_provenance(external, config, file), weights, external.digests["train"])
            for name, outputs in external.sets.items():
                folder.write_outputs(name, outputs, external.digests[name])
            folder.write_weights(weights)
            images = {name: len(outputs.labels) for name, outputs in external.sets.items()}
            about = folder.read_training() | {"images": images, "digests": external.digests}
            of_run, objective = stored_run(folder, config, external.digests)
            return folder, score_stored(folder, config, of_run, objective, about)


def check_is_another_seed(external: External, folder: RunFolder) -> None:
    """Raise ValueError where another seed has the same outputs: the mean over seeds would count one training twice."""
    for other in folder.path.parent.glob("seed*/training.json"):
        known = read_json(other).get("pretrained", {}) if other.parent != folder.path else {}
        if known.get("sha256") == external.sha256:
            raise ValueError(f"{other.parent} has these very outputs: a seed is a training of its own")


def _provenance(external: External, config: Config, file: str) -> dict[str, Any]:
    """Return what is known of the run: this project's version, and the file."""
    here = collect_provenance(torch.device("cpu"), "fp32")
    code = {key: here[key] for key in ("versions", "git_commit")}
    run = {"device": "external", "precision": config["precision"], "seed": config["seed"]}
    return code | run | {"pretrained": {"file": file, "sha256": external.sha256}}
