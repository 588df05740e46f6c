"""The runs of a command, in their order: every override checked, a grid expanded as Hydra's own sweeper does it."""

import itertools
from argparse import Namespace
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, NoReturn

from hydra import initialize_config_dir
from hydra._internal.utils import get_args_parser  # Hydra has no public way to read its own options
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from oodbench.cli.configuration import (
    checked,
    compose_with_hydra,
    plain,
    with_values,
    without_hydra,
)
from oodbench.cli.errors import UsageError
from oodbench.cli.overrides import check_choices, check_key, is_choice, parse
from oodbench.cli.sweep import searches
from oodbench.evaluation.metrics import ID_METRICS, OOD_METRICS
from oodbench.runs.identity import Config
from oodbench.shipped import CONF


def plan(arguments: Sequence[str]) -> tuple[list[Config], bool]:
    """Check every override; return the resolved configurations of the runs, in order, and whether it is a sweep.

    None for a search, which chooses as it goes, nor for what Hydra answers itself (--help, --cfg). Raises UsageError
    for a key that is not there, or a value of another type or range.
    """
    args = _parse_hydra_options(arguments)
    other_conf = args.config_dir or args.config_name or args.config_path or args.experimental_rerun
    if other_conf or args.help or args.hydra_help or args.cfg or args.info or args.shell_completion:
        return [], False
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return _plan_runs(args.overrides, args.multirun)
    except (HydraException, OmegaConfBaseException) as error:
        raise UsageError(str(error).strip()) from error


def _parse_hydra_options(arguments: Sequence[str]) -> Namespace:
    """Return Hydra's own options among the arguments. Raises UsageError where Hydra would print its usage."""

    def refuse(message: str) -> NoReturn:
        raise UsageError(f"{message}; --help lists keys and options")

    parser = get_args_parser()
    parser.error = refuse  # type: ignore[method-assign]
    return parser.parse_args(list(arguments))


def _plan_runs(overrides: Sequence[str], multirun: bool) -> tuple[list[Config], bool]:
    given = parse(overrides)
    for override in given:
        check_choices(override)
    single = [o for o in given if not o.is_sweep_override()]
    settings = compose_with_hydra([_text(o) for o in single if is_choice(o) or o.is_hydra_override()]).hydra
    is_sweep = multirun or settings.mode == RunMode.MULTIRUN
    several = [_text(o) for o in given if o.is_sweep_override()]
    if several and not is_sweep:
        raise UsageError(f"{' '.join(several)}: several values are a sweep, which needs -m; quotes make a text")
    if is_sweep and searches(settings.sweeper):
        direction = settings.sweeper.get("direction")
        _check_search(given, str(getattr(direction, "name", direction)).lower())  # Optuna's own default is an Enum
        return [], True
    lines = expand(overrides, settings.sweeper.params or {}) if is_sweep else [given]
    return [checked(config) for config in _configurations(lines)], is_sweep


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


def _configurations(lines: Sequence[Sequence[Override]]) -> Iterator[Config]:
    """Yield the configuration of each line as plain data. Raises UsageError where one sets what no run can have."""
    defaults = cache(lambda *picked: compose_with_hydra(picked))  # of a hundred runs few pick different files
    own_part = cache(lambda *picked: without_hydra(defaults(*picked)))
    known = cache(lambda *picked: _unresolved(own_part(*picked)))
    described: DictConfig | None = None  # the configuration that HydraConfig tells of, from which `name` is resolved
    for line in lines:
        picked = [_text(override) for override in line if is_choice(override)]
        values = [override for override in line if not is_choice(override) and not override.is_sweep_override()]
        for override in line:
            check_choices(override)
        _check_keys(line, known(*picked))
        if any(o.is_add() or o.is_force_add() or o.is_delete() or o.is_hydra_override() for o in values):
            described = compose_with_hydra([*picked, *map(_text, values)])
            yield plain(without_hydra(described))
            continue
        if described is not defaults(*picked):
            described = defaults(*picked)
            HydraConfig.instance().set_config(described)
        yield plain(with_values(own_part(*picked), values))


def _unresolved(cfg: DictConfig) -> Any:
    return OmegaConf.to_container(cfg, resolve=False)


def _check_keys(line: Sequence[Override], defaults: Config) -> None:
    for override in line:
        if not is_choice(override) and not override.is_hydra_override():
            check_key(override, defaults)


def _check_search(given: Sequence[Override], direction: str) -> None:
    """Check what is known of a search before it starts; direction: where it looks for the best objective."""
    values = [override for override in given if not is_choice(override)]
    for picked in expand([_text(override) for override in given if is_choice(override)], {}):
        for override in picked:
            check_choices(override)
        _check_keys(values, _unresolved(without_hydra(compose_with_hydra([*map(_text, picked)]))))
    cfg = compose_with_hydra([_text(o) for o in given if not o.is_sweep_override()])
    if cfg.dry_run:
        raise UsageError("dry_run=true: a search chooses its runs as it goes; nothing can be said beforehand")
    if not cfg.validation.images:
        raise UsageError("a search needs held-out images to choose by: add validation.images=5000")
    objective = str(cfg.validation.objective)
    metric = (ID_METRICS | OOD_METRICS).get(objective.rpartition(".")[2])  # a run checks the name
    better, worse = ("maximize", "minimize") if metric and metric.higher_is_better else ("minimize", "maximize")
    if metric and direction == worse:
        raise UsageError(
            f"validation.objective={objective}: the search would {direction} it, and its best is the other end: "
            f"add hydra.sweeper.direction={better}"
        )


def _text(override: Override) -> str:
    return str(override.input_line)
