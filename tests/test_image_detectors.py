"""Scores of images: against second definitions, in which precision, how they are stored and read."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_ood.detector as peers
import torch
from conftest import ROOT, composed, names
from hydra.utils import instantiate
from numpy.typing import NDArray
from omegaconf import OmegaConf
from scipy.stats import spearmanr
from test_train import LIMITED, folders, never, started
from torch import Tensor, nn
from torch.nn import functional as F

from oodbench.data import digits, limited, noise
from oodbench.detectors import Array
from oodbench.image_detectors import ImageDetector, Network, network
from oodbench.losses import Objective
from oodbench.model import Classifier

MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]
every_image_detector = pytest.mark.parametrize("name", names("image_detector"))


def image_detector(name: str, **hyperparameters: Any) -> ImageDetector:
    """As the command line makes it, with its defaults or others."""
    return instantiate(OmegaConf.load(ROOT / f"conf/image_detector/{name}.yaml"), **hyperparameters)


TRAIN = limited(digits("train"), 240, 8)
TEST, NOISE = digits("test").images[:60], noise().images[:60]


def trained(backbone: nn.Module, objective: Objective, precision: torch.dtype = torch.float32) -> Classifier:
    """After ten steps on the digits: far from its initialisation, far from certain."""
    model = Classifier(backbone, objective, MEAN, STD, precision)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    images, labels = torch.from_numpy(TRAIN.images).permute(0, 3, 1, 2), torch.from_numpy(TRAIN.labels)
    for _ in range(10):
        optimizer.zero_grad()
        objective.loss(model.features(images), labels).backward()
        optimizer.step()
    with torch.no_grad():
        model.eval().settle(model.features(images), TRAIN.labels)
    return model


def classifier(loss: str = "ce") -> Classifier:
    torch.default_generator.manual_seed(0)
    cfg = composed("dataset=digits", f"loss={loss}", "backbone.width=4")
    backbone = instantiate(cfg.backbone)
    return trained(backbone, instantiate(cfg.loss, num_features=backbone.num_features, num_classes=8))


@pytest.fixture(scope="module")
def model() -> Classifier:
    return classifier()


def normalised(images: NDArray[np.uint8]) -> Tensor:
    x = torch.from_numpy(images).permute(0, 3, 1, 2).double() / 255
    return ((x - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]).float()


def order_agreement(ours: Array, theirs: Array) -> float:
    return float(spearmanr(ours, theirs).statistic)


# ---- ODIN


def odin_by_hand(model: Classifier, x: Tensor, T: float, eps: float) -> Array:
    scores = []
    for image in x:  # one at a time
        pixels = image[None].clone().requires_grad_()
        z = model.objective.logits(model.backbone(pixels))[:, :8] / T
        F.cross_entropy(z, z.argmax(1)).backward()
        assert pixels.grad is not None
        moved = torch.stack([pixels[0, c] - eps / STD[c] * pixels.grad[0, c].sign() for c in range(3)])
        p = (model.objective.logits(model.backbone(moved[None]))[:, :8].double() / T).softmax(1).max()
        scores.append(float((torch.log1p(-p) - torch.log(p)).detach()))
    return np.array(scores)


@pytest.mark.parametrize("loss", names("loss"))
def test_odin_is_a_step_of_eps_pixels_down_the_slope_of_any_loss_s_class_logits(loss: str) -> None:
    model = classifier(loss)
    score = image_detector("odin", temperature=10, eps=0.01)(Network(model), TRAIN)
    expected = odin_by_hand(model, normalised(TEST[:20]), 10, 0.01)
    np.testing.assert_allclose(score(TEST[:20]), expected, rtol=1e-3)
    without = image_detector("odin", temperature=10, eps=0.0)(Network(model), TRAIN)(TEST[:20])
    assert (score(TEST[:20]) < without).mean() > 0.9  # it is what makes an image more like its class


def test_odin_is_that_of_pytorch_ood_told_the_deviations(model: Classifier) -> None:
    whole = nn.Sequential(model.backbone, model.objective.head)  # type: ignore[arg-type]
    peer = peers.ODIN(whole.eval(), eps=0.0014, temperature=1000, norm_std=STD)
    with torch.inference_mode(False):
        theirs = peer.predict(normalised(TEST)).detach().numpy()
    ours = image_detector("odin")(Network(model), TRAIN)(TEST)
    assert order_agreement(ours, theirs) > 0.999


def test_odin_moves_every_pixel_by_eps_before_normalisation(model: Classifier) -> None:
    x = normalised(TEST[:5])
    network = Network(model)
    moved = network.stepped(x, lambda x: network.features(x).sum(1), 0.01)
    step = ((moved - x) * torch.tensor(STD)[:, None, None]).abs()
    assert step.max() == pytest.approx(0.01, rel=1e-3)
    assert step.median() == pytest.approx(0.01, rel=1e-3)


# ---- all of them


@every_image_detector
def test_a_network_that_trains_in_bf16_is_asked_in_float32(name: str, model: Classifier) -> None:
    expected = image_detector(name)(Network(model), TRAIN)(TEST)
    model.precision = torch.bfloat16
    seen = set()
    hook = model.backbone.conv1.register_forward_hook(lambda *call: seen.add(call[2].dtype))
    try:
        with torch.autocast("cpu", torch.bfloat16):
            scores = image_detector(name)(Network(model), TRAIN)(TEST)
    finally:
        hook.remove()
        model.precision = torch.float32
    assert (scores == expected).all()
    assert seen == {torch.float32}


@every_image_detector
def test_batches_change_nothing_and_nothing_is_changed(
    name: str, model: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    whole = image_detector(name)(Network(model), TRAIN)(TEST)
    assert (whole.shape, whole.dtype) == ((60,), np.float64)
    monkeypatch.setattr(network, "BATCH", 7)
    np.testing.assert_allclose(image_detector(name)(Network(model), TRAIN)(TEST), whole, rtol=1e-3)
    assert all((weights[key] == value).all() for key, value in model.state_dict().items())
    assert not model.training


@every_image_detector
@pytest.mark.parametrize("loss", names("loss"))
def test_every_loss_has_the_score(name: str, loss: str) -> None:
    scores = image_detector(name)(Network(classifier(loss)), TRAIN)(np.concatenate([TEST, NOISE]))
    assert np.isfinite(scores).all()
    assert len(np.unique(scores)) > 100


# ---- in a run

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
    """A copy of the finished run, which is not to be trained again."""
    monkeypatch.setattr("oodbench.fit.fit", never)
    monkeypatch.setenv("OODBENCH_CACHE", str(tmp_path / "cache"))
    return Path(shutil.copytree(finished, tmp_path / "results"))


def numbers(results: Path) -> Any:
    (folder,) = folders(results)
    return json.loads((folder / "metrics.json").read_text())


def files(results: Path, name: str) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in results.rglob(f"outputs/{name}/*")}


def test_a_score_of_images_is_added_to_a_finished_run_without_training_and_stays(again: Path) -> None:
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


def test_stored_scores_are_read_and_images_are_not_seen_again(again: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = (*RUN, f"results_dir={again}", "image_detector=[odin]")
    started(*run)
    before, stored = numbers(again), files(again, "odin")
    (folder,) = folders(again)
    (folder / "metrics.json").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(Network, "each", never)
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


def test_a_flipped_bit_is_named_and_the_scores_made_again(again: Path) -> None:
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


def test_held_out_images_have_the_score_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OODBENCH_CACHE", str(tmp_path / "cache"))
    held_out = ("validation.images=80", "validation.objective=ood.odin.auroc", "image_detector=[odin]")
    started(*LIMITED, "loss=ce", "ood=[unseen_digits]", f"results_dir={tmp_path}", *held_out)
    assert 0 < numbers(tmp_path)["validation"]["ood"]["odin"]["auroc"] < 1


def test_a_detector_and_an_image_detector_of_one_name_are_refused(again: Path) -> None:
    mine = "+image_detector.msp={_target_: oodbench.image_detectors.odin, _partial_: true, temperature: 1, eps: 0}"
    with pytest.raises(ValueError, match="msp: a detector and an image detector are called so"):
        started(*RUN, f"results_dir={again}", mine)
