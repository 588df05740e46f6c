"""The rule by which a stored configuration may name code."""

import os
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from helpers.config import ROOT, configuration, names
from omegaconf import OmegaConf

from oodbench.backbones import ResNet18
from oodbench.data.split import Split
from oodbench.detectors import energy
from oodbench.losses import Halo
from oodbench.targets import allowed, make, trusted, trusted_detector

PACKAGES = ("losses", "backbones", "data", "detectors")
GROUPS = {"loss": "losses", "backbone": "backbones", "ood": "data", "detector": "detectors"}
RESNET = {"_target_": "oodbench.backbones.ResNet18", "width": 4}
FOREIGN = [
    "os.system",
    "builtins.eval",
    "torch.load",
    "torch.optim.SGD",
    "numpy.load",
    "oodbench.parallel.together",
    "oodbench.training.distributed.launch_workers",
    "oodbench.storage.write_atomic",
    "oodbench.storage.os.system",
    "oodbench.cli.launch.launch",
    "oodbench.experiment.run",
    "oodbench.losses.halo.Halo",
    "oodbench.losses.halo.torch.load",
    "oodbench.losses.torch.load",
    "oodbench.losses.exports",
    "oodbench.losses.__loader__.get_data",
    "oodbench.losses._private",
    "oodbench.losses.",
    "oodbench.losses..Halo",
    "oodbench.losses",
    "oodbench.backbones.nn.Module",
    "oodbench.data.cache.shutil.rmtree",
    "oodbench.data.sha256",
    "oodbench.data.directory",
    "oodbench.data.Split",
    "oodbench.data.balanced_subset",
    "oodbench.data.cached",
    "oodbench.data.data_splits",
    "oodbench.detectors.class_means",
    "oodbench.detectors.network.odin",
    " oodbench.losses.Halo",
    "",
]


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize("target", FOREIGN)
def test_a_foreign_target_is_refused(package: str, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "system", lambda command: pytest.fail("called"))
    with pytest.raises(ValueError, match=rf"_target_: .* is not one of oodbench\.{package}"):
        trusted({"_target_": target, "command": "true"}, package)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_target_of_another_package_is_refused(package: str) -> None:
    for other in PACKAGES:
        for target in allowed(other) if other != package else ():
            with pytest.raises(ValueError, match=rf"is not one of oodbench\.{package}"):
                trusted({"_target_": target}, package)


@pytest.mark.parametrize("node", [None, 3, "oodbench.losses.Halo", [], {}, {"_target_": 3}, {"_target_": None}])
def test_what_is_no_configuration_is_refused(node: Any) -> None:
    with pytest.raises(ValueError, match="a mapping with _target_ is needed"):
        trusted(node, "losses")


def test_no_target_stands_inside_a_target(tmp_path: Path) -> None:
    evil = {"_target_": "os.system", "command": f"touch {tmp_path / 'evil'}"}
    for value in (evil, [evil], [[evil]], {"a": 1}, b"bytes", 1j):
        with pytest.raises(ValueError, match=r"oodbench\.backbones\.ResNet18: width=.* is no number, string, boolean"):
            trusted(RESNET | {"width": value}, "backbones")
    assert list(tmp_path.iterdir()) == []


def test_an_interpolation_is_a_text_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "digits")
    node = {"_target_": "oodbench.data.digits", "split": "${oc.env:SECRET}"}
    with pytest.raises((ValueError, KeyError), match=r"\$\{oc\.env:SECRET\}"):
        trusted(node, "data")


@pytest.mark.parametrize("arguments", [{"widht": 4}, {}, {"width": 4, "more": 1}, {"width": 4, "_args_": [3]}])
def test_arguments_that_do_not_fit_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^oodbench\.backbones\.ResNet18: "):
        trusted({"_target_": "oodbench.backbones.ResNet18"} | arguments, "backbones")


def test_an_argument_of_the_caller_cannot_be_overridden() -> None:
    node = configuration("loss=halo")["loss"]
    with pytest.raises(ValueError, match="num_features"):
        trusted(node | {"num_features": 10**9}, "losses", num_features=3, num_classes=2)


def test_what_the_packages_export_is_built() -> None:
    config = configuration("loss=halo", "backbone.width=4")
    assert isinstance(trusted(config["backbone"], "backbones"), ResNet18)
    assert isinstance(trusted(config["loss"], "losses", num_features=32, num_classes=8), Halo)
    assert isinstance(trusted(config["dataset"]["test"], "data"), Split)


def test_a_stored_detector_has_its_hyperparameters() -> None:
    detector = trusted_detector({"_target_": "oodbench.detectors.energy", "_partial_": True, "temperature": 2.0})
    assert (detector.func, detector.keywords) == (energy, {"temperature": 2.0})
    for arguments in ({}, {"temperature": 1.0, "more": 1}, {"temperature": 1.0, "test": 0}):
        with pytest.raises(ValueError, match=r"^oodbench\.detectors\.energy: "):
            trusted_detector({"_target_": "oodbench.detectors.energy"} | arguments)


def test_every_choice_of_conf_may_be_stored() -> None:
    for group, package in GROUPS.items():
        for name in names(group):
            node: Any = OmegaConf.load(ROOT / f"conf/{group}/{name}.yaml")
            assert node.get(group, node)["_target_"] in allowed(package), name


@pytest.mark.parametrize("package", PACKAGES)
def test_only_addresses_of_the_package_itself_are_allowed(package: str) -> None:
    assert allowed(package)
    for address, value in allowed(package).items():
        assert address == f"oodbench.{package}.{value.__name__}"
        assert value.__module__.startswith(f"oodbench.{package}.")
        assert import_module(f"oodbench.{package}").KIND(value)


def test_an_error_of_a_constructor_is_raised_as_it_is() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'widht'"):
        make(RESNET | {"widht": 3})
