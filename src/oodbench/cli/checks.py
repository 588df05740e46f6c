"""Checks of planned runs before any of them starts: are they finished, can they be built, are their data there."""

import json
from collections.abc import Sequence

from oodbench.cli.errors import UsageError
from oodbench.runs.folder import RunFolder
from oodbench.runs.identity import Config
from oodbench.runs.record import is_complete, requested

BUILT = ("dataset", "ood", "backbone", "loss", "recipe", "detector", "image_detector", "weights")  # make objects


def is_finished(config: Config) -> bool:
    """Tell whether the run has every number that its configuration asks for."""
    return is_complete(RunFolder.of(config).usable_record(), requested(config))


def check_buildable(runs: Sequence[Config]) -> None:
    """Raise UsageError, naming the run, where a loss, backbone, recipe, detector or set refuses its values."""
    different = {json.dumps([config[key] for key in BUILT]): config for config in runs if not is_finished(config)}
    if not different:
        return
    from oodbench.build import try_build  # brings torch, for which finished runs do not wait

    for config in different.values():
        try:
            try_build(config)
        except ValueError as error:
            raise UsageError(f"{RunFolder.of(config).run.place}: {error}") from error


def data_problem(config: Config) -> str:
    """Open the run's sets; return what is wrong with them, empty where nothing is."""
    from oodbench.build import open_data  # brings torch

    try:
        open_data(config)
    except (OSError, ValueError) as error:
        return " ".join(str(error).split())
    return ""
