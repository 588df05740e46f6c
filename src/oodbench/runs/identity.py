"""A run's identity: a hash of what decides its numbers, and the place below `runs/` that follows from it."""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

Config = dict[str, Any]

PLACES = ("root",)  # keys that say where a set lies, not what it is
NOT_OF_DATASET = ("near", "shifted", "path")  # for tables only; where a custom set lies
PRETRAINED = "pretrained"  # the recipe's name where weights or outputs were made by other code
NAME = r"[A-Za-z0-9_][A-Za-z0-9_.+-]*"  # one folder, one cell of a table, no formula of a spreadsheet
OWN_SETS = ("train", "test", "val", "val_ood")  # whose outputs have these names
TAKEN = r"(?i)readme|.*\.(oodpos|matrix|paper|by-.*)"  # a data set's tables, <name>.md, would replace another file
LONGEST = 1000  # characters
NAMED = ("dataset", "backbone", "loss", "recipe")


class RunId(NamedTuple):
    """Names, hash and seed of one run. As text `<hash>/seed<n>`, which each of its files names as its run."""

    dataset: str
    backbone: str
    loss: str
    recipe: str
    hash: str
    seed: int

    def __str__(self) -> str:
        return f"{self.hash}/seed{self.seed}"

    @property
    def place(self) -> Path:
        """<dataset>/<backbone>/<loss>/<recipe>-<hash>/seed<n>, below `runs/`."""
        return Path(self.dataset, self.backbone, self.loss, f"{self.recipe}-{self.hash}", f"seed{self.seed}")


def identify(config: Config) -> RunId:
    """Return the identity of the run that a resolved configuration describes.

    Raises ValueError for a name that cannot be a folder's, a seed that is not a whole number from 0 on, or a text that
    no table and no terminal has room for.
    """
    for text in _texts_of(config):
        if len(text) > LONGEST:
            raise ValueError(
                f"{text[:40]!r}... has {len(text)} characters, and a configuration's strings at most {LONGEST}"
            )
    names = {part: check_name(f"name.{part}", config["name"][part]) for part in NAMED}
    if re.fullmatch(TAKEN, names["dataset"]):
        raise ValueError(f"name.dataset={names['dataset']}: {names['dataset']}.md is another file; give another name")
    seed = config["seed"]
    if type(seed) is not int or not 0 <= seed < 2**63:
        raise ValueError(f"seed={seed!r}: a whole number from 0 to 2^63 - 1 is needed")
    return RunId(**names, hash=config_hash(config), seed=seed)


def _texts_of(node: Any) -> Iterator[str]:
    """Yield the keys and texts of a configuration."""
    if isinstance(node, dict):
        node = [*node, *node.values()]
    if isinstance(node, list):
        for each in node:
            yield from _texts_of(each)
    elif isinstance(node, str):
        yield node


def check_name(what: str, name: Any) -> str:
    """Return the name. Raises ValueError where it could leave its folder or is not text."""
    if not isinstance(name, str) or not re.fullmatch(NAME, name) or len(name) > 100:
        raise ValueError(f"{what}={name!r}: at most 100 letters, digits, _, ., + and - are needed, not . or - first")
    return name


def check_ood_name(name: Any) -> str:
    """Return the name of an OOD set. Raises ValueError where no file can have it, or one of the run's own sets has."""
    if name in OWN_SETS:
        raise ValueError(f"an OOD set cannot be called {name}, as one of the run's own sets is; choose another name")
    return check_name("ood", name)


def config_hash(config: Config) -> str:
    """Return eight hex digits of what decides a run's numbers: names, data, network, loss, recipe, precision.

    Paths, the seed, OOD sets and detectors do not count, and 1.0 is 1.
    """
    identity = {key: config[key] for key in ("name", "dataset", "backbone", "loss", "recipe", "precision")}
    identity["dataset"] = {key: value for key, value in config["dataset"].items() if key not in NOT_OF_DATASET}
    if held_out := config.get("validation", {}).get("images"):
        identity["held_out"] = held_out
    return hashlib.sha256(json.dumps(_plain(without_places(identity)), sort_keys=True).encode()).hexdigest()[:8]


def _plain(node: Any) -> Any:
    """Make whole floats integers: 1.0 and 1 are one setting."""
    if isinstance(node, dict):
        return {key: _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(value) for value in node]
    return int(node) if isinstance(node, float) and node.is_integer() else node


def without_places(node: Any, data_root: str | None = None) -> Any:
    """Return the configuration without the keys that say where something lies; with a data root, that it lies there.

    Another folder than the data root may hold other images.
    """
    if isinstance(node, dict):
        kept = {key: value for key, value in node.items() if key not in PLACES or data_root not in (None, value)}
        return {key: without_places(value, data_root) for key, value in kept.items()}
    return [without_places(value, data_root) for value in node] if isinstance(node, list) else node


def with_pretrained_weights(config: Config) -> Config:
    """Return the configuration whose recipe is the digests of its weight files: how they were trained is not known.

    Without `weights` it is returned as it is. Raises FileNotFoundError for a file that is missing, ValueError where two
    files are the same.
    """
    if not config.get("weights") or config["recipe"].get("weights"):  # the latter was written to a run's folder
        return config
    for path in config["weights"]:
        if not isinstance(path, str) or not Path(path).is_file():
            raise FileNotFoundError(f"weights: {path} is missing, or no file")
    digests = [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in config["weights"]]
    first: dict[str, str] = {}
    for path, digest in zip(config["weights"], digests, strict=True):
        if digest in first:
            same = f"names {path} twice" if path == first[digest] else f"{path} and {first[digest]} are the same file"
            raise ValueError(f"weights {same}: a seed is a training of its own")
        first[digest] = path
    recipe = {"epochs": None, "weights": [digest[:12] for digest in digests]}
    return config | {"recipe": recipe, "name": config["name"] | {"recipe": PRETRAINED}}
