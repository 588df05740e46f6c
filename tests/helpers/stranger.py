"""A stranger's run: whole, every file stamped with its identity, and its config.yaml says what the stranger wants."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import yaml

from oodbench.runs.folder import RunFolder, open_run
from oodbench.runs.identity import Config
from oodbench.storage import read_json


def forge(source: Path, results: Path, change: Callable[[Config], None], seed: int) -> Path:
    """Write a copy of a finished run with a changed configuration below `results`, whole by every checksum.

    Where no run can have the configuration it lies in a folder of the run that was changed, with another seed.
    """
    old, config = open_run(source)
    config = deepcopy(config) | {"seed": seed}
    change(config)
    try:
        new = RunFolder(results, RunFolder.of(config | {"results_dir": str(results)}).run)
    except (ValueError, KeyError, TypeError, AttributeError):
        new = RunFolder(results, old.run._replace(seed=seed))
    weights, record, training = old.usable_weights(), old.read_record(), old.read_training()
    assert weights is not None
    write(new.config, config)
    new.write_training(
        {k: v for k, v in training.items() if k not in ("run", "weights", "train_digest")},
        weights,
        training["train_digest"],
    )
    for file in (old.path / "outputs").glob("*.safetensors"):
        outputs = old.read_outputs(file.stem)
        assert outputs is not None
        new.write_outputs(file.stem, outputs, record["provenance"]["digests"][file.stem])
    new.write_weights(weights)
    resamples = old.read_resamples(record)
    stamp = ("run", "config_hash", "seed", "weights", "resamples")
    new.write_record({key: value for key, value in record.items() if key not in stamp}, resamples)
    (new.path / "train.csv").write_bytes((old.path / "train.csv").read_bytes())
    assert read_json(new.metrics)["run"] == str(new.run)
    return new.path


def write(file: Path, config: Config) -> None:
    """Write a configuration as YAML, whatever is in it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.dump(config, sort_keys=False, Dumper=NoAliases))


class NoAliases(yaml.SafeDumper):
    """Writes an object that stands in two places twice."""

    def ignore_aliases(self, data: object) -> bool:
        return True
