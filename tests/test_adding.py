"""Each recipe of docs/adding.md, carried out to the letter in a copy of the repository."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from helpers.config import ROOT
from PIL import Image

FILE = re.compile(r"^`([^`\n]+)`\n\n```(?:python|yaml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMANDS = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EARLIER = "train.py loss=ce seed=7 dataset=digits recipe=smoke backbone.width=4 results_dir=results/try"


class Recipe(NamedTuple):
    files: dict[str, str]
    commands: list[str]


def recipes(page: str) -> dict[str, Recipe]:
    """{title: files and commands} of the sections that have code blocks"""
    found = {}
    for section in page.split("\n## ")[1:]:
        files, commands = dict(FILE.findall(section)), "".join(COMMANDS.findall(section)).splitlines()
        if files or commands:
            found[section.partition("\n")[0]] = Recipe(files, commands)
    return found


RECIPES = recipes((ROOT / "docs/adding.md").read_text("utf-8"))


def run(project: Path, command: str) -> str:
    """Run `python ...` in the copy, on one thread, with its own data and cache."""
    python, *arguments = shlex.split(command)
    assert python == "python"
    data = {"OODBENCH_DATA": str(project / "data"), "OODBENCH_CACHE": str(project / "cache")}
    environment = os.environ | data | {"PYTHONPATH": str(project / "src"), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run([sys.executable, *arguments], cwd=project, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, f"{command}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of all files that git knows, with an earlier run and a folder of images."""
    copy = tmp_path_factory.mktemp("repository")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, copy / name)
    leaves = copy / "data/leaves"
    leaves.mkdir(parents=True)
    random = np.random.default_rng(0)
    for i in range(20):
        Image.fromarray(random.integers(256, size=(40, 40, 3), dtype=np.uint8)).save(leaves / f"{i}.png")
    run(copy, f"python {EARLIER}")
    return copy


@pytest.fixture
def carried_out(repository: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """The copy after the recipe that the test names: its files written, its commands run."""
    project = tmp_path / "project"
    shutil.copytree(repository, project)
    recipe = RECIPES[request.param]
    for name, text in recipe.files.items():
        assert not (project / name).exists(), name
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text, "utf-8")
    for command in recipe.commands:
        printed = run(project, command)
        if "pytest" in command:
            assert re.search(r"\b[1-9]\d* passed", printed), printed
    run(project, "python docs/generate.py")
    run(project, "python -m pytest tests/test_docs.py")
    return project


def recipe(title: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("carried_out", [title], indirect=True)


def numbers(project: Path, place: str) -> dict[str, Any]:
    """Return the numbers of the run in this folder of results/try/runs."""
    (file,) = (project / "results/try/runs").glob(f"{place}/*/seed0/metrics.json")
    return json.loads(file.read_text("utf-8"))


def table(project: Path, name: str = "digits") -> str:
    return (project / f"results/try/{name}.md").read_text("utf-8")


def page(project: Path, name: str) -> str:
    return (project / f"docs/{name}.md").read_text("utf-8")


def test_every_recipe_has_files_and_commands() -> None:
    assert len(RECIPES) == 7
    for title, (files, commands) in RECIPES.items():
        assert files, title
        assert [command.split()[1] for command in commands] == ["-m", "train.py", "scripts/tables.py"], title
        assert all(re.fullmatch(r"(src/oodbench|conf)/\w+/.*\.(py|yaml)", name) for name in files), title


@pytest.mark.slow
@recipe("A loss")
def test_a_loss(carried_out: Path) -> None:
    assert numbers(carried_out, "digits/resnet18/margin")["ood"]
    assert "\n| margin | own = msp |" in table(carried_out)
    assert "### margin\n" in page(carried_out, "losses")


@pytest.mark.slow
@recipe("A detector")
def test_a_detector(carried_out: Path) -> None:
    assert "nearest_mean" in numbers(carried_out, "digits/resnet18/ce")["ood"]["noise"]
    assert "\n| nearest_mean |" in table(carried_out, "digits.matrix")
    assert "### nearest_mean\n" in page(carried_out, "detectors")


@pytest.mark.slow
@recipe("A detector that needs images")
def test_a_detector_that_needs_images(carried_out: Path) -> None:
    assert "mirror" in numbers(carried_out, "digits/resnet18/ce")["ood"]["noise"]
    assert "\n| mirror |" in table(carried_out, "digits.matrix")
    assert "### mirror\n" in page(carried_out, "detectors")


@pytest.mark.slow
@recipe("A metric")
def test_a_metric_and_a_dash_for_an_earlier_run(carried_out: Path) -> None:
    value = numbers(carried_out, "digits/resnet18/focal")["ood"]["noise"]["msp"]["detection_error"]
    assert 0 <= value <= 0.5
    header, new, earlier = (re.findall(rf"^\| {row} \|.*$", table(carried_out), re.M)[0] for row in ROWS)
    (column,) = (i for i, cell in enumerate(header.split("|")) if "Detection error" in cell and "noise" in cell)
    assert f"{100 * value:.2f}" in new.split("|")[column]
    assert earlier.split("|")[column].strip() == "—"
    assert "`detection_error`" in page(carried_out, "metrics")


ROWS = ("Loss", r"focal \| own = msp", r"ce \| own = msp")


@pytest.mark.slow
@recipe("An OOD set")
def test_an_ood_set(carried_out: Path) -> None:
    assert list(numbers(carried_out, "digits/resnet18/ce")["ood"]) == ["noise", "leaves"]
    assert "leaves (far)" in table(carried_out)


@pytest.mark.slow
@recipe("A data set to learn")
def test_a_data_set_to_learn(carried_out: Path) -> None:
    assert set(numbers(carried_out, "parity/resnet18/ce")["ood"]) == {"unseen_digits", "noise"}
    assert "\n| ce | own = msp |" in table(carried_out, "parity")


@pytest.mark.slow
@recipe("A backbone")
def test_a_backbone(carried_out: Path) -> None:
    assert numbers(carried_out, "digits/small/ce")["ood"]
    assert "small (width=16)" in table(carried_out)
