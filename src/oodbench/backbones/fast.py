from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from oodbench.backbones.staged import StagedNetwork

PATCH = 2  # pixels, the side of the whitened patches
EPS = 5e-4  # added to the patches' eigenvalues


class Group(nn.Module):
    """Two 3x3 convolutions, the first followed by 2x2 max-pooling; each ends in batch norm and ReLU."""

    def __init__(self, num_in: int, num_out: int, is_last: bool) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv3x3(num_in, num_out), batch_norm(num_out)
        self.conv2, self.bn2 = conv3x3(num_out, num_out), batch_norm(num_out)
        self.is_last = is_last

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(F.max_pool2d(self.conv1(x), 2)))
        x = self.conv2(x)
        return F.relu(self.bn2(x.float() if self.is_last else x))  # a maximum of bf16 numbers would be one


class Fast(StagedNetwork):
    """A frozen whitening layer and six convolutions (Jordan, 2024, "94% on CIFAR-10 in 3.29 seconds on a single GPU").

    Differs from the source in its ReLU (there GELU), which many OOD detectors assume of the features, in batch norm's
    usual epsilon and momentum, in a whitening layer without bias (there it trains for three epochs), and in the head of
    the loss (there linear without bias, its logits divided by 9). Whitening amplifies what training images lack, like
    noise. 1.97 M parameters at the widths of the source, 64, 256, 256.
    """

    whitening: Tensor

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.num_features = widths[-1]
        num_patch = 3 * PATCH**2
        self.register_buffer("whitening", torch.zeros(2 * num_patch, 3, PATCH, PATCH))
        sizes = zip([2 * num_patch, *widths[:-1]], widths, strict=True)
        groups = [Group(num_in, num_out, i == len(widths) - 1) for i, (num_in, num_out) in enumerate(sizes)]
        self.groups = nn.ModuleList(groups)

    @torch.no_grad()
    def prepare(self, images: Tensor) -> None:
        """(N, 3, H, W) normalised training images: set the whitening filters, before the first step of a training.

        Filters +-v_i / sqrt(lambda_i + EPS), with v_i and lambda_i of the second moment of all 2x2 patches: their
        outputs over these images are uncorrelated and have mean square lambda_i / (lambda_i + EPS).
        """
        patches = F.unfold(images, PATCH).transpose(1, 2).flatten(0, 1).double()  # (N (H - 1) (W - 1), 12)
        values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
        filters = (vectors / (values + EPS).sqrt()).T.reshape(-1, 3, PATCH, PATCH)
        self.whitening.copy_(torch.cat([filters, -filters]))

    def stem(self, images: Tensor) -> Tensor:
        """(B, 3, 32, 32) -> (B, 24, 31, 31)"""
        return F.relu(F.conv2d(images, self.whitening))

    def stages(self) -> Sequence[Callable[[Tensor], Tensor]]:
        return self.stem, *self.groups

    def pool(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C) in float32, the maxima over the pixels: 3x3 of the last ReLU"""
        return maps.float().amax((2, 3))


def conv3x3(num_in: int, num_out: int) -> nn.Conv2d:
    """A convolution whose first filters pass their inputs on, as many as there are inputs and outputs for."""
    conv = nn.Conv2d(num_in, num_out, 3, padding=1, bias=False)
    nn.init.dirac_(conv.weight[: conv.in_channels].detach())
    return conv


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """Batch norm with a bias and no weight: the next convolution can scale its inputs."""
    norm = nn.BatchNorm2d(channels)
    norm.weight.requires_grad_(False)
    return norm
