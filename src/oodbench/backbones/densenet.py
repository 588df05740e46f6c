from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from oodbench.backbones.staged import StagedNetwork
from oodbench.backbones.wide_resnet import initialise_convolutions


class DenseLayer(nn.Module):
    """Batch norm, ReLU, convolution, twice: 1x1 to 4 growth channels, 3x3 to growth. Returns its inputs and these.

    Huang et al., 2017, "bottleneck layers". Dropout follows each convolution.
    """

    def __init__(self, num_in: int, growth: int, dropout: float) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(num_in)
        self.conv1 = nn.Conv2d(num_in, 4 * growth, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(4 * growth)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        out = self.dropout(self.conv1(F.relu(self.bn1(x))))
        return torch.cat([x, self.dropout(self.conv2(F.relu(self.bn2(out))))], dim=1)


class Transition(nn.Module):
    """Batch norm, ReLU, a 1x1 convolution to half of the channels, dropout, 2x2 average pooling."""

    def __init__(self, num_in: int, dropout: float) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(num_in)
        self.conv1 = nn.Conv2d(num_in, num_in // 2, 1, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(self.dropout(self.conv1(F.relu(self.bn1(x)))), 2)


def dense_block(n: int, num_in: int, growth: int, dropout: float) -> nn.Sequential:
    """Return n layers, each of which has the inputs and outputs of all before it as inputs."""
    return nn.Sequential(*(DenseLayer(num_in + i * growth, growth, dropout) for i in range(n)))


class DenseNet(StagedNetwork):
    """DenseNet-BC-depth-growth: 3x3 stem, three blocks of (depth - 4) / 6 layers, batch norm, ReLU.

    Huang et al., 2017, with compression 0.5. Between the blocks, transitions halve the channels and the side.
    Initialised as WideResNet. DenseNet-BC-100-12 has 342 features and 0.77 M parameters with head.
    """

    def __init__(self, depth: int, growth: int, dropout: float) -> None:
        super().__init__()
        if depth < 10 or (depth - 4) % 6:
            raise ValueError(f"depth is {depth}; a DenseNet-BC has 6 n + 4 layers: 10, 16, ..., 40, 100, 190, 250, ...")
        n = (depth - 4) // 6
        sizes = [2 * growth]  # channels before the first block, and before each that follows
        for _ in (1, 2):
            sizes.append((sizes[-1] + n * growth) // 2)
        self.conv1 = nn.Conv2d(3, sizes[0], 3, padding=1, bias=False)
        self.block1, self.block2, self.block3 = (dense_block(n, size, growth, dropout) for size in sizes)
        self.trans1, self.trans2 = (Transition(size + n * growth, dropout) for size in sizes[:-1])
        self.num_features = sizes[-1] + n * growth
        self.bn1 = nn.BatchNorm2d(self.num_features)
        initialise_convolutions(self)

    def first(self, x: Tensor) -> Tensor:
        """Apply a block and its transition; so does `second`, while `last` ends in batch norm and ReLU."""
        return self.trans1(self.block1(x))

    def second(self, x: Tensor) -> Tensor:
        return self.trans2(self.block2(x))

    def last(self, x: Tensor) -> Tensor:
        return F.relu(self.bn1(self.block3(x)))

    def stages(self) -> Sequence[Callable[[Tensor], Tensor]]:
        """Return the stem and the three blocks: maps of 32, 16, 8 and 8 pixels; the last comes from a ReLU."""
        return self.conv1, self.first, self.second, self.last
