"""oodbench NAME ...: the same as python scripts/NAME.py, from any folder. A command imports what it alone needs."""

import sys
from importlib import import_module

from oodbench import __version__
from oodbench.cli.output import end_with_output

COMMANDS = {  # {module of this package: what it does}
    "train": "train a classifier with a loss and measure it; a sweep with -m",
    "status": "show the state of every run",
    "tables": "turn all finished runs into tables: Markdown, LaTeX, CSV",
    "report": "turn all finished runs into one HTML page, one run into its page, or figures for a paper",
    "compare": "compare two finished runs, or two scores of one",
    "evaluate": "score finished runs again, from their stored outputs",
    "ensemble": "score the ensemble of each configuration's seeds",
    "import_outputs": "turn outputs of other code into a run",
    "publish": "copy finished runs without weights and outputs",
    "registry": "check the runs that were submitted, and write the leaderboard",
    "data": "fetch and decode published data sets ahead of time",
}


def main() -> None:
    """Run the command that the first argument names. Raises SystemExit with a sentence where there is none."""
    end_with_output()
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print(usage())
    elif name == "--version":
        print(__version__)
    elif name not in COMMANDS:
        raise SystemExit(f"oodbench: {name} is no command; available: {', '.join(COMMANDS)}")
    else:
        sys.argv = [f"oodbench {name}", *arguments]
        import_module(f"oodbench.commands.{name}").main()


def usage() -> str:
    wide = max(map(len, COMMANDS))
    lines = [f"  {name:<{wide}}  {does}" for name, does in COMMANDS.items()]
    return "\n".join(["oodbench NAME ...   (oodbench NAME --help says what it takes)", "", *lines])


if __name__ == "__main__":  # python -m oodbench.commands.main, where no command is installed
    main()
