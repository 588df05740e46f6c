"""The registry: entries are checked, recomputed where their outputs are given, and stand on a leaderboard."""

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.cli import Finished, numbers_in, script
from helpers.config import ROOT, configuration
from helpers.made_up import alter_metrics

from oodbench.registry import check, differences
from oodbench.rescoring import rescore
from oodbench.runs.folder import open_run
from oodbench.storage import load_arrays, save_arrays
from oodbench.tables.results import load_run


@pytest.fixture
def entry(finished: Finished, tmp_path: Path) -> Path:
    """A run as it was handed in."""
    script("scripts/publish.py", finished.results, "--target", tmp_path / "registry")
    return tmp_path / "registry" / finished.folder.relative_to(finished.results)


def problems(entry: Path, whole_runs: Path | None = None) -> str:
    return "\n".join(check(load_run(entry), whole_runs).problems)


def test_an_entry_without_outputs_is_as_handed_in(entry: Path) -> None:
    found = check(load_run(entry))
    assert (found.recomputed, found.problems) == (False, [])


def test_an_entry_whose_outputs_are_given_is_recomputed(finished: Finished, entry: Path) -> None:
    found = check(load_run(entry), finished.results)
    assert (found.recomputed, found.problems) == (True, [])
    for name in ("outputs", "model.safetensors"):  # or in its own folder
        (shutil.copytree if name == "outputs" else shutil.copy)(finished.folder / name, entry / name)
    found = check(load_run(entry))
    assert (found.recomputed, found.problems) == (True, [])


def set_number(path: tuple[Any, ...], value: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        for key in path[:-1]:
            content = content[key]
        content[path[-1]] = value

    return change


ALTERED: list[tuple[tuple[Any, ...], float]] = [
    (("accuracy",), 0.987),
    (("ood", "photo_patches", "msp", "auroc"), 0.987),
    (("intervals", "ood", "photo_patches", "msp", "auroc", 1), 0.987),
    (("calibration", "own", "mce"), 0.987),
    (("validation", "ood", "msp", "auroc"), 0.987),
]


@pytest.mark.parametrize(("path", "value"), ALTERED, ids=[" ".join(map(str, path)) for path, _ in ALTERED])
def test_a_number_that_outputs_give_otherwise_is_named(
    finished: Finished, entry: Path, path: tuple[Any, ...], value: float
) -> None:
    """Even where the checksum was made again"""
    alter_metrics(entry, set_number(path, value))
    found = check(load_run(entry), finished.results)
    assert f"{' '.join(map(str, path))} is {value}, and " in "\n".join(found.problems)
    assert len(found.problems) == 1


def test_a_detector_that_the_outputs_do_not_have_is_named(finished: Finished, entry: Path) -> None:
    made_up = numbers_in(entry)["ood"]["photo_patches"]["msp"]
    alter_metrics(entry, set_number(("ood", "photo_patches", "mine"), made_up))
    assert "ood photo_patches mine auroc is " in problems(entry, finished.results)
    assert "and nothing from the outputs" in problems(entry, finished.results)


def test_stored_scores_of_image_detectors_are_read(finished: Finished, entry: Path, tmp_path: Path) -> None:
    """Those without stored scores leave the entry as handed in"""
    whole = tmp_path / "whole"
    shutil.copytree(finished.results, whole)
    folder = whole / finished.folder.relative_to(finished.results)
    rescore(folder, {}, configuration("image_detector=[odin]")["image_detector"])
    script("scripts/publish.py", whole, "--target", entry.parents[5])
    found = check(load_run(entry), whole)
    assert (found.recomputed, found.problems) == (True, [])
    (file,) = folder.glob("outputs/odin/photo_patches.safetensors")
    scores, about = load_arrays(file)
    save_arrays(file, {"scores": scores["scores"][::-1] * np.linspace(1, 2, len(scores["scores"]))}, **about)
    assert "ood photo_patches odin auroc is " in problems(entry, whole)
    file.unlink()
    found = check(load_run(entry), whole)
    assert (found.recomputed, found.problems) == (False, [])


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda entry: alter_metrics(entry, set_number(("weights",), "0" * 64)), "is of other weights than"),
        (lambda entry: alter_metrics(entry, set_number(("accuracy",), 1.01)), "accuracy is 1.01 with the interval"),
        (
            lambda entry: alter_metrics(entry, set_number(("intervals", "accuracy"), [0.9, 0.1])),
            r"with the interval \[0.9, 0.1\]",
        ),
        (lambda entry: (entry / "training.json").unlink(), "training.json is missing"),
    ],
)
def test_files_that_do_not_go_together_are_named(entry: Path, damage: Callable[[Path], Any], complaint: str) -> None:
    damage(entry)
    assert re.search(complaint, problems(entry))


def test_outputs_of_other_weights_or_images_are_named(finished: Finished, entry: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(finished.results, whole)
    run, _ = open_run(whole / finished.folder.relative_to(finished.results))
    other = tmp_path / "other"
    shutil.copytree(entry.parents[5], other)
    alter_metrics(
        other / entry.relative_to(entry.parents[5]),
        lambda content: content["provenance"]["digests"].update(photo_patches="1" * 64),
    )
    assert "outputs on other images of photo_patches" in problems(other / entry.relative_to(entry.parents[5]), whole)
    weights, about = load_arrays(run.weights)
    save_arrays(run.weights, {name: 2 * array for name, array in weights.items()}, **about)
    with pytest.warns(UserWarning, match="holds other weights"):
        assert "cannot be used" in problems(entry, whole)


def test_a_detector_of_other_code_is_refused(finished: Finished, entry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evil = {"_target_": "os.system", "command": "true"}
    monkeypatch.setattr("os.system", lambda command: pytest.fail("called"))
    alter_metrics(entry, set_number(("provenance", "detector", "msp"), evil))
    assert "os.system is not one of oodbench.detectors" in problems(entry, finished.results)


def test_numbers_may_differ_in_the_last_bits_alone() -> None:
    record = {"accuracy": 0.9, "ood": {"x": {"msp": {"auroc": 0.5}, "odin": {"auroc": 0.1}}}, "seed": 3, "nll": 300.0}
    computed = {"accuracy": 0.90009, "ood": {"x": {"msp": {"auroc": 0.5}}}, "nll": 300.02}
    assert differences(record, computed, ["odin"]) == []
    assert len(differences(record, computed, [])) == 1
    assert len(differences(record, computed | {"accuracy": 0.9002}, ["odin"])) == 1
    assert len(differences(record, computed | {"accuracy": float("nan")}, ["odin"])) == 1


# ---- the command


def test_the_command_writes_the_leaderboard_and_the_page(finished: Finished, entry: Path) -> None:
    registry = entry.parents[5]
    printed = script("scripts/registry.py", "--results-dir", registry, "--outputs", finished.results)
    assert printed.startswith(f"{entry.relative_to(registry / 'runs')}: recomputed\n")
    assert "| recomputed |" in (registry / "README.md").read_text("utf-8")
    assert "HALO" in (registry / "report.html").read_text("utf-8")
    script("scripts/registry.py", "--results-dir", registry)
    assert "| as handed in |" in (registry / "README.md").read_text("utf-8")


def test_a_problem_ends_the_command_and_nothing_is_written(
    finished: Finished, entry: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = entry.parents[5]
    alter_metrics(entry, set_number(("accuracy",), 0.987))
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
def test_the_documented_steps_hand_in_a_row(
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


def test_the_committed_registry_is_sound() -> None:
    registry = ROOT / "results" / "registry"
    entries = [check(load_run(file.parent)) for file in registry.glob("runs/*/*/*/*/seed*/metrics.json")]
    assert [problem for each in entries for problem in each.problems] == []
