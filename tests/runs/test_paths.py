"""Paths of a run's files: each in its folder, out of which no name leads."""

from pathlib import Path

import pytest
from helpers.config import configuration

from oodbench.runs.identity import identify
from oodbench.runs.paths import RunPaths, place_of, results_dir_of, run_folders


def paths(results: Path, seed: int = 0) -> RunPaths:
    return RunPaths(results, identify(configuration(seed=seed)))


def test_every_file_lies_in_the_folder_of_the_run(tmp_path: Path) -> None:
    run = paths(tmp_path, seed=3)
    assert run.path == tmp_path / "runs" / run.run.place
    assert run.path.name == "seed3"
    assert (results_dir_of(run.path), place_of(run.path)) == (tmp_path, run.run.place)
    files = [run.config, run.history, run.checkpoint, run.training, run.weights, run.metrics, run.error]
    files += [run.reduced_resamples("resamples-1.safetensors"), run.outputs("test"), run.scores("odin", "test")]
    assert len({*files}) == len(files)
    assert all(file.is_relative_to(run.path) for file in files)
    assert list(tmp_path.iterdir()) == []


def test_reduced_resamples_have_a_name_of_their_own(tmp_path: Path) -> None:
    assert paths(tmp_path).reduced_resamples("resamples-1a.safetensors").name == "resamples-1a.reduced.safetensors"


@pytest.mark.parametrize("name", ["../../up", "a/b", "", ".hidden", "=x"])
def test_no_set_and_no_detector_leaves_the_folder(tmp_path: Path, name: str) -> None:
    run = paths(tmp_path)
    with pytest.raises(ValueError, match="set="):
        run.outputs(name)
    for detector, of in (("odin", name), (name, "test")):
        with pytest.raises(ValueError, match=r"(set|detector)="):
            run.scores(detector, of)


def test_all_runs_below_a_results_folder_are_found(tmp_path: Path) -> None:
    found = [paths(tmp_path, seed).path for seed in (2, 0)]
    for folder in found:
        folder.mkdir(parents=True)
    (tmp_path / "runs/a/b/c/d").mkdir(parents=True)
    (tmp_path / "runs/a/b/c/d/seed0").touch()
    assert run_folders(tmp_path) == sorted(found)
