"""A wheel, installed where the checkout cannot be imported, is the whole program."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from helpers.cli import SMALL
from helpers.config import ROOT

from oodbench import shipped
from oodbench.cli.configuration import CONF

FILES = ("CITATION.cff", "results/published.yaml")


def test_the_checkout_has_the_files_at_its_root() -> None:
    assert shipped.ROOT == ROOT == CONF.parent
    assert all(path.is_relative_to(ROOT) and path.exists() for path in (CONF, shipped.CITATION, shipped.PUBLISHED))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of what git knows; a build writes beside its sources, so they are copied."""
    copy, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("tests/", "docs/")):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*build, "-w", target, copy], check=True)
    (found,) = target.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty environment with the wheel; what it needs comes from the site-packages of this one."""
    root = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", root], check=True)
    (site,) = root.glob("lib/python*/site-packages")
    (site / "present.pth").write_text(sysconfig.get_path("purelib"))
    install = [sys.executable, "-m", "pip", "--python", root / "bin/python", "install", "-q", "--no-deps", "--no-index"]
    subprocess.run([*install, wheel], check=True)
    return root


@pytest.mark.slow
def test_a_wheel_carries_every_file_of_conf(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
    wanted = [*(str(path.relative_to(ROOT)) for path in CONF.rglob("*.yaml")), *FILES]
    assert {f"oodbench/_shipped/{name}" for name in wanted} <= names
    assert {"oodbench/report/page/style.css", "oodbench/py.typed"} <= names
    assert not [name for name in names if not name.startswith(("oodbench/", "oodbench-"))]


@pytest.mark.slow
def test_an_installed_wheel_trains_and_tabulates(installed: Path, tmp_path: Path) -> None:
    cache = {"OODBENCH_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")} | cache
    folder = tmp_path / "elsewhere"
    folder.mkdir()

    def run(*command: str) -> str:
        program = [installed / "bin" / command[0], *command[1:]]
        ended = subprocess.run(program, cwd=folder, env=environment, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    assert str(installed) in run("python", "-c", "import oodbench; print(oodbench.__file__)")
    assert "conf/" in run("oodbench", "train", "--help")
    run(
        "oodbench",
        "train",
        *SMALL,
        "loss=ce",
        "dataset.limit=400",
        "dataset.limit_test=160",
        "ood=[noise]",
        "threads=1",
    )
    (card,) = folder.glob("results/runs/digits/resnet18/ce/*/seed0/README.md")
    assert "python train.py dataset=digits" in card.read_text("utf-8")
    assert "He et al. (2016)" in card.read_text("utf-8")
    run("oodbench", "evaluate", "results", "detector=[gen]")
    run("oodbench", "tables", "--detectors", "ood_score", "gen")
    assert "gen | 1 |" in (folder / "results/digits.md").read_text("utf-8")
    run("oodbench", "report")
    assert (folder / "results/report.html").exists()
    assert "1 done" in run("oodbench", "status")
