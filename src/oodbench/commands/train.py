"""Train a classifier with a loss and measure its accuracy, calibration and OOD detection; a finished run says so."""

import sys

import hydra
from omegaconf import DictConfig

from oodbench.cli.checks import is_finished
from oodbench.cli.configuration import resolve
from oodbench.cli.errors import exit_codes
from oodbench.cli.late import import_late
from oodbench.cli.main import main as run_checked
from oodbench.runs.folder import RunFolder
from oodbench.runs.record import number_named, requested
from oodbench.shipped import CONF


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")
def train(cfg: DictConfig) -> float | None:
    """Bring one run to its record; return `validation.objective`, which a search optimises, if images are held out."""
    config = resolve(cfg)
    folder = RunFolder.of(config)
    if is_finished(config) and not config["force"]:
        print(f"finished already, force=true runs it again: {folder.path}")
    else:
        with exit_codes():
            import_late("experiment").run(config)
    record = folder.read_record()
    if record is None or not requested(config).validation:
        return None
    return number_named(record["validation"], config["validation"]["objective"])


def main() -> None:
    run_checked(train, sys.argv[1:])
