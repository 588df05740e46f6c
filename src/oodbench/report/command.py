"""The command that repeats a run, found by composing the configuration again and comparing."""

import json
import shlex
from typing import Any

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from oodbench.cli.configuration import compose, resolve
from oodbench.cli.errors import UsageError
from oodbench.runs.identity import NAMED, Config, config_hash
from oodbench.tables.names import CONF

COMPARED = ("dataset", "backbone", "loss", "recipe")  # blocks whose values are compared one by one


def command_of(config: Config) -> str | None:
    """Return the command line of train.py that gives a run of this configuration; None where there is none.

    It is composed and hashed as train.py would do it, so that a run's hash says whether the command is right.
    """
    choices = [f"{part}={config['name'][part]}" for part in NAMED] + [f"seed={config['seed']}"]
    if config["precision"] != "auto":
        choices.append(f"precision={config['precision']}")
    if images := config.get("validation", {}).get("images"):
        choices.append(f"validation.images={images}")
    choices += _sets(config)
    try:
        base: Config = resolve(compose(choices))
        changed = [override for part in COMPARED for override in _changed(part, base[part], config[part])]
        again = resolve(compose([*choices, *changed]))
    except (UsageError, HydraException, OmegaConfBaseException, ValueError, KeyError, AttributeError):
        return None
    if config_hash(again) != config_hash(config):
        return None
    return " ".join(["python train.py", *map(shlex.quote, [*choices, *changed])])


def _sets(config: Config) -> list[str]:
    """Return the override of the OOD sets: those of conf by name, others by path"""
    known = [name for name in config["ood"] if (CONF / "ood" / f"{name}.yaml").is_file()]
    others = {name: node["path"] for name, node in config["ood"].items() if name not in known and "path" in node}
    return [f"ood=[{','.join(known)}]"] * bool(known) + [f"+ood.{name}.path={path}" for name, path in others.items()]


def _changed(prefix: str, base: Any, wanted: Any) -> list[str]:
    """Return an override for every value that differs"""
    if isinstance(base, dict) and isinstance(wanted, dict):
        keys = [key for key in wanted if key not in ("root", "_target_", "_partial_")]
        return [o for key in keys for o in _changed(f"{prefix}.{key}", base.get(key), wanted[key])]
    if base == wanted:
        return []
    return [f"{prefix}={json.dumps(wanted, separators=(',', ':'))}"]
