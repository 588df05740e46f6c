"""Scores of image detectors: computed once a set, stored, and read again only for what they depend on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.cli import HALO, Finished, copied, finish, never, numbers_in, started
from helpers.config import configuration

from oodbench.data.split import Split
from oodbench.detectors.network.network import Network
from oodbench.detectors.reference import NotApplicable
from oodbench.losses.ce import CrossEntropy
from oodbench.model import Classifier
from oodbench.outputs import Outputs
from oodbench.runs.folder import RunFolder
from oodbench.scoring.network_scores import as_detectors, network_scores
from oodbench.storage import load_arrays

SETS = {"train": 4, "test": 3, "noise": 2}


def split(n: int, digest: str) -> Split:
    return Split(np.full((n, 32, 32, 3), n, np.uint8), np.zeros(n, np.int64), digest, ())


SPLITS = {name: split(n, f"digest of {name}") for name, n in SETS.items()}


class Watched:
    """An image detector that notes the sets it learns from and scores; a score is the mean of the pixels."""

    def __init__(self) -> None:
        self.learnt: list[int] = []
        self.scored: list[int] = []

    def __call__(self, network: Network, train: Split) -> Callable[[Any], Any]:
        assert not network.model.training
        self.learnt.append(len(train.labels))

        def score(images: Any) -> Any:
            self.scored.append(len(images))
            return images.mean((1, 2, 3))

        return score


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder.of(configuration(results_dir=str(tmp_path)))
    folder.write_training({}, {}, "digest of train")
    return folder


MODEL = Classifier(torch.nn.Flatten(), CrossEntropy(3, 2, label_smoothing=0.0), [0.5] * 3, [0.5] * 3, torch.float32)


def scored(folder: RunFolder, detector: Any, splits: dict[str, Split] = SPLITS, **settings: Any) -> Any:
    return network_scores(folder, MODEL.train(), {"mean": detector}, {"mean": settings}, splits)["mean"]


def test_every_set_but_the_training_set_is_scored_once(folder: RunFolder) -> None:
    scores = scored(folder, watched := Watched())
    assert {name: values.tolist() for name, values in scores.items()} == {"test": [3, 3, 3], "noise": [2, 2]}
    assert (watched.learnt, watched.scored) == ([4], [3, 2])


def test_stored_scores_are_read_without_learning(folder: RunFolder) -> None:
    first = scored(folder, Watched())
    again = scored(folder, watched := Watched())
    assert (watched.learnt, watched.scored) == ([], [])
    assert all((again[name] == first[name]).all() for name in first)


def test_a_new_set_alone_is_scored(folder: RunFolder) -> None:
    scored(folder, Watched())
    scored(folder, watched := Watched(), SPLITS | {"mine": split(7, "mine")})
    assert (watched.learnt, watched.scored) == ([4], [7])


def test_other_images_of_a_set_are_scored_again(folder: RunFolder) -> None:
    scored(folder, Watched())
    scored(folder, watched := Watched(), SPLITS | {"test": split(5, "other")})
    assert watched.scored == [5]


@pytest.mark.parametrize("changes", [{"settings": {"eps": 0.1}}, {"train": split(4, "other")}])
def test_other_settings_or_training_images_change_all_scores(folder: RunFolder, changes: dict[str, Any]) -> None:
    scored(folder, Watched())
    splits = SPLITS | {name: of for name, of in changes.items() if name == "train"}
    scored(folder, watched := Watched(), splits, **changes.get("settings", {}))
    assert watched.scored == [3, 2]


@pytest.mark.parametrize(
    ("part", "edited"), [("code_digest", lambda loss: "edited"), ("detector_code", lambda how: dict.fromkeys(how, "x"))]
)
def test_edited_code_changes_all_scores(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, part: str, edited: Callable[[Any], Any]
) -> None:
    scored(folder, Watched())
    monkeypatch.setattr(f"oodbench.scoring.network_scores.{part}", edited)
    scored(folder, watched := Watched())
    assert watched.scored == [3, 2]


def test_damaged_scores_are_named_and_computed_again(folder: RunFolder) -> None:
    scored(folder, Watched())
    file = folder.scores("mean", "noise")
    whole = file.read_bytes()
    file.write_bytes(whole[:-4] + bytes([whole[-4] ^ 1]) + whole[-3:])
    with pytest.warns(UserWarning, match=rf"scores are computed again: {file} is damaged"):
        scored(folder, watched := Watched())
    assert watched.scored == [2]
    assert file.read_bytes() == whole


def test_scores_of_another_run_are_named_and_computed_again(folder: RunFolder) -> None:
    other = RunFolder.of(configuration(results_dir=str(folder.results_dir), seed=1))
    other.write_training({}, {}, "digest of train")
    scored(other, Watched())
    scored(folder, Watched())
    folder.scores("mean", "test").write_bytes(other.scores("mean", "test").read_bytes())
    with pytest.warns(UserWarning, match="belongs to run"):
        scored(folder, watched := Watched())
    assert watched.scored == [3]


def test_a_detector_that_does_not_apply_says_why(folder: RunFolder) -> None:
    def needy(network: Network, train: Split) -> Any:
        raise NotApplicable("needs feature maps")

    scores = scored(folder, needy)
    assert isinstance(scores, NotApplicable)
    with pytest.raises(NotApplicable, match="needs feature maps"):
        as_detectors({"mean": scores}, ["test"])["mean"](None, None)  # type: ignore[arg-type]


def test_scores_are_read_one_set_after_the_other(folder: RunFolder) -> None:
    detector = as_detectors({"mean": scored(folder, Watched())}, ["noise", "test"])["mean"]
    nothing = Outputs(*(np.zeros(0),) * 5)
    assert detector(nothing, None).tolist() == [2, 2, 3, 3, 3]  # type: ignore[arg-type]


# ---- in a run

ODIN = "image_detector=[odin]"


@pytest.fixture(scope="module")
def with_odin(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The finished run, to which a second start added an image detector."""
    run = copied(finished, tmp_path_factory.mktemp("odin") / "results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("oodbench.experiment.fit", never)
        printed = started(*HALO, ODIN, f"results_dir={run.results}")
    return run._replace(stdout=printed, metrics=numbers_in(run.folder))


def test_a_finished_run_gains_scores_without_training(finished: Finished, with_odin: Finished) -> None:
    before, after = finished.metrics, with_odin.metrics
    for name, scores in before["ood"].items():
        assert after["ood"][name] == scores | {"odin": after["ood"][name]["odin"]}
    assert after["provenance"]["detector"]["odin"]["eps"] == 0.0014
    sets = ("test", "val", "val_ood", "unseen_digits", "photo_patches")
    assert {path.name for path in with_odin.folder.glob("outputs/odin/*")} == {f"{n}.safetensors" for n in sets}
    assert "odin" in with_odin.stdout


def test_with_its_scores_the_run_is_finished(with_odin: Finished) -> None:
    run = (*HALO, f"results_dir={with_odin.results}")
    assert started(*run, ODIN).startswith("finished already")
    assert started(*run).startswith("finished already")


def test_scores_stay_while_other_detectors_are_added(with_odin: Finished, tmp_path: Path) -> None:
    run = copied(with_odin, tmp_path / "results")
    started(*HALO, "detector=[entropy]", "validation.objective=nll", f"results_dir={run.results}")
    numbers = numbers_in(run.folder)["ood"]["photo_patches"]
    assert numbers["odin"] == with_odin.metrics["ood"]["photo_patches"]["odin"]
    assert "entropy" in numbers


def test_another_eps_is_another_score(with_odin: Finished, tmp_path: Path) -> None:
    run = copied(with_odin, tmp_path / "results")
    started(*HALO, ODIN, "image_detector.odin.eps=0.1", f"results_dir={run.results}")
    after = numbers_in(run.folder)
    assert after["provenance"]["detector"]["odin"]["eps"] == 0.1
    assert after["ood"]["photo_patches"]["odin"] != with_odin.metrics["ood"]["photo_patches"]["odin"]
    assert started(*HALO, ODIN, "dry_run=true", f"results_dir={run.results}").startswith("to do")


def test_held_out_images_have_scores(with_odin: Finished) -> None:
    val, val_ood = (
        load_arrays(with_odin.folder / f"outputs/odin/{n}.safetensors")[0]["scores"] for n in ("val", "val_ood")
    )
    assert (len(val), len(val_ood)) == (40, 160)
    pairs = (val_ood[:, None] > val).mean() + (val_ood[:, None] == val).mean() / 2
    assert with_odin.metrics["validation"]["ood"]["odin"]["auroc"] == pytest.approx(pairs)


@pytest.mark.slow
def test_a_fresh_run_has_the_numbers_of_one_that_gained_them(with_odin: Finished, tmp_path: Path) -> None:
    fresh = finish(tmp_path, *HALO, ODIN)
    assert fresh.metrics["ood"] == with_odin.metrics["ood"]
    assert fresh.metrics["intervals"] == with_odin.metrics["intervals"]
