"""Any network of timm, the PyTorch image models (Wightman, 2019), https://github.com/huggingface/pytorch-image-models."""

import difflib
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Timm(nn.Module):
    """timm's network of this name, initialised at random: no weights are downloaded; images are resized to side x side.

    The head's part before the logits, pooling included, is computed in float32. A network that leaves one pixel of the
    image gives features with the digits of the precision it runs in: bf16 has three. Raises ImportError without timm,
    ValueError for a name that timm does not have.
    """

    def __init__(self, name: str, side: int) -> None:
        super().__init__()
        timm = imported()
        if not timm.is_model(name):
            close = difflib.get_close_matches(name, timm.list_models(), n=5, cutoff=0.4)
            raise ValueError(f"timm {timm.__version__} has no network {name}; similar: {', '.join(close) or 'none'}")
        size = {"img_size": side} if timm.get_pretrained_cfg(name).fixed_input_size else {}
        self.network = timm.create_model(name, pretrained=False, num_classes=0, **size)
        self.num_features: int = self.network.head_hidden_size
        self.side = side

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) normalised images -> (B, num_features) in float32"""
        if images.shape[2:] != (self.side, self.side):
            images = F.interpolate(images, (self.side, self.side), mode="bilinear", antialias=True)
        maps = self.network.forward_features(images)
        with torch.autocast(images.device.type, enabled=False):
            return self.network.forward_head(maps.float(), pre_logits=True)


def imported() -> Any:
    """Return the module timm. Raises ImportError, with the way to install it."""
    try:
        import timm
    except ImportError as error:
        raise ImportError("backbone=timm needs timm: pip install 'oodbench[timm]'", name="timm") from error
    return timm
