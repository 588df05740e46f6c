"""The text of --help: Hydra's own, with the comments of conf/ beside the keys that they explain."""

import re
from collections.abc import Iterator, Sequence

from oodbench.cli.configuration import CONF

KEY = re.compile(r"^(\s*)([\w.-]+):")
COMMENT = re.compile(r"\s# ?(.+)$")  # after a value
START = "\nseed:"  # the first key of conf/train.yaml that has a value
GROUPS = ("dataset", "backbone", "recipe", "loss")


def annotated(text: str, arguments: Sequence[str]) -> str:
    """Return Hydra's help with comments; arguments: those of the command, which may choose files."""
    before, start, keys = text.partition(START)
    known = comments(arguments)
    lines = (start + keys).splitlines()
    for at, key, line in paths(lines):
        if key in known and not COMMENT.search(line):
            lines[at] = f"{line:<30} # {known[key]}"
    return before + "\n".join(lines) + "\n"


def comments(arguments: Sequence[str]) -> dict[str, str]:
    """Return {dotted key: comment} of conf/train.yaml and of the files that the arguments, or the defaults, choose."""
    main = (CONF / "train.yaml").read_text("utf-8")
    found = _of_text(main)
    for group in GROUPS:
        defaults = re.findall(rf"^  - {group}: (\w+)", main, re.MULTILINE)
        chosen = [argument.partition("=")[2] for argument in arguments if argument.startswith(f"{group}=")]
        found |= _of_file(group, (defaults + chosen)[-1])
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
