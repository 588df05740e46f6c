"""The configuration of a run: composed from conf/ as Hydra does it, then plain data that is checked as a whole."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from typing import Any

import hydra
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from oodbench.cli.choices import name_folders, store_all_detectors
from oodbench.cli.errors import UsageError
from oodbench.cli.limits import check_limits
from oodbench.evaluation.metrics import ID_METRICS, OOD_METRICS
from oodbench.runs.folder import RunFolder
from oodbench.runs.identity import Config, with_pretrained_weights
from oodbench.runs.places import with_absolute_places
from oodbench.runs.record import requested
from oodbench.shipped import CONF, conf_files

store_all_detectors(CONF)
name_folders()


def compose(overrides: Sequence[str] = ()) -> DictConfig:
    """Return the configuration that `python train.py <overrides>` sees, without Hydra's own part; also during a run."""
    is_running = GlobalHydra.instance().is_initialized()
    with nullcontext() if is_running else initialize_config_dir(str(CONF), version_base="1.3"):
        return without_hydra(compose_with_hydra(overrides))


def compose_with_hydra(overrides: Sequence[str]) -> DictConfig:
    """Compose conf/train.yaml, Hydra's own part included. Only where Hydra is initialised."""
    cfg = hydra.compose("train", list(overrides), return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)
    return cfg


def without_hydra(cfg: DictConfig) -> DictConfig:
    """Return the configuration without Hydra's own part."""
    return OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])


def with_values(defaults: DictConfig, values: Sequence[Override]) -> DictConfig:
    """Return the defaults with plain values set as Hydra sets them, without reading files again (0.2 s per run)."""
    cfg = deepcopy(defaults)
    for override in values:
        OmegaConf.update(cfg, override.key_or_group, override.value(), merge=True)
    return cfg


def resolve(cfg: DictConfig) -> Config:
    """Return a composed configuration as plain data, checked. Raises UsageError where no run can have it."""
    return checked(plain(cfg))


def plain(cfg: DictConfig) -> Config:
    """Return a composed configuration as plain data. Raises UsageError for a value that is missing, or names none."""
    with _usage_errors():
        config: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
        return config


def checked(config: Config) -> Config:
    """Return plain data as the configuration of a run. Raises UsageError where no run can have it."""
    with _usage_errors():
        config = with_absolute_places(with_pretrained_weights(config))
        RunFolder.of(config)
        check_limits(config)
        _check_combinations(config)
        _check_objective(config)
        return _with_statistics(config)


@contextmanager
def _usage_errors() -> Iterator[None]:
    """Turn errors about a configuration into UsageErrors."""
    try:
        yield
    except KeyError as error:
        raise UsageError(f"the configuration lacks {error}, which every run needs") from error
    except OmegaConfBaseException as error:
        raise UsageError(_missing(str(error)) or str(error)) from error
    except (ValueError, OSError) as error:
        raise UsageError(str(error)) from error


def _missing(error: str) -> str:
    """Turn OmegaConf's error about a value that must be given into a sentence; "" for another error."""
    found = re.search(r"Missing mandatory value: (\S+)\s+full_key: (\S+)", error)
    if not found:
        return ""
    missing, key = found.groups()  # the key is another one where it refers to the missing one
    return f"{key if key.endswith(f'.{missing}') else missing}=... must be given: it has no default"


def _with_statistics(config: Config) -> Config:
    """Measure what a custom data set does not state: its number of classes, mean and deviation."""
    if all(config["dataset"][key] is not None for key in ("num_classes", "mean", "std")):
        return config
    from oodbench.build import with_statistics  # brings torch

    return with_statistics(config)


def _check_combinations(config: Config) -> None:
    """Raise UsageError for values that exclude one another."""
    weights, seed = config["weights"], config["seed"]
    if not config["results_dir"]:
        raise UsageError("results_dir= is empty: a folder is needed, such as results_dir=results")
    if weights and seed >= len(weights):
        raise UsageError(f"seed={seed}: weights names {len(weights)} files, one for each seed from 0 on")
    recipe = config["recipe"]  # of pretrained weights it has no warm-up
    if not weights and recipe["warmup_epochs"] > recipe["epochs"]:
        asked = f"recipe.warmup_epochs={recipe['warmup_epochs']}"
        raise UsageError(f"{asked}: more than recipe.epochs={recipe['epochs']}, so no schedule would begin")
    if weights and config["validation"]["images"]:
        raise UsageError("pretrained weights may have seen every training image: validation.images must be 0")
    for name, node in config["ood"].items():
        if not isinstance(node, dict) or not ({"_target_", "path"} & node.keys()):
            raise UsageError(f"ood.{name}={node}: a set of your own is +ood.{name}.path=FOLDER_OR_PARQUET_FILE")
    validation = config["validation"]
    reported = [name for name, node in config["ood"].items() if validation["images"] and node == validation["ood"]]
    if reported:
        raise UsageError(
            f"{reported[0]} is reported, so nothing may be chosen on it: leave it out of ood=[...], or take another "
            "set for ood@validation.ood"
        )
    known = [*config["ood"], *conf_files("ood")]  # not every run has all near sets
    if strange := [name for name in config["dataset"]["near"] if name not in known]:
        here = ", ".join(config["ood"]) or "none"
        raise UsageError(f"dataset.near has {strange[0]}: neither an OOD set of the run ({here}) nor of conf/ood")
    name = config["name"]["dataset"]
    if "path" in config["dataset"] and (CONF / "dataset" / f"{name}.yaml").exists():
        raise UsageError(f"name.dataset={name}: another set has this name; give this one a name of its own")
    if config["devices"] > 1 and config["compile"] not in (False, "auto"):
        raise UsageError(f"devices={config['devices']} compile={config['compile']}: not tried together; take one")


def _check_objective(config: Config) -> None:
    """Raise UsageError where held-out images do not have the number that a search would optimise."""
    request, name = requested(config), config["validation"]["objective"]
    if not request.validation:
        return
    of_any_score = [name for name, metric in OOD_METRICS.items() if not metric.of_probabilities]
    known = [*ID_METRICS, *(f"ood.{detector}.{metric}" for detector in request.detectors for metric in of_any_score)]
    if name not in known:
        raise UsageError(f"validation.objective={name}: is not available; available: {', '.join(known)}")
