"""What pyproject.toml cannot say: a wheel carries the files of oodbench/shipped.py."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = ("conf", "CITATION.cff", "results/published.yaml")


class BuildWithShipped(build_py):
    def run(self) -> None:
        super().run()
        if self.editable_mode:  # finds them in the repository
            return
        folder = Path(self.build_lib, "oodbench", "_shipped")
        shutil.rmtree(folder, ignore_errors=True)
        for name in SHIPPED:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if Path(name).is_dir() else shutil.copyfile)(name, folder / name)


setup(cmdclass={"build_py": BuildWithShipped})
