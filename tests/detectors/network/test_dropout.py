"""MC dropout equals several passes by hand."""

import numpy as np
import pytest
import torch
from helpers.network import TEST, TRAIN, image_detector, normalised, trained
from torch import Tensor, nn
from torch.nn import functional as F

from oodbench.detectors.network.network import Network
from oodbench.detectors.reference import NotApplicable
from oodbench.losses.ce import CrossEntropy
from oodbench.model import Classifier


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
    return trained(Dropping(), CrossEntropy(32, 8, label_smoothing=0.0), steps=10)


def test_scores_are_means_of_several_passes(dropping: Classifier) -> None:
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


def test_a_network_without_what_is_needed_is_a_reason(model: Classifier, dropping: Classifier) -> None:
    with pytest.raises(NotApplicable, match="needs dropout; this backbone has none"):
        image_detector("mc_dropout")(Network(model), TRAIN)
    for name in ("gram", "mahalanobis_layers", "rankfeat"):
        with pytest.raises(NotApplicable, match="needs feature maps; this backbone has no `stages`"):
            image_detector(name)(Network(dropping), TRAIN)
    assert np.isfinite(image_detector("odin")(Network(dropping), TRAIN)(TEST)).all()
