"""The command line of train.py, checked before anything starts; a sweep's runs; configurations for other programs."""

import argparse
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra import initialize_config_dir
from hydra._internal.utils import get_args_parser  # Hydra has no public way to read its own options
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from oodbench.choices import store_all_detectors
from oodbench.evaluation.metrics import ID_METRICS, OOD_METRICS
from oodbench.overrides import UsageError, check, check_choices, check_limits, is_choice, parse
from oodbench.runs.folder import RunFolder
from oodbench.runs.identity import Config, with_pretrained_weights
from oodbench.runs.lock import LockedError, run_by_workers
from oodbench.runs.record import is_complete, objective_names, requested
from oodbench.runs.signals import exit_on_signal
from oodbench.runs.status import state_of, table
from oodbench.storage import UnwritableError, check_writable

CONF = Path(__file__).resolve().parents[2] / "conf"
store_all_detectors(CONF)
DATA = ("dataset", "ood", "validation", "allow_overlap")  # keys that say which sets a run opens
BUSY = 75  # sysexits.h's EX_TEMPFAIL: try again later


def compose(overrides: Sequence[str] = ()) -> DictConfig:
    """Return the configuration that `python train.py <overrides>` sees, without Hydra's own part."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = _composed(overrides)
    return without_hydra(cfg)


def main(train: Callable[[], Any], arguments: Sequence[str]) -> None:
    """Call train, a `hydra.main` that reads sys.argv, once the arguments are known to be right.

    After a sweep over a grid: a table of its runs, and SystemExit with status 1 where one is not finished.
    """
    sys.argv[1:] = arguments = [quoted(argument) for argument in arguments]
    try:
        runs, is_sweep = plan(arguments)
        check_buildable(runs)
        if runs and runs[0]["dry_run"]:  # Hydra would begin by making a folder
            dry_run(runs)
            return
        runs = runs if is_sweep else []
        for results_dir in {config["results_dir"] for config in runs}:  # Hydra writes there before any run does
            check_writable(Path(results_dir, "runs"))
    except (UsageError, UnwritableError) as error:
        raise SystemExit(f"{Path(sys.argv[0]).name}: {' '.join(str(error).split())}") from None
    folders = [RunFolder.of(config) for config in runs]
    try:
        with exit_on_signal(lambda: run_by_workers(folder.path for folder in folders)):
            train()
    finally:
        if runs:
            print(
                "\n"
                + table([state_of(f.path, f.results_dir, is_finished(c)) for f, c in zip(folders, runs, strict=True)])
            )
    if not all(is_finished(config) for config in runs):
        raise SystemExit(1)


def plan(arguments: Sequence[str]) -> tuple[list[Config], bool]:
    """Check every override; return the resolved configurations that will run, in their order, and if it is a sweep.

    No run for a search, which chooses as it goes, and for what Hydra answers itself (--help, --cfg). Raises UsageError
    for a key that is not there, or a value of another type or range.
    """
    args = _hydra_options(arguments)
    other_conf = args.config_dir or args.config_name or args.config_path or args.experimental_rerun
    if other_conf or args.help or args.hydra_help or args.cfg or args.info or args.shell_completion:
        return [], False
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            given = parse(args.overrides)
            for override in given:
                check_choices(override)
            plain = [o for o in given if not o.is_sweep_override()]
            settings = _composed([_text(o) for o in plain if is_choice(o) or o.is_hydra_override()]).hydra
            is_sweep = args.multirun or settings.mode == RunMode.MULTIRUN
            several = [_text(o) for o in given if o.is_sweep_override()]
            if several and not is_sweep:
                raise UsageError(f"{' '.join(several)}: several values are a sweep, which needs -m; quotes make a text")
            if is_sweep and not settings.sweeper._target_.endswith("BasicSweeper"):
                _check_search(given)
                return [], True
            lines = expand(args.overrides, settings.sweeper.params or {}) if is_sweep else [given]
            return [resolve(cfg) for cfg in _checked(lines)], is_sweep
    except (HydraException, OmegaConfBaseException) as error:
        raise UsageError(str(error).strip()) from error


def _hydra_options(arguments: Sequence[str]) -> argparse.Namespace:
    """Return Hydra's own options among the arguments. Raises UsageError where Hydra would print its usage."""

    def refuse(message: str) -> NoReturn:
        raise UsageError(f"{message}; --help lists keys and options")

    parser = get_args_parser()
    parser.error = refuse  # type: ignore[method-assign]
    return parser.parse_args(list(arguments))


def quoted(argument: str) -> str:
    """Quote a value with letters that Hydra's grammar lacks, as in results_dir=/x/über; lists have to be quoted."""
    key, _, value = argument.partition("=")
    is_plain = value.isascii() or any(mark in value for mark in "'\"\\,[{($")
    return argument if is_plain else f"{key}='{value}'"


def _check_search(given: Sequence[Override]) -> None:
    """Check what is known of a search before it starts."""
    values = [override for override in given if not is_choice(override)]
    for picked in expand([_text(override) for override in given if is_choice(override)], {}):
        list(_checked([[*picked, *values]]))
    cfg = _composed([_text(o) for o in given if not o.is_sweep_override()])
    if cfg.dry_run:
        raise UsageError("dry_run=true: a search chooses its runs as it goes; nothing can be said beforehand")
    if not cfg.validation.images:
        raise UsageError("a search needs held-out images to choose by: add validation.images=5000")


def expand(overrides: Sequence[str], params: dict[str, Any]) -> list[list[Override]]:
    """Return the overrides of every run of the grid that they and the configured parameters span.

    A key that is given twice keeps its first place and its last values, as in Hydra's own sweeper.
    """
    values: dict[str, list[str]] = {}
    for override in parse([*(f"{key}={value}" for key, value in params.items()), *overrides]):
        key = override.get_key_element()
        if override.is_sweep_override():
            if not override.is_discrete_sweep():
                raise UsageError(f"{override.input_line}: an interval is for hydra/sweeper=search; a grid needs a list")
            values[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
        else:
            values[key] = [f"{key}={override.get_value_element_as_str()}"]
    parsed = cache(lambda text: parse([text])[0])
    return [[parsed(text) for text in line] for line in itertools.product(*values.values())]


def _checked(lines: Sequence[Sequence[Override]]) -> Iterator[DictConfig]:
    """Yield the configuration of each line. Raises UsageError where one sets what no run can have."""
    defaults = cache(lambda *picked: _composed(picked))  # of a hundred runs few pick different files
    own_part = cache(lambda *picked: without_hydra(defaults(*picked)))
    known = cache(lambda *picked: OmegaConf.to_container(own_part(*picked), resolve=False))
    described: DictConfig | None = None
    for line in lines:
        picked = [_text(override) for override in line if is_choice(override)]
        values = [override for override in line if not is_choice(override) and not override.is_sweep_override()]
        for override in line:
            check_choices(override)
        for override in line:
            if not is_choice(override) and not override.is_hydra_override():
                check(override, known(*picked))  # type: ignore[arg-type]
        if any(o.is_add() or o.is_force_add() or o.is_delete() or o.is_hydra_override() for o in values):
            described = _composed([*picked, *map(_text, values)])
            yield without_hydra(described)
        else:
            if described is not defaults(*picked):
                described = defaults(*picked)
                HydraConfig.instance().set_config(described)  # `name` reads the choices from it
            yield overridden(own_part(*picked), values)


def overridden(defaults: DictConfig, values: Sequence[Override]) -> DictConfig:
    """Set plain values, as Hydra does it, but without reading the files again, which takes 0.2 s a run."""
    cfg = deepcopy(defaults)
    for override in values:
        OmegaConf.update(cfg, override.key_or_group, override.value(), merge=True)
    return cfg


def without_hydra(cfg: DictConfig) -> DictConfig:
    """Return the configuration without Hydra's own part."""
    return OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])


def _composed(overrides: Sequence[str]) -> DictConfig:
    """Compose conf/train.yaml, Hydra's own part included."""
    cfg = hydra.compose("train", list(overrides), return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)
    return cfg


def _text(override: Override) -> str:
    return str(override.input_line)


def resolve(cfg: DictConfig) -> Config:
    """Return a composed configuration as plain data, checked. Raises UsageError where no run can have it."""
    try:
        config: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
        config = with_pretrained_weights(config)
        RunFolder.of(config)
        request = requested(config)
    except KeyError as error:
        raise UsageError(f"the configuration lacks {error}, which every run needs") from error
    except (ValueError, OSError, OmegaConfBaseException) as error:
        raise UsageError(str(error)) from error
    check_limits(config)
    _check_together(config)
    if request.validation:
        known = objective_names(request, tuple(ID_METRICS), tuple(OOD_METRICS))
        if config["validation"]["objective"] not in known:
            name = config["validation"]["objective"]
            raise UsageError(f"validation.objective={name}: is not available; available: {', '.join(known)}")
    return config


def _check_together(config: Config) -> None:
    """Raise UsageError for values that exclude one another."""
    weights, seed = config["weights"], config["seed"]
    if weights and seed >= len(weights):
        raise UsageError(f"seed={seed}: weights names {len(weights)} files, one for each seed from 0 on")
    if weights and config["validation"]["images"]:
        raise UsageError("pretrained weights may have seen every training image: validation.images must be 0")
    validation = config["validation"]
    reported = [name for name, node in config["ood"].items() if validation["images"] and node == validation["ood"]]
    if reported:
        raise UsageError(
            f"{reported[0]} is reported, so nothing may be chosen on it: leave it out of ood=[...], or take another "
            "set for ood@validation.ood"
        )
    if config["devices"] > 1 and config["compile"]:
        raise UsageError(f"devices={config['devices']} compile={config['compile']}: not tried together; take one")


def check_buildable(runs: Sequence[Config]) -> None:
    """Raise UsageError, naming the run, where a loss, backbone, recipe or detector refuses its values."""
    keys = ("dataset", "backbone", "loss", "recipe", "detector", "image_detector", "weights")
    unlike = {json.dumps([config[key] for key in keys]): config for config in runs if not is_finished(config)}
    for config in unlike.values():
        try:
            with_torch("build").check(config)
        except (ValueError, TypeError, AttributeError, ImportError, HydraException, OmegaConfBaseException) as error:
            raise UsageError(f"{RunFolder.of(config).run.place}: {error}") from error


def with_torch(module: str) -> Any:
    """Return a module of oodbench that needs torch, which --help and a finished run need not wait for."""
    return import_module(f"oodbench.{module}")


def is_finished(config: Config) -> bool:
    """Tell whether the run has every number that its configuration asks for."""
    return is_complete(RunFolder.of(config).read_record(), requested(config))


def dry_run(runs: Sequence[Config]) -> None:
    """Print what the command would do. Raises SystemExit with status 1 where data of a run are missing.

    Nothing is downloaded.
    """
    os.environ["OODBENCH_OFFLINE"] = "1"
    problems: dict[str, str] = {}  # of a hundred runs most read the same sets
    for config in runs:
        print(dry_run_line(config), flush=True)
        if config["force"] or not is_finished(config):
            sets = json.dumps([config[key] for key in DATA])
            if sets not in problems:
                problems[sets] = data_problem(config)
            if problems[sets]:
                print(f"          cannot start: {problems[sets]}")
    if any(problems.values()):
        raise SystemExit(1)


def data_problem(config: Config) -> str:
    """Open the run's sets; return what is wrong with them, empty where nothing is."""
    try:
        with_torch("build").open_data(config)
    except (OSError, ValueError) as error:
        return " ".join(str(error).split())
    return ""


def dry_run_line(config: Config) -> str:
    """Return what the command would do."""
    state = "finished" if is_finished(config) and not config["force"] else "to do"
    return f"{state:<8}  {RunFolder.of(config).path}"


@contextmanager
def exit_codes() -> Iterator[None]:
    """Turn a lock and an unwritable folder into one line and an exit code; in a sweep the other runs go on."""
    is_single = HydraConfig.get().mode == RunMode.RUN
    try:
        yield
    except LockedError as error:
        print(f"not run: {error}")
        if is_single:
            raise SystemExit(BUSY) from error
    except UnwritableError as error:
        if is_single:
            raise SystemExit(f"not run: {error}") from error
        raise
