"""The registry: every run is checked, and its pages are made of all."""

from pathlib import Path

import pytest
from helpers.cli import Finished, script
from helpers.made_up import alter_metrics

from oodbench.publishing.leaderboard import OWN, RECOMPUTED, SUBMITTED
from oodbench.publishing.registry import check_registry, write_pages


@pytest.fixture
def published(finished: Finished, tmp_path: Path) -> Path:
    """A results folder with a run that was published."""
    script("scripts/publish.py", f"results_dir={finished.results}", "--target", tmp_path / "registry")
    return tmp_path / "registry"


def test_a_run_says_where_its_numbers_come_from(finished: Finished, published: Path, tmp_path: Path) -> None:
    submitted = check_registry(published, None, None, None)
    recomputed = check_registry(published, None, finished.results, None)
    own = check_registry(tmp_path / "empty", published, None, ["msp"])
    origins = [list(each.origins.values()) for each in (submitted, recomputed, own)]
    assert origins == [[SUBMITTED], [RECOMPUTED], [OWN]]
    assert own.detectors == ["msp"]
    assert not submitted.problems()


def test_a_number_that_its_outputs_do_not_give_is_a_problem(finished: Finished, published: Path) -> None:
    (folder,) = check_registry(published, None, None, None).origins
    alter_metrics(folder, lambda content: content.update(accuracy=0.987))
    (problem,) = check_registry(published, None, finished.results, None).problems()
    assert "accuracy is 0.987, and " in problem


def test_both_pages_are_written(published: Path) -> None:
    written = write_pages(check_registry(published, None, None, None), published, "the command")
    assert [path.name for path in written] == ["README.md", "report.html"]
    assert all("HALO" in path.read_text("utf-8") for path in written)


@pytest.mark.parametrize("part", ["own", "outputs"])
def test_a_folder_without_runs_is_named(published: Path, tmp_path: Path, part: str) -> None:
    folders = {"own": None, "outputs": None} | {part: tmp_path / "typo"}
    with pytest.raises(ValueError, match=f"--{part} .*typo: "):
        check_registry(published, **folders, detectors=None)
