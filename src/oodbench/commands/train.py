"""Train a classifier with a loss and measure its accuracy, calibration and OOD detection."""

import signal
import sys

import hydra
from omegaconf import DictConfig

from oodbench.cli.checks import is_finished
from oodbench.cli.configuration import resolve
from oodbench.cli.errors import exit_codes, plain_warnings
from oodbench.cli.launch import launch
from oodbench.cli.sweep import announce, in_search, in_sweep, timed
from oodbench.runs.config import read_config
from oodbench.runs.folder import RunFolder
from oodbench.runs.lock import run_lock
from oodbench.runs.record import number_named, requested
from oodbench.runs.terminal import finished
from oodbench.shipped import CONF


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")
def train(cfg: DictConfig) -> float | None:
    """Train and score one run, or print its numbers if it is finished; return `validation.objective` for a search."""
    plain_warnings()
    config = resolve(cfg)
    folder = RunFolder.of(config)
    if in_sweep():
        announce()
    if is_finished(config) and not config["force"]:
        if config["note"] not in ("", read_config(folder.config).get("note")):
            with exit_codes(folder.error), run_lock(folder.path):
                folder.write_note(config["note"])
        if not folder.card.exists():
            from oodbench.report.card import restore_card  # brings scipy

            restore_card(folder)
        print(finished(folder.read_record(), folder.path, config, in_sweep()), flush=True)
    else:
        with exit_codes(folder.error), timed():
            from oodbench.experiment import run  # brings torch: seconds, for which a finished run does not wait

            run(config, in_sweep())
    record = folder.usable_record()
    if record is None or not requested(config).validation:
        return None
    objective = config["validation"]["objective"]
    value = number_named(record["validation"], objective)
    if in_search():
        print(f"{objective} on held-out images: {value:.4f}", flush=True)
    return value


def main() -> None:
    try:
        launch(train, sys.argv[1:])
    except KeyboardInterrupt:  # before a run begins, or the second one
        raise SystemExit(128 + signal.SIGINT) from None
