"""Scores of image detectors in a run: stored, read again, checked."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers.cli import LIMITED, folders, never, started

from oodbench.detectors.network.network import Network
from oodbench.evaluation import metrics
from oodbench.storage import load_arrays

RUN = (*LIMITED, "loss=ce", "ood=[unseen_digits,noise]")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OODBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        results = tmp_path_factory.mktemp("results")
        started(*RUN, f"results_dir={results}")
    return results


@pytest.fixture
def again(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished run, which is not to be train_ten_steps again."""
    monkeypatch.setattr("oodbench.training.loop.fit", never)
    monkeypatch.setenv("OODBENCH_CACHE", str(tmp_path / "cache"))
    return Path(shutil.copytree(finished, tmp_path / "results"))


def numbers(results: Path) -> Any:
    (folder,) = folders(results)
    return json.loads((folder / "metrics.json").read_text())


def files(results: Path, name: str) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in results.rglob(f"outputs/{name}/*")}


def test_a_finished_run_gains_scores_without_training(again: Path) -> None:
    run = (*RUN, f"results_dir={again}")
    before = numbers(again)
    assert "odin" in started(*run, "image_detector=[odin]")
    after = numbers(again)
    for name, scores in before["ood"].items():
        assert after["ood"][name] == scores | {"odin": after["ood"][name]["odin"]}
    assert after["provenance"]["detector"]["odin"]["eps"] == 0.0014
    assert {path.name for path in files(again, "odin")} == {
        f"{n}.safetensors" for n in ("test", "unseen_digits", "noise")
    }
    assert started(*run, "image_detector=[odin]").startswith("finished already")
    assert started(*run).startswith("finished already")
    started(*run, "detector=[entropy]")
    assert numbers(again)["ood"]["noise"]["odin"] == after["ood"]["noise"]["odin"]


def test_stored_scores_are_read_without_images(again: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = (*RUN, f"results_dir={again}", "image_detector=[odin]")
    started(*run)
    before, stored = numbers(again), files(again, "odin")
    (folder,) = folders(again)
    (folder / "metrics.json").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(Network, "map_batches", never)
        started(*run)
    assert numbers(again)["ood"] == before["ood"]
    assert files(again, "odin") == stored


def test_another_eps_is_another_score(again: Path) -> None:
    run = (*RUN, f"results_dir={again}", "image_detector=[odin]")
    started(*run)
    before, stored = numbers(again), files(again, "odin")
    started(*run, "image_detector.odin.eps=0.1")
    after = numbers(again)
    assert after["provenance"]["detector"]["odin"]["eps"] == 0.1
    assert after["ood"]["noise"]["odin"] != before["ood"]["noise"]["odin"]
    assert all(files(again, "odin")[path] != time for path, time in stored.items())
    assert not started(*run).startswith("finished already")


def test_damaged_scores_are_named_and_computed_again(again: Path) -> None:
    run = (*RUN, f"results_dir={again}", "image_detector=[odin]")
    started(*run)
    before = numbers(again)
    (folder,) = folders(again)
    (folder / "metrics.json").unlink()
    file = folder / "outputs/odin/noise.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-40] + bytes([whole[-40] ^ 1]) + whole[-39:])
    with pytest.warns(UserWarning, match=r"outputs/odin/noise.safetensors is damaged"):
        started(*run)
    assert file.read_bytes() == whole
    assert numbers(again)["ood"] == before["ood"]


def test_held_out_images_have_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OODBENCH_CACHE", str(tmp_path / "cache"))
    held_out = ("validation.images=80", "validation.objective=ood.odin.auroc", "image_detector=[odin]")
    started(*LIMITED, "loss=ce", "ood=[unseen_digits]", f"results_dir={tmp_path}", *held_out)
    (folder,) = folders(tmp_path)
    val, val_ood = (load_arrays(folder / f"outputs/odin/{n}.safetensors")[0]["scores"] for n in ("val", "val_ood"))
    assert (len(val), len(val_ood)) == (80, 160)
    assert numbers(tmp_path)["validation"]["ood"]["odin"]["auroc"] == metrics.auroc(val, val_ood)


def test_one_name_for_two_detectors_is_refused(again: Path) -> None:
    mine = "+image_detector.msp={_target_: oodbench.detectors.network.odin, _partial_: true, temperature: 1, eps: 0}"
    with pytest.raises(ValueError, match="msp: a detector and an image detector are predicted so"):
        started(*RUN, f"results_dir={again}", mine)
