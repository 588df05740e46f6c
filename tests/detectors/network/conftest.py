"""The classifier that the tests of image detectors share."""

import pytest
from helpers.network import classifier

from oodbench.model import Classifier


@pytest.fixture(scope="session")
def model() -> Classifier:
    """ResNet-18 of width 4 with cross entropy after ten steps; not to be changed."""
    return classifier("ce", steps=10)
