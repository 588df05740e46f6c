from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.nn import functional as F


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, 1x1 where the shape changes (He et al., 2016, figure 2)."""

    def __init__(self, num_in: int, num_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(num_in, num_out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(num_out)
        self.conv2 = nn.Conv2d(num_out, num_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(num_out)
        self.shortcut = nn.Sequential()
        if stride != 1 or num_in != num_out:
            conv = nn.Conv2d(num_in, num_out, 1, stride, bias=False)
            self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(num_out))

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class ResNet18(nn.Module):
    """ResNet-18 for CIFAR: 3x3 stem of stride 1, no max-pool; PyTorch's default initialisation (He et al., 2016).

    Modules are named as in OpenOOD, so that the keys of its checkpoints fit. 11.17 M parameters with head at width 64.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_features = 8 * width
        self.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = self._stage(width, width, stride=1)
        self.layer2 = self._stage(width, 2 * width, stride=2)
        self.layer3 = self._stage(2 * width, 4 * width, stride=2)
        self.layer4 = self._stage(4 * width, 8 * width, stride=2)

    @staticmethod
    def _stage(num_in: int, num_out: int, stride: int) -> nn.Sequential:
        return nn.Sequential(BasicBlock(num_in, num_out, stride), BasicBlock(num_out, num_out, 1))

    def stem(self, images: Tensor) -> Tensor:
        """(B, 3, 32, 32) -> (B, width, 32, 32)"""
        return F.relu(self.bn1(self.conv1(images)))

    def stages(self) -> Sequence[Callable[[Tensor], Tensor]]:
        """Return the stem and the four layers, which give maps of 32, 32, 16, 8 and 4 pixels."""
        return self.stem, self.layer1, self.layer2, self.layer3, self.layer4

    def pool(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C) in float32: a mean of bf16 maps in bf16 would leave three digits"""
        return maps.float().mean((2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, 32, 32) normalised images -> (B, 8 width) features: the last map, after its ReLU, pooled"""
        x = images
        for stage in self.stages():
            x = stage(x)
        return self.pool(x)
