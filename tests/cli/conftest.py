"""Hydra as the command line uses it."""

from collections.abc import Iterator

import pytest
from helpers.cli import never
from helpers.config import CONF
from hydra import initialize_config_dir


@pytest.fixture(autouse=True)
def _nothing_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oodbench.experiment.fit", never)


@pytest.fixture(scope="module")
def hydra_initialised() -> Iterator[None]:
    """Hydra as it is while the command line is read."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield
