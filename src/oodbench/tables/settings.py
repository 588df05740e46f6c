"""Settings of a configuration, {dotted key: printed value}: read, chosen, compared, written out."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from sys import intern
from typing import Any

LOCATION_KEYS = ("root", "path", "digest", "images")  # keys of a set: where it lies; its number of images is counted
IMAGE_LIST = "oodbench.data.imglist"
USUAL = (("split", "test"), ("exclude_classes", "[]"))


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """{"optimizer": {"_target_": "torch.optim.SGD", "lr": 0.1}} -> {"optimizer": "SGD", "optimizer.lr": "0.1"}"""
    flat: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        elif key == "_target_" and prefix:
            flat[intern(prefix[:-1])] = intern(value.rpartition(".")[2])
        elif not key.startswith("_"):
            flat[intern(prefix + key)] = intern(printed(value))  # thousands of runs share nearly all of them
    return flat


def set_settings(configured: Any) -> dict[str, str]:
    """Return the settings of an OOD set, such as its corruption, without its places and what holds of all sets."""
    known = flatten(configured) if isinstance(configured, Mapping) else {}
    if "list" in known and str(configured.get("_target_")) == IMAGE_LIST:  # its path is this machine's
        known["list"] = PurePath(known["list"]).name
    return {key: value for key, value in known.items() if key not in LOCATION_KEYS and (key, value) not in USUAL}


def held_out_settings(of: Mapping[str, Any]) -> dict[str, str]:
    """Return the number of held-out images, the OOD set beside them and its settings; of a file its name."""
    known = flatten(of)
    if "images" not in known:
        return {}
    found = {key: known[key] for key in ("images", "ood") if key in known}
    file = {"ood.path": PurePath(known["ood.path"]).name} if "ood.path" in known else {}
    return found | file | {f"ood.{key}": value for key, value in set_settings(of["ood"]).items()}


def printed(value: Any) -> str:
    """Format a value of a configuration so that equal settings are equal texts."""
    if isinstance(value, float):
        return f"{value:.10g}"  # 1.0 in a file and 1 on the command line are one setting
    return " ".join(value.split()) if isinstance(value, str) else json.dumps(value)


def differing(settings: Iterable[Mapping[str, str]]) -> list[str]:
    """Return the keys on which these do not all agree, keys that only some have included."""
    settings = list(settings)
    keys = dict.fromkeys(key for each in settings for key in each)
    return [key for key in keys if len({each.get(key) for each in settings}) > 1]


def settings_text(settings: Mapping[str, str]) -> str:
    """Write out settings: {"tau": "0.04", "bins": "30"} -> tau=0.04, bins=30"""
    return ", ".join(f"{key}={value}" for key, value in settings.items())


def in_brackets(settings: Mapping[str, str]) -> str:
    """Write settings behind a name; "" where there are none."""
    return f" ({settings_text(settings)})" if settings else ""


def with_keys(keys: Iterable[str], settings: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of these keys."""
    return {key: settings[key] for key in keys if key in settings}


def without_keys(by: Sequence[str], prefix: str, settings: Mapping[str, str]) -> dict[str, str]:
    """Return the settings whose keys, behind the prefix, are not in `by`."""
    return {key: value for key, value in settings.items() if prefix + key not in by}
