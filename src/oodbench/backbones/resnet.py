from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from oodbench.backbones.staged import StagedNetwork


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, 1x1 where the shape changes (He et al., 2016, figure 2)."""

    def __init__(self, num_in: int, num_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(num_in, num_out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(num_out)
        self.conv2 = nn.Conv2d(num_out, num_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(num_out)
        self.shortcut = shortcut(num_in, num_out, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, the first two with a quarter of the outputs' channels, and a shortcut.

    He et al., 2016, figure 5; the 3x3 convolution has the stride, as in torchvision.
    """

    def __init__(self, num_in: int, num_out: int, stride: int) -> None:
        super().__init__()
        inner = num_out // 4
        self.conv1 = nn.Conv2d(num_in, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, num_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(num_out)
        self.shortcut = shortcut(num_in, num_out, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        return F.relu(self.bn3(self.conv3(out)) + self.shortcut(x))


def shortcut(num_in: int, num_out: int, stride: int) -> nn.Sequential:
    """Return the identity, or a 1x1 convolution with batch norm where the shape changes."""
    if stride == 1 and num_in == num_out:
        return nn.Sequential()
    return nn.Sequential(nn.Conv2d(num_in, num_out, 1, stride, bias=False), nn.BatchNorm2d(num_out))


def stage(block: type[nn.Module], n: int, num_in: int, num_out: int, stride: int) -> nn.Sequential:
    """Return n blocks, the first of which changes the number of channels and has the stride."""
    return nn.Sequential(block(num_in, num_out, stride), *(block(num_out, num_out, 1) for _ in range(n - 1)))


class ResNet(StagedNetwork):
    """A ResNet for CIFAR: 3x3 stem of stride 1, no max-pool; PyTorch's default initialisation (He et al., 2016).

    blocks: how many of `block` each of the four stages has; widths: their channels. Modules are named as in OpenOOD, so
    that the keys of its checkpoints fit.
    """

    def __init__(self, block: type[nn.Module], blocks: Sequence[int], stem: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.num_features = widths[-1]
        self.conv1 = nn.Conv2d(3, stem, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        sizes = zip(blocks, [stem, *widths[:-1]], widths, [1, 2, 2, 2], strict=True)
        self.layer1, self.layer2, self.layer3, self.layer4 = (stage(block, *size) for size in sizes)

    def stem(self, images: Tensor) -> Tensor:
        """(B, 3, 32, 32) -> (B, width, 32, 32)"""
        return F.relu(self.bn1(self.conv1(images)))

    def stages(self) -> Sequence[Callable[[Tensor], Tensor]]:
        """Return the stem and the four layers, which give maps of 32, 32, 16, 8 and 4 pixels."""
        return self.stem, self.layer1, self.layer2, self.layer3, self.layer4


class ResNet18(ResNet):
    """ResNet-18 for CIFAR. 11.17 M parameters with head at width 64, 8 width features."""

    def __init__(self, width: int) -> None:
        super().__init__(BasicBlock, [2, 2, 2, 2], width, [width, 2 * width, 4 * width, 8 * width])


class ResNet34(ResNet):
    """ResNet-34 for CIFAR. 21.28 M parameters with head at width 64, 8 width features."""

    def __init__(self, width: int) -> None:
        super().__init__(BasicBlock, [3, 4, 6, 3], width, [width, 2 * width, 4 * width, 8 * width])


class ResNet50(ResNet):
    """ResNet-50 for CIFAR. 23.52 M parameters with head at width 64, 32 width features."""

    def __init__(self, width: int) -> None:
        super().__init__(Bottleneck, [3, 4, 6, 3], width, [4 * width, 8 * width, 16 * width, 32 * width])
