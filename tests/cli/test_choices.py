"""The choice detector=all is made of the files of conf/detector."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from oodbench.cli.choices import store_all_detectors
from oodbench.cli.configuration import CONF


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """A configuration with the detectors a and b."""
    (tmp_path / "detector").mkdir()
    for name in ("b", "a"):
        (tmp_path / f"detector/{name}.yaml").write_text(f"# @package detector.{name}\nk: 1\n")
    (tmp_path / "train.yaml").write_text("defaults: [_self_, {detector: [a]}]\ndetector: {}\n")
    store_all_detectors(tmp_path)
    yield tmp_path
    store_all_detectors(CONF)


@pytest.mark.parametrize("override", ["detector=all", "detector=[all]", "detector=[b,all]"])
def test_all_is_every_file(conf: Path, override: str) -> None:
    with initialize_config_dir(str(conf), version_base="1.3"):
        assert compose("train", [override]).detector == {"a": {"k": 1}, "b": {"k": 1}}


def test_hyperparameters_can_be_set_beside_all(conf: Path) -> None:
    with initialize_config_dir(str(conf), version_base="1.3"):
        assert compose("train", ["detector=all", "detector.b.k=2"]).detector == {"a": {"k": 1}, "b": {"k": 2}}


def test_a_file_of_an_experiment_can_choose_all(conf: Path) -> None:
    (conf / "experiment").mkdir()
    (conf / "experiment/x.yaml").write_text("# @package _global_\ndefaults: [{override /detector: all}]\n")
    with initialize_config_dir(str(conf), version_base="1.3"):
        assert list(compose("train", ["+experiment=x"]).detector) == ["a", "b"]
