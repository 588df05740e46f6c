"""Train a classifier with a loss and measure its accuracy, calibration and OOD detection.

python train.py loss=halo                 python train.py dataset=cifar100 loss=logitnorm loss.tau=0.01 seed=1
python train.py --help                    python train.py -m loss=ce,halo seed=0,1,2
"""

import sys

import hydra
from omegaconf import DictConfig

from oodbench import cli
from oodbench.runs.folder import RunFolder
from oodbench.runs.record import is_complete, number_named, requested


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(cfg: DictConfig) -> float | None:
    """Bring one run to its record; return `validation.objective`, which a search optimises, if images are held out."""
    config = cli.resolve(cfg)
    folder, request = RunFolder.of(config), requested(config)
    if is_complete(folder.read_record(), request) and not config["force"]:
        print(f"finished already, force=true runs it again: {folder.path}")
    else:
        with cli.exit_codes():
            cli.with_torch("experiment").run(config)
    record = folder.read_record()
    if record is None or not request.validation:
        return None
    return number_named(record["validation"], config["validation"]["objective"])


if __name__ == "__main__":
    cli.main(main, sys.argv[1:])
