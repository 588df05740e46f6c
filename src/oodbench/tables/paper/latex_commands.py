r"""Names as LaTeX commands, \lossHalo or \oodCifarx, which a paper renames in one place."""

import re

from oodbench.tables.render import latex

ROMAN = ((100, "C"), (90, "XC"), (50, "L"), (40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I"))


SPELT = {"+": "_plus", "-": "_dash_", ".": "_dot_"}  # beside letters, figures and _ what names may have
SHORT_OR_FIGURE = r"^\d{1,3}$|\d"


class Commands:
    """The commands that one file uses, each with the name that it stands for."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.keys: dict[str, str] = {}

    def use(self, kind: str, key: str, name: str) -> str:
        """Return the command of a name, and remember what it stands for; of two keys alike in letters one gets a B."""
        command = "\\" + kind + "".join(part.capitalize() for part in re.findall("[A-Za-z]+", _with_roman(key)))
        while self.keys.setdefault(command, key) != key:
            command += "B"
        self.names[command] = name
        return command + "{}"

    def definitions(self) -> list[str]:
        r"""Return a line of LaTeX for each; \providecommand leaves one alone that the paper has defined before."""
        return [rf"\providecommand{{{command}}}{{{latex(name)}}}" for command, name in sorted(self.names.items())]


def _with_roman(key: str) -> str:
    """Return a key with its numbers in Roman figures, as commands of LaTeX have letters only: cifar10 -> cifarX.

    Of more than three figures each alone: 2,026 hundreds would be as many letters.
    """
    key = re.sub(r"[+.-]", lambda found: SPELT[found[0]], key)
    return re.sub(r"\d+", lambda found: "".join(_roman(int(n)) for n in re.findall(SHORT_OR_FIGURE, found[0])), key)


def _roman(number: int) -> str:
    text = "O" * (number == 0)
    for value, letters in ROMAN:
        text += letters * (number // value)
        number %= value
    return text
