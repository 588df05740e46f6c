"""The command that repeats a run, found by composing the configuration again and comparing."""

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from oodbench.cli.arguments import as_text
from oodbench.cli.configuration import compose, plain
from oodbench.cli.errors import UsageError
from oodbench.runs.identity import NAMED, Config, check_name, config_hash
from oodbench.runs.record import SELECTED, needs_images
from oodbench.shipped import conf_files

PLAIN = (bool, int, float, str)
PLAIN_PATH = r"[\w./+-]+"  # needs no quotes in Hydra's grammar
COMPARED = (*NAMED, "ood", "detector", "image_detector")  # value by value, of held-out images "validation", too


def command_of(config: Config) -> str | None:
    """Return the command line of train.py that gives a run of this configuration; None where there is none.

    It is composed and hashed as train.py would do it, so that a run's hash, its sets and its detectors say whether the
    command is right. The configuration is anybody's: no file but those of conf/ is read for it, no data are opened, and
    a command has plain values alone.
    """
    of_this_process = HydraConfig.instance().cfg
    try:
        choices = _choices(config)
        base = plain(compose(choices))
        if chosen := [
            override for group in ("detector", "image_detector") for override in _chosen(group, base, config)
        ]:
            choices += chosen
            base = plain(compose(choices))
        changed = _differences(base, config)
        again = plain(compose([*choices, *changed])) if changed else base
        is_right = config_hash(again) == config_hash(config) and not _differences(again, config)
    except (UsageError, HydraException, OmegaConfBaseException, ValueError, KeyError, AttributeError, TypeError):
        return None
    finally:
        HydraConfig.instance().cfg = of_this_process
    if not is_right:
        return None
    return " ".join(["python train.py", *map(shlex.quote, [*choices, *changed])])


def command_of_record(config: Config, provenance: Mapping[str, Any]) -> str | None:
    """Return the command that gives all numbers of a run's record: its sets, and the detectors of any later scoring."""
    try:
        nodes = {name: node for name, node in provenance["detector"].items() if not name.endswith(SELECTED)}
        of_images = {name: node for name, node in nodes.items() if needs_images(node)}
        of_outputs = {name: node for name, node in nodes.items() if name not in of_images}
        dataset = config["dataset"]
        if "roots" in provenance:  # early records lack them
            dataset = _rooted(dataset, provenance["roots"], config.get("data_root"))
        ood = dict(provenance["ood"])
        recorded = {"dataset": dataset, "ood": ood, "detector": of_outputs, "image_detector": of_images}
    except (KeyError, AttributeError, TypeError, ValueError):  # a published record is not trusted; early ones lack them
        recorded = {}
    return command_of(config | recorded)


def _rooted(dataset: Config, roots: Mapping[str, str], data_root: Any) -> Config:
    """Return a data set with the roots of the last start that measured it."""
    parts = {part: node for part, node in dataset.items() if isinstance(node, dict) and "root" in node}
    return dataset | {part: node | {"root": roots.get(part, data_root)} for part, node in parts.items()}


def _choices(config: Config) -> list[str]:
    """Return the overrides that pick files of conf/, and seed, precision, threads and held-out images"""
    choices = [f"{part}={config['name'][part]}" for part in NAMED] + [f"seed={config['seed']}"]
    if config["precision"] != "auto":
        choices.append(f"precision={config['precision']}")
    if isinstance(config.get("threads"), int):
        choices.append(f"threads={config['threads']}")
    if images := config.get("validation", {}).get("images"):
        ood = config["validation"]["ood"]
        choices += [f"validation.images={images}", f"ood@validation.ood={_reader_of(ood)}"]
        choices += [f"validation.ood.{key}={_quoted(ood[key])}" for key in ("path", "list") if key in ood]
    if config.get("allow_overlap") is True:
        choices.append("allow_overlap=true")
    return choices + _sets(config) + _elsewhere(config)


def _sets(config: Config) -> list[str]:
    """Return the overrides of the OOD sets: those of conf by name, or none of them; others by path, or as one of conf.

    Raises ValueError for a set that is neither.
    """
    targets = {name: yaml.safe_load(file.read_text("utf-8"))["_target_"] for name, file in conf_files("ood").items()}
    nodes = {check_name("ood", name): node for name, node in config["ood"].items()}
    known = [name for name, node in nodes.items() if name in targets and node.get("_target_") in (None, targets[name])]
    others = {name: node for name, node in config["ood"].items() if name not in known}
    lists = [f"ood.{name}.list={_quoted(node['list'])}" for name, node in others.items() if "list" in node]
    return [f"ood=[{','.join(known)}]", *(_other_set(name, node) for name, node in others.items()), *lists]


def _elsewhere(config: Config) -> list[str]:
    """Return the overrides of images that do not lie below the data root. Raises ValueError for what is no path."""
    nodes = {f"dataset.{part}": config["dataset"].get(part) for part in ("train", "test")}
    nodes |= {f"ood.{name}": node for name, node in config["ood"].items()}
    if config.get("validation", {}).get("images"):
        nodes["validation.ood"] = config["validation"]["ood"]
    roots = {key: node.get("root") for key, node in nodes.items() if isinstance(node, dict)}
    others = {key: root for key, root in roots.items() if root not in (None, config.get("data_root"))}
    if strange := [root for root in others.values() if not isinstance(root, str) or "${" in root]:
        raise ValueError(f"root={strange[0]!r} is no path")
    return [f"{key}.root={_quoted(root)}" for key, root in others.items()]


def _other_set(name: str, node: Config) -> str:
    if "path" in node:
        return f"+ood.{name}.path={_quoted(node['path'])}"
    return f"+ood@ood.{name}={_reader_of(node)}"


def _quoted(path: Any) -> str:
    return str(path) if re.fullmatch(PLAIN_PATH, str(path)) else as_text(str(path))


def _reader_of(node: Config) -> str:
    """Return the name of the first set in conf/ood that is read like this one. Raises ValueError where none is."""
    nodes = {name: yaml.safe_load(file.read_text("utf-8")) for name, file in conf_files("ood").items()}
    same = [name for name, each in nodes.items() if each["_target_"] == node["_target_"]]
    if not same:
        raise ValueError(f"conf/ood has no set that is read by {node['_target_']}")
    return same[0]


def _chosen(group: str, base: Config, config: Config) -> list[str]:
    """Return the override of a group of detectors, where they are not the default ones; without their hyperparameters.

    Raises ValueError for one that conf lacks.
    """
    names = [check_name(group, name) for name in config.get(group) or {}]
    if set(names) == set(base.get(group) or {}):
        return []
    known = conf_files(group).keys()
    if unknown := set(names) - known:
        raise ValueError(f"conf/{group} lacks {', '.join(sorted(unknown))}")
    return [f"{group}=all" if group == "detector" and set(names) == known else f"{group}=[{','.join(names)}]"]


def _differences(base: Config, wanted: Config) -> list[str]:
    """Return an override for every value in which the configurations of two runs differ."""
    held_out = ["validation"] if (wanted.get("validation") or {}).get("images") else []
    parts = (*COMPARED, *held_out)
    return [override for part in parts for override in _changed(part, base[part], wanted.get(part) or {})]


def _changed(prefix: str, base: Any, wanted: Any) -> list[str]:
    """Return an override for every value that differs. Raises ValueError for one that is not plain."""
    if isinstance(base, dict) and isinstance(wanted, dict):
        keys = {key: "" if key in base else "+" for key in wanted if key not in ("root", "_target_", "_partial_")}
        return [o for key, plus in keys.items() for o in _changed(f"{plus}{prefix}.{key}", base.get(key), wanted[key])]
    if base == wanted:
        return []
    if not all(each is None or isinstance(each, PLAIN) for each in (wanted if isinstance(wanted, list) else [wanted])):
        raise ValueError(f"{prefix} is no plain value, or a list of these")
    return [f"{prefix}={json.dumps(wanted, separators=(',', ':'))}"]
