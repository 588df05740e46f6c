"""The command line, checked before anything starts, and a sweep's cells with what becomes of them.

The files below conf/ are the schema: a key is one of theirs, and a value is of the type of its default. Hydra alone
would take `seed=abc` for a text, and would not say which keys there are.
"""

import difflib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import hydra
from hydra import initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from oodbench.choices import store_all_detectors
from oodbench.runs.folder import Run
from oodbench.runs.lock import run_by_workers
from oodbench.runs.signals import ending
from oodbench.runs.status import state_of, table
from oodbench.storage import UnwritableError, check_writable

CONF = Path(__file__).resolve().parents[2] / "conf"
store_all_detectors(CONF)
NUMBER = (int, float)
KINDS: dict[type, tuple[str, tuple[type, ...]]] = {  # of a default: in words, what may stand in its place
    bool: ("true or false", (bool,)),
    int: ("a whole number", (int,)),
    float: ("a number", (*NUMBER, type(None))),  # null: not at all, as in recipe.clip_grad_norm=null
    str: ("a text", (str,)),
    list: ("a list", (list,)),
    dict: ("a group of keys", (dict,)),
    type(None): ("a number, true, false, a list or null", (*NUMBER, bool, list, type(None))),
}
CHOICES: dict[str, tuple[Any, ...]] = {"compile": (False, True, "reduce-overhead", "max-autotune")}  # of several types
OPEN = ("ood", "detector", "image_detector")  # where +<name> adds a set or a score of one's own


class UsageError(Exception):
    """A command line that no run can follow; the message names the key, the value and what is there instead."""


def compose(overrides: Sequence[str] = ()) -> DictConfig:
    """Return the configuration that `python train.py <overrides>` sees, without Hydra's own part."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = hydra.compose("train", list(overrides), return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)  # `name` reads the choices from it
    with open_dict(cfg):
        del cfg["hydra"]
    return cfg


def start(main: Callable[[], Any], arguments: Sequence[str], conf: Path) -> None:
    """Call main, a `hydra.main` that reads the same arguments, once they are known to be right.

    After a sweep over a grid: a table of its cells, and SystemExit with status 1 where one is not finished.
    """
    try:
        runs = cells(arguments, conf)
    except UsageError as error:
        raise SystemExit(f"{Path(sys.argv[0]).name}: {error}") from None
    except HydraException:  # main will tell it better
        runs = []
    if runs and runs[0].config["dry_run"]:  # which Hydra would begin by making a folder
        print(*(run.outlook() for run in runs), sep="\n")
        return
    try:
        for results_dir in {run.results_dir for run in runs}:  # Hydra writes there before any cell does
            check_writable(results_dir / "runs")
    except UnwritableError as error:
        raise SystemExit(f"{Path(sys.argv[0]).name}: {error}") from None
    try:
        with ending(lambda: run_by_workers(run.folder for run in runs)):
            main()
    finally:
        if runs:
            print("\n" + table([state_of(run.folder, run.results_dir, run.is_finished()) for run in runs]))
    if not all(run.is_finished() for run in runs):
        raise SystemExit(1)


def cells(arguments: Sequence[str], conf: Path) -> list[Run]:
    """Check every override; the runs that a sweep will start, in its order.

    Empty for a single run, for a search that chooses as it goes, and for what Hydra answers itself (--help, --cfg).
    Raises UsageError for a key that is not there or a value of another type, HydraException for what Hydra refuses.
    """
    args = get_args_parser().parse_args(list(arguments))
    elsewhere = args.config_dir or args.config_name or args.config_path or args.experimental_rerun
    if elsewhere or args.help or args.hydra_help or args.cfg or args.info or args.shell_completion:
        return []
    with initialize_config_dir(str(conf.resolve()), version_base="1.3"):
        given = _parsed(args.overrides)
        plain = [o for o in given if not o.is_sweep_override()]
        settings = _composed([_text(o) for o in plain if _is_choice(o) or o.is_hydra_override()])["hydra"]
        sweeps = args.multirun or settings["mode"] == RunMode.MULTIRUN
        grid = sweeps and settings["sweeper"]["_target_"].endswith("BasicSweeper")
        lines = _lines(args.overrides, settings["sweeper"]["params"] or {}) if grid else [args.overrides]
        _check_lines(lines)
        if sweeps and not grid and not _composed([_text(o) for o in plain])["validation"]["images"]:
            raise UsageError("a search needs images to choose by that are not reported: add validation.images=5000")
        return [Run(_composed(line)) for line in lines] if grid else []


def _parsed(texts: Sequence[str]) -> list[Override]:
    return OverridesParser.create(config_loader=GlobalHydra.instance().config_loader()).parse_overrides(list(texts))


def _text(override: Override) -> str:
    return str(override.input_line)


def _is_choice(override: Override) -> bool:
    """Whether it picks a file, as in loss=halo."""
    key = override.key_or_group  # a group's has no dot, and to ask takes 10 ms
    loader = GlobalHydra.instance().config_loader()
    return "." not in key and bool(loader.get_group_options(key, ObjectType.CONFIG))


def _lines(overrides: Sequence[str], params: dict[str, Any]) -> list[Sequence[str]]:
    """The overrides of every cell of the grid that they and the configured parameters span."""
    swept = [f"{key}={value}" for key, value in params.items()]
    (lines,) = BasicSweeper.split_arguments(_parsed([*swept, *overrides]), None)
    return list(lines)


def _check_lines(lines: Sequence[Sequence[str]]) -> None:
    """Raise UsageError where one sets what is not there, given the files that it picks."""
    defaults = cache(lambda *choices: _composed(choices))  # of a hundred cells few pick different files
    for line in lines:
        overrides = [override for override in _parsed(line) if not override.is_hydra_override()]
        known = defaults(*(_text(o) for o in overrides if _is_choice(o)))
        for override in overrides:
            if not _is_choice(override):
                check(override, known)


def _composed(overrides: Sequence[str]) -> dict[str, Any]:
    """The resolved configuration, Hydra's own part included."""
    cfg = hydra.compose("train", list(overrides), return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)  # which `name` reads the choices from
    config: Any = OmegaConf.to_container(cfg, resolve=False)
    own_part = config.pop("hydra")
    own = OmegaConf.masked_copy(cfg, list(config))
    return {**OmegaConf.to_container(own, resolve=True), "hydra": own_part}  # type: ignore[dict-item]


def check(override: Override, defaults: dict[str, Any]) -> None:
    """Raise UsageError where an override names a key that the defaults lack, or has a value of another type."""
    *parents, name = override.key_or_group.split(".")
    foreign = bool(parents) and parents[0] in OPEN  # or below a _target_ that checks its arguments itself
    node: Any = defaults
    for depth, key in enumerate([*parents, name]):
        if not isinstance(node, dict) or override.is_delete():
            return  # a list's element: Hydra's affair
        foreign |= not str(node.get("_target_", "oodbench.")).startswith("oodbench.")
        if key not in node:
            if foreign and (override.is_add() or override.is_force_add()):
                return
            elsewhere = [path for path in paths(defaults) if path.endswith(f".{key}")]
            raise UsageError(f"{override.input_line}: {_absent(key, parents[:depth], node, elsewhere)}")
        node = node[key]
    if override.is_sweep_override():
        return  # its values come one by one
    if override.key_or_group in CHOICES:
        choices = [json.dumps(choice) for choice in CHOICES[override.key_or_group]]  # in which 1 is not true
        if json.dumps(override.value()) not in choices:
            raise UsageError(f"{override.input_line}: there is {', '.join(choices)}")
    elif not _fits(override.value(), node):
        words = KINDS[type(node)][0]
        raise UsageError(f"{override.input_line}: {words} is needed; the default is {json.dumps(node)}")


def paths(node: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """The dotted names of all keys, at every depth."""
    for key, value in node.items():
        yield prefix + key
        if isinstance(value, dict) and key != "hydra":
            yield from paths(value, f"{prefix}{key}.")


def _absent(key: str, parents: Sequence[str], node: dict[str, Any], elsewhere: Sequence[str]) -> str:
    there = sorted(name for name in node if name not in ("_target_", "_partial_", "hydra"))
    close = [".".join([*parents, name]) for name in difflib.get_close_matches(key, there, n=1)] or elsewhere
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    return f"{'.'.join(parents) or 'the configuration'} has no {key}; {hint}there is {', '.join(there)}"


def _fits(value: Any, default: Any) -> bool:
    if default == "???" or (isinstance(value, str) and "${" in value):
        return True  # to be given; known when it is resolved
    types = KINDS[type(default)][1]
    return isinstance(value, types) and (not isinstance(value, bool) or bool in types)
