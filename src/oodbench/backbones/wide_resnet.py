from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from oodbench.backbones.staged import StagedNetwork


class WideBlock(nn.Module):
    """Batch norm, ReLU and 3x3 convolution, twice, with dropout before the second convolution, and a shortcut.

    Zagoruyko & Komodakis, 2016, figure 1d. Where the number of channels changes, the shortcut is a 1x1 convolution that
    takes what the first ReLU returns.
    """

    def __init__(self, num_in: int, num_out: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(num_in)
        self.conv1 = nn.Conv2d(num_in, num_out, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(num_out)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(num_out, num_out, 3, padding=1, bias=False)
        self.shortcut = None if num_in == num_out else nn.Conv2d(num_in, num_out, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        activated = F.relu(self.bn1(x))
        out = self.conv2(self.dropout(F.relu(self.bn2(self.conv1(activated)))))
        return out + (x if self.shortcut is None else self.shortcut(activated))


def group(n: int, num_in: int, num_out: int, stride: int, dropout: float) -> nn.Sequential:
    """Return n blocks, the first of which changes the number of channels and has the stride."""
    first = WideBlock(num_in, num_out, stride, dropout)
    return nn.Sequential(first, *(WideBlock(num_out, num_out, 1, dropout) for _ in range(n - 1)))


class WideResNet(StagedNetwork):
    """WRN-depth-width: 3x3 stem, three groups of (depth - 4) / 6 blocks, batch norm, ReLU; 64 width features.

    Zagoruyko & Komodakis, 2016, table 1. Weights of convolutions are drawn from N(0, 2 / (outputs x kernel area)).
    Parameters with head: 2.24 M of WRN-40-2, 36.48 M of WRN-28-10.
    """

    def __init__(self, depth: int, width: int, dropout: float) -> None:
        super().__init__()
        if depth < 10 or (depth - 4) % 6:
            raise ValueError(f"depth is {depth}; a wide ResNet has 6 n + 4 layers: 10, 16, 22, 28, 34, 40, ...")
        n, widths = (depth - 4) // 6, [16, 16 * width, 32 * width, 64 * width]
        self.num_features = widths[-1]
        self.conv1 = nn.Conv2d(3, widths[0], 3, padding=1, bias=False)
        sizes = zip(widths[:-1], widths[1:], [1, 2, 2], strict=True)
        self.block1, self.block2, self.block3 = (group(n, *size, dropout) for size in sizes)
        self.bn1 = nn.BatchNorm2d(widths[-1])
        initialise_convolutions(self)

    def last(self, x: Tensor) -> Tensor:
        """(B, 32 width, 16, 16) -> (B, 64 width, 8, 8), the third group and the last ReLU"""
        return F.relu(self.bn1(self.block3(x)))

    def stages(self) -> Sequence[Callable[[Tensor], Tensor]]:
        """Return the stem and the three groups: maps of 32, 32, 16 and 8 pixels; the last comes from a ReLU."""
        return self.conv1, self.block1, self.block2, self.last


def initialise_convolutions(network: nn.Module) -> None:
    """Draw the weights of all convolutions from N(0, 2 / (outputs x kernel area))   (He et al., 2015)"""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
