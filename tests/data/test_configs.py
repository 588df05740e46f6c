"""conf/dataset and conf/ood: every file names a reader and its arguments."""

import inspect
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.config import ROOT
from hydra import compose, initialize_config_dir
from hydra.utils import get_method, instantiate
from omegaconf import OmegaConf

from oodbench import data
from oodbench.data.sets import Limits

CONF = ROOT / "conf"
CUSTOM = ("folder", "parquet")  # custom sets to learn

pytestmark = pytest.mark.usefixtures("cache_folder")


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Compose with a primary config whose defaults name `ood` and `dataset`, in this order."""
    for group in ("dataset", "ood"):
        shutil.copytree(CONF / group, tmp_path / "conf" / group)
    (tmp_path / "conf/train.yaml").write_text(
        "defaults: [_self_, {ood: [svhn, cifar100]}, {ood@validation.ood: tiny_imagenet}, {dataset: cifar10}]\n"
        "data_root: ${oc.env:OODBENCH_DATA,data}\n"
    )
    monkeypatch.setenv("OODBENCH_DATA", "/the/data")
    with initialize_config_dir(str(tmp_path / "conf"), version_base="1.3"):
        yield lambda *overrides: compose("train", overrides=list(overrides))


def names(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def check_call(config: Any) -> None:
    """The target exists and takes exactly these arguments."""
    arguments = {key: value for key, value in config.items() if key != "_target_"}
    inspect.signature(get_method(config["_target_"])).bind(**arguments)


@pytest.mark.parametrize("name", names("ood"))
def test_every_ood_configuration(configured: Callable[..., Any], name: str) -> None:
    written = yaml.safe_load((CONF / f"ood/{name}.yaml").read_text())
    override = [f"ood.{name}.{key}=/a/b" for key, value in written.items() if value == "???"]
    config = OmegaConf.to_container(configured(f"ood=[{name}]", *override).ood, resolve=False)
    assert isinstance(config, dict)
    assert list(config) == [name]
    check_call(config[name])


@pytest.mark.parametrize("name", sorted(set(names("dataset")) - set(CUSTOM)))
def test_every_dataset_configuration(configured: Callable[..., Any], name: str) -> None:
    config = configured(f"dataset={name}")
    check_call(OmegaConf.to_container(config.dataset.train, resolve=True))
    check_call(OmegaConf.to_container(config.dataset.test, resolve=True))
    assert config.dataset.train.split == "train"
    assert config.dataset.test.split == "test"
    assert len(config.dataset.mean) == len(config.dataset.std) == 3
    assert set(config.dataset.near) <= set(names("ood"))
    assert set(config.ood) & set(config.dataset.near)  # the default sets have a near one and a far one
    assert set(config.ood) - set(config.dataset.near)
    assert name not in config.ood


@pytest.mark.parametrize(("name", "other"), [("cifar10", "cifar100"), ("cifar100", "cifar10")])
def test_near_sets_are_those_of_openood(configured: Callable[..., Any], name: str, other: str) -> None:
    assert configured(f"dataset={name}").dataset.near == [other, "tiny_imagenet"]


@pytest.mark.parametrize("name", CUSTOM)
def test_a_set_of_ones_own_is_measured_not_asked_for(configured: Callable[..., Any], name: str) -> None:
    config = configured(f"dataset={name}", "dataset.path=/the/leaves")
    for split in ("train", "test"):
        check_call(OmegaConf.to_container(config.dataset[split], resolve=True))
        assert config.dataset[split].root == "/the/leaves"
    assert (config.dataset.num_classes, config.dataset.mean, config.dataset.std) == (None, None, None)
    assert config.ood.keys().isdisjoint([name])


def test_ood_sets_are_chosen_on_the_command_line(configured: Callable[..., Any]) -> None:
    assert list(configured().ood) == ["svhn", "cifar100"]
    assert list(configured("dataset=cifar100").ood) == ["svhn", "cifar10"]
    assert list(configured("dataset=cifar100", "ood=[svhn,mnist]").ood) == ["svhn", "mnist"]
    mnist = configured("ood=[mnist]").ood.mnist
    assert (mnist.root, mnist.split) == ("/the/data", "test")
    assert configured("ood=[svhn,parquet]", "ood.parquet.path=/x.parquet").ood.parquet.path == "/x.parquet"


def test_custom_ood_sets_have_names(configured: Callable[..., Any]) -> None:
    typed = configured("+ood@ood.leaves=folder", "ood.leaves.path=/leaves").ood
    assert list(typed) == ["svhn", "cifar100", "leaves"]
    assert typed.leaves == {"_target_": "oodbench.data.folder", "path": "/leaves"}
    short = configured("ood=[cifar100]", "+ood.leaves.path=/leaves", "+ood.svhn.path=/x.parquet").ood
    assert list(short) == ["cifar100", "leaves", "svhn"]
    assert (short.leaves, short.svhn) == ({"path": "/leaves"}, {"path": "/x.parquet"})
    assert list(configured("ood=[]", "+ood.leaves.path=/leaves").ood) == ["leaves"]


def test_digits_from_configuration_to_data_splits(configured: Callable[..., Any]) -> None:
    config = configured("dataset=digits", "dataset.limit=100", "dataset.limit_test=80")
    sets = data.data_splits(
        instantiate(config.dataset.train),
        instantiate(config.dataset.test),
        instantiate(config.ood),
        config.dataset.num_classes,
        Limits(config.dataset.limit, config.dataset.limit_test),
    )
    assert (len(sets.train.images), len(sets.test.images)) == (100, 80)
    assert {name: len(split.images) for name, split in sets.ood.items()} == {
        "unseen_digits": 80,
        "photo_patches": 80,
        "noise": 80,
    }


def test_readers_alone_have_an_address() -> None:
    """A configuration could otherwise name the function that removes stale files."""
    functions = {name for name, value in vars(data).items() if inspect.isfunction(value) and not name.startswith("_")}
    assert {"cifar10", "digits", "folder", "from_path", "noise", "parquet", "svhn"} <= functions
    assert not functions & {"remove", "remove_stale", "locate", "check_md5", "directory"}
