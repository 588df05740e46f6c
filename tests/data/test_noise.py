"""Images of noise: their distributions."""

import numpy as np
import pytest
from helpers.config import ROOT
from hydra.utils import instantiate
from omegaconf import OmegaConf
from scipy.stats import norm

from oodbench import data
from oodbench.data.split import Split

pytestmark = pytest.mark.usefixtures("cache_folder")


def configured(name: str, **changes: int) -> Split:
    """The set of conf/ood, in small."""
    return instantiate(OmegaConf.load(ROOT / f"conf/ood/{name}.yaml"), **changes)  # type: ignore[no-any-return]


def test_uniform_noise_has_every_value_equally_often() -> None:
    counts = np.bincount(configured("uniform_noise", images=1000).images.ravel(), minlength=256)
    assert counts / counts.sum() == pytest.approx(np.full(256, 1 / 256), rel=0.05)


def test_gaussian_noise_is_the_clipped_normal_distribution() -> None:
    """P(x = 0) = P(N < 0.5 / 255) and so on: the field's mean 0.5 and deviation 1, clipped."""
    shares = np.bincount(configured("gaussian_noise", images=1000).images.ravel(), minlength=256) / (1000 * 3072)
    steps = norm.cdf((np.arange(255) + 0.5) / 255, loc=0.5, scale=1)
    assert shares == pytest.approx(np.diff(steps, prepend=0, append=1), rel=0.05)


@pytest.mark.parametrize("name", ["uniform_noise", "gaussian_noise"])
def test_noise_is_the_same_every_time(name: str) -> None:
    first, again, other = (configured(name, images=n) for n in (20, 20, 21))
    assert np.array_equal(first.images, again.images)
    assert first.digest == again.digest != other.digest
    assert len(other.images) == 21
    assert len({image.tobytes() for image in other.images}) == 21
    assert set(first.labels) == {data.UNKNOWN}


def test_no_image_of_noise_is_refused() -> None:
    with pytest.raises(ValueError, match="0 images of noise"):
        data.uniform_noise(0)
