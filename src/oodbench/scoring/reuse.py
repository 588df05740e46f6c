"""Checks of outputs from a run's earlier starts: of the same images, by the same loss and the same network."""

import warnings
from collections.abc import Mapping

import numpy as np

from oodbench.data.split import Split
from oodbench.model import Classifier, extract_features
from oodbench.outputs import Outputs
from oodbench.runs.code import Code, changed_parts, code_of, joined_code
from oodbench.runs.folder import RunFolder
from oodbench.runs.identity import Config
from oodbench.runs.record import Record

OUTDATED = "has other logits, probabilities or scores than the loss gives today: another version wrote it"
SAME_FEATURES = 0.1  # of their norm: how far features of one network may differ


def remove_outdated_record(folder: RunFolder, name: str) -> None:
    """Remove the record, whose numbers are of outputs that the loss no longer gives, such as those of this set."""
    folder.remove_record()
    what = f"{folder.outputs(name)} {OUTDATED}; the numbers of earlier starts are removed"
    warnings.warn(f"outputs are computed again: {what}", stacklevel=2)


def check_network(
    folder: RunFolder,
    config: Config,
    model: Classifier,
    splits: Mapping[str, Split],
    stored: Mapping[str, Outputs | None],
) -> None:
    """Raise ValueError where the network's code was edited since it was trained: numbers of two networks would stand in
    one record.

    stored: {set: its outputs of earlier starts}. The network must give the features of a hundred images of one of them;
    they differ by a few percent between machines, in bf16. Where none are stored, the digests of its code decide.
    """
    way_out = "restore that code, or train again with force=true"
    for name, outputs in stored.items():
        if outputs:
            now, then = extract_features(model, splits[name].images[:100]).numpy(), outputs.features[:100]
            if now.shape != then.shape or not np.linalg.norm(now - then) <= SAME_FEATURES * np.linalg.norm(then):
                raise ValueError(f"the backbone gives other features than {folder.outputs(name)} has: {way_out}")
            return
    if changed := changed_parts(folder.read_training().get("code"), code_of(config)):
        raise ValueError(f"the code of the {changed} is not that with which {folder.path} was trained: {way_out}")


def code_behind_outputs(folder: RunFolder, config: Config, before: Record | None) -> Code:
    """Return the digests of the code behind a run's outputs, some of which are new: several of a part that was edited.

    before: the record that stands, of outputs some of which are still used.
    """
    trained, now = folder.read_training().get("code"), code_of(config)
    if changed := changed_parts(trained, now):
        what = f"the code of the {changed} is not that with which {folder.path} was trained"
        warnings.warn(f"{what}: its record names both", stacklevel=2)
    return joined_code(before["provenance"].get("code") if before else trained, now)
