"""Scores of images: against second definitions, in which precision, how they are stored and read."""

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_ood.detector as peers
import torch
from helpers.cli import LIMITED, folders, never, started
from helpers.config import ROOT, composed, names
from hydra.utils import instantiate
from numpy.typing import NDArray
from omegaconf import OmegaConf
from pytorch_ood.detector.rankfeat import _remove_rank1
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.nn import functional as F

from oodbench.backbones.staged import Staged
from oodbench.data.digits import digits, noise
from oodbench.data.split import balanced_subset
from oodbench.detectors.gaussian import mahalanobis
from oodbench.detectors.network import network
from oodbench.detectors.network.gram import drawn, row_sums
from oodbench.detectors.network.network import ImageDetector, Network
from oodbench.detectors.network.rankfeat import without_largest
from oodbench.detectors.reference import Array, NotApplicable, Reference
from oodbench.evaluation import metrics
from oodbench.losses.ce import CrossEntropy
from oodbench.losses.objective import Objective
from oodbench.model import Classifier
from oodbench.outputs import Outputs
from oodbench.storage import load_arrays

MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]
EVERY = names("image_detector")
every_image_detector = pytest.mark.parametrize("name", EVERY)
every_of_resnet18 = pytest.mark.parametrize("name", [name for name in EVERY if name != "mc_dropout"])  # it has none


def image_detector(name: str, **hyperparameters: Any) -> ImageDetector:
    """As the command line makes it, with its defaults or others."""
    return instantiate(OmegaConf.load(ROOT / f"conf/image_detector/{name}.yaml"), **hyperparameters)


TRAIN = balanced_subset(digits("train"), 240, 8)
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
        model.eval().finalize(model.features(images), TRAIN.labels)
    return model


@cache
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


# ---- Gram matrices


def maps_by_hand(model: Any, x: Tensor) -> list[NDArray[np.float64]]:
    net, maps = model.backbone, []
    with torch.no_grad():
        maps.append(F.relu(net.bn1(net.conv1(x))))
        for layer in (net.layer1, net.layer2, net.layer3, net.layer4):
            maps.append(layer(maps[-1]))
    return [m.double().numpy() for m in maps]


def gram_by_hand(model: Classifier, images: NDArray[np.uint8], powers: int, apart: NDArray[np.bool_]) -> Array:
    def statistics(x: Tensor) -> tuple[list[Array], Array, Array]:
        maps = maps_by_hand(model, x)
        layers = []
        for m in maps:
            B, C = m.shape[:2]
            g = np.zeros((B, powers, C))
            for b in range(B):
                for p in range(1, powers + 1):
                    F_p = m[b].reshape(C, -1) ** p
                    g[b, p - 1] = (F_p @ F_p.T).sum(1) ** (1 / p)
            layers.append(g)
        with torch.no_grad():
            z = model.objective.logits(torch.from_numpy(maps[-1].mean((2, 3))).float())
        p = z.double().softmax(1).numpy()
        return layers, p.argmax(1), p.max(1)

    train, _, _ = statistics(normalised(TRAIN.images))

    def deviations(x: Tensor) -> Array:
        layers, called, confidence = statistics(x)
        d = np.zeros((len(x), len(layers)))
        for i, k in enumerate(called):
            inside = ~apart & (TRAIN.labels == k)
            for layer, (g, g_train) in enumerate(zip(layers, train, strict=True)):
                low, high = g_train[inside].min(0), g_train[inside].max(0)
                for value, least, most in zip(g[i].ravel(), low.ravel(), high.ravel(), strict=True):
                    if value < least:
                        d[i, layer] += (least - value) / (least + 1e-6)
                    if value > most:
                        d[i, layer] += (value - most) / (most + 1e-6)
            d[i] /= confidence[i]
        return d

    expected = deviations(normalised(TRAIN.images[apart])).mean(0)
    return (deviations(normalised(images)) / (expected + 1e-6)).sum(1)


def test_gram_is_the_deviation_from_the_bounds_of_the_class_by_plain_loops(model: Classifier) -> None:
    apart = drawn(TRAIN.labels, 0.1, 0)
    assert np.bincount(TRAIN.labels[apart]).tolist() == [3] * 8
    images = np.concatenate([TEST[:15], NOISE[:5]])
    scores = image_detector("gram")(Network(model), TRAIN)(images)
    np.testing.assert_allclose(scores, gram_by_hand(model, images, 5, apart), rtol=2e-3)


def test_row_sums_of_gram_matrices_of_signed_maps() -> None:
    maps = torch.randn(3, 5, 4, 2, generator=torch.Generator().manual_seed(0))
    X = maps.double().flatten(2)
    sums = [(X**p @ (X**p).mT).sum(2) for p in (1, 2, 3)]
    expected = torch.stack([s.sign() * s.abs() ** (1 / p) for p, s in enumerate(sums, 1)], 1)
    torch.testing.assert_close(row_sums(maps, 3), expected, rtol=1e-4, atol=1e-4)
    peer = torch.stack([peers.Gram._gram_vector(maps.double(), p) for p in (1, 2, 3)], 1)
    torch.testing.assert_close(expected, peer)


def test_gram_needs_an_image_to_hold_out_of_some_class(model: Classifier) -> None:
    with pytest.raises(NotApplicable, match=r"a share of 0.1 of the training images of a class is none"):
        image_detector("gram")(Network(model), balanced_subset(TRAIN, 40, 8))


# ---- Mahalanobis distances of several layers


def stage_by_hand(model: Classifier, layer: int, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return maps_by_hand(model, normalised(images))[layer].mean((2, 3)).astype("f4")


def distances_by_hand(model: Classifier, layer: int, images: NDArray[np.uint8]) -> Array:
    """The stored outputs' detector, given a stage's features."""

    def outputs(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> Outputs:
        nothing = np.zeros((len(images), 8))
        features = stage_by_hand(model, layer, images)
        return Outputs(features, nothing.astype("f4"), nothing, np.zeros(len(images)), labels)

    reference = Reference(outputs(TRAIN.images, TRAIN.labels), lambda features: features, None, None)
    return mahalanobis(outputs(images, np.zeros(len(images), int)), reference, ridge=1e-6)


def test_the_last_layer_s_distance_is_that_of_the_stored_features(model: Classifier) -> None:
    score = image_detector("mahalanobis_layers", weights=[0, 0, 0, 0, 1])(Network(model), TRAIN)
    np.testing.assert_allclose(score(TEST), distances_by_hand(model, 4, TEST), rtol=2e-3)


def test_the_layers_distances_are_added_with_their_weights(model: Classifier) -> None:
    each = np.stack([distances_by_hand(model, layer, TEST) for layer in range(5)], 1)
    plain = image_detector("mahalanobis_layers")(Network(model), TRAIN)
    np.testing.assert_allclose(plain(TEST), each.sum(1), rtol=2e-3)
    w = [0.5, 0.1, 0.0, -1.0, 2.0]
    weighted = image_detector("mahalanobis_layers", weights=w)(Network(model), TRAIN)
    np.testing.assert_allclose(weighted(TEST), each @ w, rtol=2e-3, atol=1e-2)


@pytest.mark.parametrize("layer", [0, 2, 4])
def test_input_noise_brings_an_image_nearer_to_its_class_in_the_layer(model: Any, layer: int) -> None:
    eps, w = 0.0005, np.eye(5)[layer].tolist()
    scores = image_detector("mahalanobis_layers", weights=w, eps=eps)(Network(model), TRAIN)(TEST[:8])
    f_train = stage_by_hand(model, layer, TRAIN.images).astype("f8")
    means = np.stack([f_train[TRAIN.labels == k].mean(0) for k in range(8)])
    centred = f_train - means[TRAIN.labels]
    C = centred.T @ centred / len(centred)
    P = torch.from_numpy(np.linalg.inv(C + 1e-6 * np.diag(C).mean() * np.eye(len(C))))
    net = model.backbone
    stages = [lambda x: F.relu(net.bn1(net.conv1(x))), net.layer1, net.layer2, net.layer3, net.layer4][: layer + 1]

    def nearest(x: Tensor) -> Tensor:
        for stage in stages:
            x = stage(x)
        apart = x.mean((2, 3)).double() - torch.from_numpy(means)
        return ((apart @ P) * apart).sum(1).min()

    expected, still = [], []
    for image in normalised(TEST[:8]):
        x = image[None].clone().requires_grad_()
        distance = nearest(x)
        (slope,) = torch.autograd.grad(distance, x)
        still.append(distance.item())
        expected.append(nearest(x.detach() - eps * slope.sign() / torch.tensor(STD)[:, None, None]).item())
    np.testing.assert_allclose(scores, expected, rtol=1e-2)
    assert np.mean(np.array(expected) < 0.98 * np.array(still)) > 0.8


# ---- RankFeat


def test_rankfeat_is_the_energy_without_the_largest_singular_part(model: Any) -> None:
    expected = []
    for image in normalised(TEST[:20]):
        block3, block4 = (torch.from_numpy(m).float() for m in maps_by_hand(model, image[None])[-2:])
        logits = []
        for maps, rest in ((block4, nn.Identity()), (block3, model.backbone.layer4)):
            u, s, v = torch.linalg.svd(maps[0].flatten(1).double(), full_matrices=False)
            assert s[0] > 1.01 * s[1]
            lean = (u[:, 1:] * s[1:]) @ v[1:]
            with torch.no_grad():
                logits.append(model.objective.head(rest(lean.float().view_as(maps)).mean((2, 3))).double())
        expected.append(-torch.logsumexp((logits[0] + logits[1]) / 2, 1).item())
    scores = image_detector("rankfeat")(Network(model), TRAIN)(TEST[:20])
    np.testing.assert_allclose(scores, expected, rtol=1e-3)


def test_what_rankfeat_removes_is_what_pytorch_ood_removes() -> None:
    maps = torch.rand(6, 7, 3, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(without_largest(maps), _remove_rank1(maps), rtol=1e-3, atol=1e-5)
    wide = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last)
    torch.testing.assert_close(without_largest(wide), _remove_rank1(wide.contiguous()), rtol=1e-3, atol=1e-5)
    assert (without_largest(torch.zeros(1, 3, 2, 2)) == 0).all()


# ---- dropout


class Dropping(nn.Module):
    """Features of the mean colours of 16 squares, some dropped; it does not show its maps."""

    num_features = 32

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.drop = nn.Linear(48, 32), nn.Dropout(0.5)

    def forward(self, images: Tensor) -> Tensor:
        return self.drop(F.relu(self.linear(F.avg_pool2d(images, 8).flatten(1))))


@pytest.fixture(scope="module")
def dropping() -> Classifier:
    torch.default_generator.manual_seed(0)
    return trained(Dropping(), CrossEntropy(32, 8, label_smoothing=0.0))


def test_mc_dropout_is_the_largest_mean_probability_of_several_passes(dropping: Classifier) -> None:
    state = torch.get_rng_state()
    scores = image_detector("mc_dropout", passes=3, seed=7)(Network(dropping), TRAIN)(TEST)
    assert (torch.get_rng_state() == state).all()
    x = normalised(TEST)
    with torch.random.fork_rng([]), torch.no_grad():
        torch.manual_seed(7)
        dropping.backbone.drop.train()  # type: ignore[union-attr, operator]
        p = [dropping.objective.logits(dropping.backbone(x)).double().softmax(1) for _ in range(3)]
        dropping.eval()
    np.testing.assert_allclose(scores, -(sum(p) / 3).max(1).values, rtol=1e-5)  # type: ignore[union-attr]
    assert (image_detector("mc_dropout", passes=3, seed=8)(Network(dropping), TRAIN)(TEST) != scores).any()
    assert not any(module.training for module in dropping.modules())


def test_a_network_without_what_a_score_needs_has_none(model: Classifier, dropping: Classifier) -> None:
    with pytest.raises(NotApplicable, match="needs dropout; this backbone has none"):
        image_detector("mc_dropout")(Network(model), TRAIN)
    for name in ("gram", "mahalanobis_layers", "rankfeat"):
        with pytest.raises(NotApplicable, match="needs feature maps; this backbone has no `stages`"):
            image_detector(name)(Network(dropping), TRAIN)
    assert np.isfinite(image_detector("odin")(Network(dropping), TRAIN)(TEST)).all()


# ---- all of them


@pytest.mark.parametrize("backbone", names("backbone"))
def test_features_are_the_pooled_last_map(backbone: str) -> None:
    net = instantiate(composed(f"backbone={backbone}", "dataset=digits").backbone)
    if isinstance(net, Staged):
        x = torch.randn(2, 3, 32, 32)
        maps = x
        for stage in net.eval().stages():
            maps = stage(maps)
        assert (net.pool(maps) == net(x)).all()


@pytest.mark.parametrize(
    ("name", "hyperparameters", "says"),
    [
        ("odin", {"temperature": 0}, "temperature is 0"),
        ("odin", {"eps": -1}, "eps is -1"),
        ("gram", {"powers": 0}, "powers is 0"),
        ("gram", {"held_out": 1}, "held_out is 1"),
        ("mahalanobis_layers", {"weights": [1, 1]}, "there are 2 weights; the backbone has 5 stages"),
        ("mahalanobis_layers", {"eps": -1}, "eps is -1"),
        ("mahalanobis_layers", {"ridge": 0}, "ridge is 0"),
        ("mc_dropout", {"passes": 0}, "passes is 0"),
    ],
)
def test_hyperparameters_that_cannot_be_are_named(
    name: str, hyperparameters: dict[str, Any], says: str, model: Classifier
) -> None:
    with pytest.raises(ValueError, match=says):
        image_detector(name, **hyperparameters)(Network(model), TRAIN)


@every_of_resnet18
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


@every_of_resnet18
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


@every_of_resnet18
@pytest.mark.parametrize("loss", names("loss"))
def test_every_loss_has_the_score(name: str, loss: str) -> None:
    scores = image_detector(name)(Network(classifier(loss)), TRAIN)(np.concatenate([TEST, NOISE]))
    assert np.isfinite(scores).all()
    assert len(np.unique(scores)) > 100


@pytest.mark.parametrize("name", ["gram", "mahalanobis_layers"])
def test_noise_is_stranger_than_digits_to_scores_of_all_layers(name: str, model: Classifier) -> None:
    score = image_detector(name)(Network(model), TRAIN)
    assert metrics.auroc(score(TEST), score(NOISE)) > 0.99


@every_image_detector
def test_every_image_detector_composes(name: str) -> None:
    cfg = composed(f"image_detector=[{name}]")
    assert cfg.image_detector == {name: OmegaConf.load(ROOT / f"conf/image_detector/{name}.yaml")}
    assert composed().image_detector == {}
    assert name not in names("detector")


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
    monkeypatch.setattr("oodbench.training.loop.fit", never)
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
    (folder,) = folders(tmp_path)
    val, val_ood = (load_arrays(folder / f"outputs/odin/{n}.safetensors")[0]["scores"] for n in ("val", "val_ood"))
    assert (len(val), len(val_ood)) == (80, 160)
    assert numbers(tmp_path)["validation"]["ood"]["odin"]["auroc"] == metrics.auroc(val, val_ood)


def test_a_detector_and_an_image_detector_of_one_name_are_refused(again: Path) -> None:
    mine = "+image_detector.msp={_target_: oodbench.detectors.network.odin, _partial_: true, temperature: 1, eps: 0}"
    with pytest.raises(ValueError, match="msp: a detector and an image detector are called so"):
        started(*RUN, f"results_dir={again}", mine)
