"""scripts/registry.py: checks, a leaderboard and a page, or problems and nothing else."""

import json
import re
import shlex
import shutil
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from helpers.cli import Finished, script
from helpers.config import ROOT
from helpers.made_up import alter_metrics

from oodbench.runs.folder import open_run


@pytest.fixture
def entry(finished: Finished, tmp_path: Path) -> Path:
    """A run as it was submitted."""
    script("scripts/publish.py", f"results_dir={finished.results}", "--target", tmp_path / "registry")
    return tmp_path / "registry" / finished.folder.relative_to(finished.results)


def test_the_command_writes_the_leaderboard_and_the_page(finished: Finished, entry: Path) -> None:
    registry = entry.parents[5]
    printed = script("scripts/registry.py", "--results-dir", registry, "--outputs", finished.results)
    assert printed.startswith(f"{entry}: recomputed\n")
    assert "| recomputed |" in (registry / "README.md").read_text("utf-8")
    assert "HALO" in (registry / "report.html").read_text("utf-8")
    script("scripts/registry.py", "--results-dir", registry)
    assert "| as submitted |" in (registry / "README.md").read_text("utf-8")


def test_own_runs_stand_beside_those_submitted(finished: Finished, finished_ce: Finished, entry: Path) -> None:
    registry = entry.parents[5]
    script("scripts/registry.py", "--results-dir", registry, "--own", finished_ce.results)
    lines = (registry / "README.md").read_text("utf-8").splitlines()
    origins = {cells[2].strip(): cells[-2].strip() for cells in (line.split("|") for line in lines) if len(cells) > 8}
    assert origins["HALO"] == "as submitted"
    assert origins["CE"] == "recomputed"  # its outputs lie in its folder
    page = unescape((registry / "report.html").read_text("utf-8"))
    assert f"python scripts/registry.py --own {finished_ce.results}" in page
    with pytest.raises(SystemExit, match="are the same run; name one of the two folders alone"):
        script("scripts/registry.py", "--results-dir", registry, "--own", finished.results)


def test_own_runs_without_outputs_say_so(finished: Finished, entry: Path) -> None:
    registry = entry.parents[5]
    shutil.move(registry / "runs", registry.parent / "own" / "runs")
    printed = script("scripts/registry.py", "--results-dir", registry, "--own", registry.parent / "own")
    assert ": this project's\n" in printed
    assert "| this project's |" in (registry / "README.md").read_text("utf-8")


def test_a_problem_ends_the_command_and_nothing_is_written(
    finished: Finished, entry: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = entry.parents[5]
    alter_metrics(entry, lambda content: content.update(accuracy=0.987))
    with pytest.raises(SystemExit) as ended:
        script("scripts/registry.py", "--results-dir", registry, "--outputs", finished.results)
    assert ended.value.code == 1
    assert "accuracy is 0.987, and " in capsys.readouterr().err
    assert not (registry / "README.md").exists()


def test_a_file_that_was_edited_ends_the_command(
    finished: Finished, entry: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = json.loads((entry / "metrics.json").read_text())
    (entry / "metrics.json").write_text(json.dumps(content | {"accuracy": 0.987}))
    with pytest.raises(SystemExit, match="was altered, its sha256 does not agree"):
        script("scripts/registry.py", "--results-dir", entry.parents[5])


@pytest.mark.slow
def test_the_documented_steps_submit_a_row(
    finished_ce: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs/adding.md").read_text("utf-8").partition("## A row of the leaderboard")[2]
    *commands, last = page.split("```\n")[1].splitlines()
    assert last.startswith("git add ")
    arrays = {}
    for name in ("train", "test", "noise"):
        outputs = open_run(finished_ce.folder)[0].read_outputs(name)
        assert outputs is not None
        arrays |= {f"{name}/{part}": getattr(outputs, part) for part in ("features", "logits", "labels")}
    monkeypatch.chdir(tmp_path)
    np.savez("outputs.npz", **arrays)
    for command in commands:
        python, name, *arguments = shlex.split(command.replace("cifar10", "digits"))
        assert python == "python"
        script(name, *arguments)
    text = (tmp_path / "results/registry/README.md").read_text("utf-8")
    assert re.search(r"^\| 1 \| pixmix \| .* recomputed \|$", text, re.MULTILINE)


def test_an_empty_registry_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"^registry: no finished run: "):
        script("scripts/registry.py", "--results-dir", tmp_path)


@pytest.mark.parametrize("option", ["--own", "--outputs"])
def test_a_folder_without_runs_ends_the_command(entry: Path, option: str) -> None:
    with pytest.raises(SystemExit, match=rf"^registry: {option} .*typo: (no finished run|there is no folder)"):
        script("scripts/registry.py", "--results-dir", entry.parents[5], option, entry / "typo")
    assert not (entry.parents[5] / "README.md").exists()
