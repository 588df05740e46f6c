"""The network with its loss, and its outputs on a set."""

import copy

import numpy as np
import pytest
import torch
from helpers.config import composed, names
from hydra.utils import instantiate
from torch import Tensor, nn

from oodbench.backbones import ResNet18
from oodbench.losses.ce import CrossEntropy
from oodbench.losses.external import ExternalLogits
from oodbench.losses.halo import Halo
from oodbench.losses.objective import Objective
from oodbench.model import (
    Classifier,
    extract_features,
    head_fn,
    linear_weights,
    load_head,
    load_weights,
    normalise,
    predict,
    reproduces,
    weights_of,
)
from oodbench.pretrained.arrays import from_arrays

IMAGES = np.random.default_rng(0).integers(256, size=(23, 32, 32, 3), dtype=np.uint8)
LABELS = np.arange(23) % 5
BATCH = torch.from_numpy(IMAGES).permute(0, 3, 1, 2)
MEAN, STD = [0.5, 0.4, 0.3], [0.25, 0.2, 0.3]


def classifier(objective: Objective | None = None, precision: torch.dtype = torch.float32) -> Classifier:
    torch.manual_seed(0)
    backbone = ResNet18(width=4)
    objective = objective or CrossEntropy(backbone.num_features, 5, label_smoothing=0.0)
    model = Classifier(backbone, objective, MEAN, STD, precision)
    with torch.no_grad():  # batch norm as a training leaves it, not the identity
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.2, 0.2)
                module.running_var.uniform_(0.5, 2)
    return model


class Watching(CrossEntropy):
    """Notes the precision that it is given."""

    def __init__(self) -> None:
        super().__init__(32, 5, label_smoothing=0.0)
        self.seen: list[tuple[torch.dtype, torch.dtype, bool]] = []

    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        product = features @ features.T
        self.seen.append((features.dtype, product.dtype, torch.is_autocast_enabled(features.device.type)))
        return super().loss(features, labels)


def test_the_backbone_is_in_bf16_and_the_objective_in_float32() -> None:
    model = classifier(Watching(), torch.bfloat16)
    convolved: list[torch.dtype] = []
    for module in model.backbone.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda m, x, out: convolved.append(out.dtype))
    features = model.features(BATCH)
    assert features.dtype == torch.float32
    assert convolved == [torch.bfloat16] * 20
    with torch.autocast("cpu", torch.bfloat16):
        model.objective.loss(features, torch.from_numpy(LABELS))
    assert model.objective.seen == [(torch.float32, torch.float32, False)]


def test_fp32_is_the_backbone_without_autocast() -> None:
    model = classifier().eval()
    plain = model.backbone(normalise(BATCH, torch.tensor(MEAN), torch.tensor(STD)))
    assert torch.equal(model.features(BATCH), plain)
    assert not torch.equal(classifier(precision=torch.bfloat16).eval().features(BATCH), plain)


def test_features_of_a_set_equal_a_direct_forward() -> None:
    model = classifier()
    running = copy.deepcopy(model.state_dict())
    model.train()
    with torch.no_grad():
        direct = copy.deepcopy(model).eval().features(BATCH)
    for batch_size in (1, 7, 23, 500, None):
        features = extract_features(model, IMAGES, batch_size)
        assert features.shape == (23, 32)
        torch.testing.assert_close(features, direct, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(value, running[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("loss", names("loss"))
def test_predictions_are_the_objectives_own_in_float64(loss: str) -> None:
    objective = instantiate(composed(f"loss={loss}").loss, num_features=6, num_classes=5)
    features = torch.randn(23, 6, generator=torch.Generator().manual_seed(0)).abs() * 3
    objective.train()
    before = copy.deepcopy(objective.state_dict())
    outputs = predict(objective, features, LABELS)

    assert outputs.features.dtype == outputs.logits.dtype == np.float32
    assert outputs.log_probs.dtype == outputs.ood_score.dtype == np.float64
    assert outputs.labels.dtype == np.int64
    assert (outputs.labels == LABELS).all()
    assert outputs.logits.shape[1] >= outputs.log_probs.shape[1] == 5
    wide = torch.from_numpy(outputs.logits).double()
    assert (outputs.log_probs == objective.log_probs(wide).numpy()).all()
    assert (outputs.ood_score == objective.ood_score(wide).numpy()).all()
    assert (outputs.logits == head_fn(objective)(outputs.features)).all()
    assert objective.training
    assert all(torch.equal(value, before[name]) for name, value in objective.state_dict().items())


def test_the_head_keeps_the_weights_it_was_made_with() -> None:
    objective = CrossEntropy(6, 5, label_smoothing=0.0)
    features = np.random.default_rng(0).normal(size=(4, 6)).astype("f4")
    head = head_fn(objective)
    before = head(features)
    nn.init.zeros_(objective.head.weight)
    assert (head(features) == before).all()


def test_normalisation_constants_are_not_among_the_weights() -> None:
    assert not {"mean", "std"} & classifier().state_dict().keys()


def test_weights_go_from_one_network_to_another_to_the_bit() -> None:
    model, other = classifier(), classifier()
    for weight in other.parameters():
        nn.init.zeros_(weight)
    load_weights(other, weights_of(model))
    assert all(torch.equal(w, other.state_dict()[name]) for name, w in model.state_dict().items())
    head = CrossEntropy(32, 5, label_smoothing=0.0)
    load_head(head, weights_of(model))
    assert torch.equal(head.head.weight, model.objective.head.weight)


def test_weights_of_another_network_are_named() -> None:
    weights = weights_of(classifier())
    for other in (
        {name: w for name, w in weights.items() if name != "backbone.conv1.weight"},
        weights | {"backbone.conv1.weight": weights["backbone.conv1.weight"][1:]},
    ):
        with pytest.raises(ValueError, match=r"(?s)the stored weights are of another network: .*conv1"):
            load_weights(classifier(), other)
    with pytest.raises(ValueError, match=r"(?s)the stored weights are of another network: .*head\.weight"):
        load_head(CrossEntropy(32, 5, label_smoothing=0.0), {})


def test_linear_weights_are_those_of_the_head() -> None:
    objective = CrossEntropy(6, 5, label_smoothing=0.0)
    linear = linear_weights(objective)
    assert linear is not None
    features = np.random.default_rng(0).normal(size=(4, 6)).astype("f4")
    head = head_fn(objective)
    assert head is not None
    np.testing.assert_allclose(features @ linear[0].T + linear[1], head(features), rtol=1e-5, atol=1e-6)
    assert linear_weights(ExternalLogits(6, 5)) is None
    assert head_fn(ExternalLogits(6, 5)) is None


def test_outputs_are_those_of_the_objective_or_not() -> None:
    objective, features = Halo(6, 5, "published", None, 0.1, True, True, None, 1.0, None), torch.randn(120, 6)
    outputs = predict(objective, features, np.zeros(120, np.int64))
    assert reproduces(objective, outputs)
    for name in ("features", "logits", "log_probs", "ood_score"):
        assert not reproduces(objective, outputs._replace(**{name: getattr(outputs, name) * 1.1})), name
    assert not reproduces(objective, outputs._replace(logits=outputs.logits[:, :5]))
    objective = CrossEntropy(6, 5, label_smoothing=0.0)
    outputs = predict(objective, 1000 * features, np.zeros(120, np.int64))
    rounded = -outputs.log_probs.max(1)
    assert (rounded == 0).any()
    assert reproduces(objective, outputs)
    assert not reproduces(objective, outputs._replace(ood_score=rounded))
    taken = ExternalLogits(6, 5)
    logits = np.random.default_rng(0).normal(size=(9, 5)).astype("f4")
    assert reproduces(taken, from_arrays(logits, features=np.zeros((9, 6))))


class InPlace(CrossEntropy):
    """Computes the energy and p in the memory that it is given."""

    def logits(self, features: Tensor) -> Tensor:
        return self.head(features.mul_(2))

    def log_probs(self, logits: Tensor) -> Tensor:
        return logits.sub_(logits.logsumexp(1, keepdim=True))

    def ood_score(self, logits: Tensor) -> Tensor:
        return -logits.logsumexp(1)


def test_a_loss_that_works_in_place_changes_no_other_number() -> None:
    objective = InPlace(6, 5, label_smoothing=0.0)
    features = torch.randn(9, 6, generator=torch.Generator().manual_seed(0))
    before = features.clone()
    outputs = predict(objective, features, np.zeros(9, np.int64))
    assert torch.equal(features, before)
    np.testing.assert_array_equal(outputs.features, before.numpy())
    z = outputs.logits.astype(np.float64)
    np.testing.assert_allclose(outputs.ood_score, -np.logaddexp.reduce(z, axis=1))
    assert reproduces(objective, outputs)
    head = head_fn(objective)
    assert head
    np.testing.assert_allclose(head(outputs.features), outputs.logits, rtol=1e-6)
    np.testing.assert_array_equal(outputs.features, before.numpy())
