"""Arguments of the scripts."""

import argparse
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """Parser of a script's arguments whose errors are one line, status 2; --help has the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {' '.join(message.split())}; --help lists the options\n")
