r"""Names as LaTeX commands, \lossHalo or \oodCifarx, which a paper renames in one place."""

import re

from oodbench.tables.render import latex

ROMAN = ((100, "C"), (90, "XC"), (50, "L"), (40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I"))


class Commands:
    """The commands that one file uses, each with the name that it stands for."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}

    def use(self, kind: str, key: str, name: str) -> str:
        """Return the command of a name, and remember what it stands for."""
        command = "\\" + kind + "".join(part.capitalize() for part in re.findall(r"[A-Za-z]+|\d+", _with_roman(key)))
        self.names[command] = name
        return command + "{}"

    def definitions(self) -> list[str]:
        r"""Return a line of LaTeX for each; \providecommand leaves one alone that the paper has defined before."""
        return [rf"\providecommand{{{command}}}{{{latex(name)}}}" for command, name in sorted(self.names.items())]


def _with_roman(key: str) -> str:
    """Return a key with its numbers in Roman figures, as commands of LaTeX have letters only: cifar10 -> cifarX."""
    return re.sub(r"\d+", lambda found: _roman(int(found[0])), key)


def _roman(number: int) -> str:
    text = ""
    for value, letters in ROMAN:
        text += letters * (number // value)
        number %= value
    return text
