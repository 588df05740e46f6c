"""What several test files need: the configuration as the command line composes it, and one thread."""

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: on problems this small, threads wait for one another

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict

ROOT = Path(__file__).resolve().parents[1]


def names(group: str) -> list[str]:
    """The choices of a configuration group."""
    return sorted(path.stem for path in (ROOT / "conf" / group).glob("*.yaml"))


def composed(*overrides: str) -> DictConfig:
    """The configuration that `python train.py <overrides>` sees."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("train", list(overrides), return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)  # `name` asks it for the choices
    with open_dict(cfg):
        del cfg["hydra"]
    return cfg


@pytest.fixture
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of decoded images."""
    monkeypatch.setenv("OODBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("no CUDA GPU here")
