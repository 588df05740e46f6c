"""The text of --help: the commonest commands, the choices of each group, every key with its comment in conf/."""

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from string import Template

from hydra import initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from oodbench.cli.configuration import compose_with_hydra, without_hydra
from oodbench.cli.errors import UsageError
from oodbench.cli.overrides import parse
from oodbench.shipped import CONF

WIDTH = 120  # characters
KEY = re.compile(r"^(\s*)([\w.-]+):")
COMMENT = re.compile(r"\s# ?(.+)$")  # after a value
GROUPS = ("dataset", "backbone", "recipe", "loss", "experiment")  # later ones set keys of earlier ones


def help_text(arguments: Sequence[str]) -> str:
    """Return the text for a command with these arguments, which may choose files and set values; a list chooses none.

    Hydra's own --help takes half a second longer. Raises UsageError for an argument that is wrong.
    """
    template = OmegaConf.load(CONF / "train.yaml").hydra.help.template
    try:
        given = parse([argument for argument in arguments if not argument.startswith("-")])
        overrides = [str(override.input_line) for override in given if not override.is_sweep_override()]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = compose_with_hydra(overrides)
        keys = OmegaConf.to_yaml(without_hydra(cfg))
    except (HydraException, OmegaConfBaseException) as error:
        raise UsageError(str(error).strip()) from error
    config = annotated(keys, cfg.hydra.runtime.choices)
    return Template(template).substitute(APP_CONFIG_GROUPS=choices(), CONFIG=config) + "\n"


def annotated(text: str, chosen: Mapping[str, str]) -> str:
    """Return the YAML of a configuration with the comments of the files that are chosen, {group: file}."""
    known = comments(chosen)
    lines = text.splitlines()
    for at, key, line in paths(lines):
        if key in known and not COMMENT.search(line):
            lines[at] = f"{line:<30} # {known[key]}"
    return "\n".join(lines)


def choices() -> str:
    """Return one paragraph per group: the files of its folder in conf/."""
    folders = sorted(folder for folder in CONF.iterdir() if folder.is_dir() and folder.name != "hydra")
    files = {folder.name: sorted(file.stem for file in folder.glob("*.yaml")) for folder in folders}
    files["detector"].insert(0, "all")
    lines = [f"{group}: {', '.join(names)}" for group, names in files.items()]
    return "\n".join(textwrap.fill(line, WIDTH, subsequent_indent="  ", break_long_words=False) for line in lines)


def comments(chosen: Mapping[str, str]) -> dict[str, str]:
    """Return {dotted key: comment} of conf/train.yaml and of the chosen files, {group: file}."""
    found = _of_text((CONF / "train.yaml").read_text("utf-8"))
    for group in GROUPS:
        found |= _of_file(group, chosen.get(group) or "")
    return found


def _of_file(group: str, name: str) -> dict[str, str]:
    """Return the comments of a file of conf/<group>, and of the files of its group that it is made from."""
    file = CONF / group / f"{name}.yaml"
    text = file.read_text("utf-8") if file.is_file() else ""
    bases = re.findall(r"\w+", (re.findall(r"^defaults: \[(.+)\]", text, re.MULTILINE) or [""])[0])
    found = {key: comment for base in bases if base != "_self_" for key, comment in _of_file(group, base).items()}
    prefix = "" if "@package _global_" in text else f"{group}."
    return found | {prefix + key: comment for key, comment in _of_text(text).items()}


def _of_text(text: str) -> dict[str, str]:
    lines = text.splitlines()
    return {key: found[1] for _, key, line in paths(lines) if (found := COMMENT.search(line))}


def paths(lines: Sequence[str]) -> Iterator[tuple[int, str, str]]:
    """Yield the number, dotted key and text of each line of YAML that has a key."""
    parents: list[tuple[int, str]] = []
    for at, line in enumerate(lines):
        if found := KEY.match(line):
            depth = len(found[1])
            parents = [*(parent for parent in parents if parent[0] < depth), (depth, found[2])]
            yield at, ".".join(name for _, name in parents), line
