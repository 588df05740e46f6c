"""RankFeat equals a singular value decomposition by hand and the one of pytorch-ood."""

from typing import Any

import numpy as np
import torch
from helpers.network import TEST, TRAIN, image_detector, maps_by_hand, normalised
from pytorch_ood.detector.rankfeat import _remove_rank1
from torch import nn

from oodbench.detectors.network.network import Network
from oodbench.detectors.network.rankfeat import without_largest


def test_scores_are_energies_of_reduced_maps(model: Any) -> None:
    expected = []
    for image in normalised(TEST[:20]):
        block3, block4 = (torch.from_numpy(m).float() for m in maps_by_hand(model, image[None])[-2:])
        logits = []
        for maps, rest in ((block4, nn.Identity()), (block3, model.backbone.layer4)):
            u, s, v = torch.linalg.svd(maps[0].flatten(1).double(), full_matrices=False)
            assert s[0] > 1.01 * s[1]
            reduced = (u[:, 1:] * s[1:]) @ v[1:]
            with torch.no_grad():
                logits.append(model.objective.head(rest(reduced.float().view_as(maps)).mean((2, 3))).double())
        expected.append(-torch.logsumexp((logits[0] + logits[1]) / 2, 1).item())
    scores = image_detector("rankfeat")(Network(model), TRAIN)(TEST[:20])
    np.testing.assert_allclose(scores, expected, rtol=1e-3)


def test_pytorch_ood_removes_the_same_component() -> None:
    maps = torch.rand(6, 7, 3, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(without_largest(maps), _remove_rank1(maps), rtol=1e-3, atol=1e-5)
    wide = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last)
    torch.testing.assert_close(without_largest(wide), _remove_rank1(wide.contiguous()), rtol=1e-3, atol=1e-5)
    assert (without_largest(torch.zeros(1, 3, 2, 2)) == 0).all()
