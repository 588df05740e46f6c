"""Networks: (B, 3, 32, 32) normalised images -> (B, num_features)."""

from oodbench.backbones.resnet18 import ResNet18
from oodbench.backbones.staged import Staged

__all__ = ["ResNet18", "Staged"]
