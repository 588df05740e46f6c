"""A backbone without batch norm and dropout, which several processes on a CPU train as one process does."""

from torch import nn


class Plain(nn.Sequential):
    def __init__(self, width: int) -> None:
        super().__init__(
            nn.Conv2d(3, width, 3, stride=4), nn.Tanh(), nn.Conv2d(width, width, 3), nn.ReLU(),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        )  # fmt: skip
        self.num_features = 4 * width
