"""The command that repeats a run gives its hash."""

import os
import shlex
from pathlib import Path
from typing import Any

import pytest
from helpers.config import CONF, configuration, names

import oodbench.build
import oodbench.report.command
from oodbench.cli.configuration import compose, resolve
from oodbench.report.command import command_of, command_of_record
from oodbench.runs.identity import config_hash


def again(command: str) -> dict[str, Any]:
    python, script, *overrides = shlex.split(command)
    assert (python, script) == ("python", "train.py")
    return resolve(compose(overrides))


@pytest.mark.parametrize("loss", names("loss"))
def test_every_loss_has_its_command(loss: str) -> None:
    config = configuration(f"loss={loss}", "seed=3")
    command = command_of(config)
    assert command
    assert config_hash(again(command)) == config_hash(config)
    assert "seed=3" in command


def test_values_that_were_changed_are_named() -> None:
    config = configuration("recipe.epochs=3", "recipe.optimizer.lr=0.02", "backbone.width=4")
    command = command_of(config)
    assert command
    assert {"recipe.epochs=3", "recipe.optimizer.lr=0.02", "backbone.width=4"} <= set(shlex.split(command))


def test_threads_and_detectors_are_named() -> None:
    """They are in no hash: threads decide the last bits, detectors what is measured."""
    command = command_of(configuration("threads=1", "detector=all", "image_detector=[odin]"))
    assert command
    assert {"threads=1", "detector=all", "image_detector=[odin]"} <= set(shlex.split(command))
    assert len(again(command)["detector"]) == len(names("detector"))
    some = command_of(configuration("detector=[knn,msp]"))
    assert some
    assert again(some)["detector"].keys() == {"knn", "msp"}
    default = command_of(configuration())
    assert default
    assert "detector" not in default


def test_the_command_of_a_record_is_of_all_its_starts() -> None:
    config = configuration("threads=1", "detector=[msp]", "ood=[svhn]")
    every = configuration("detector=[knn,msp]", "image_detector=[odin]")
    nodes = every["detector"] | every["image_detector"] | {"knn_selected": {"_target_": "oodbench.detectors.knn"}}
    command = command_of_record(config, {"ood": {"svhn": {}, "noise": {}}, "detector": nodes})
    assert command
    given = ["threads=1", "ood=[svhn,noise]", "detector=[knn,msp]", "image_detector=[odin]"]
    assert shlex.split(command)[-4:] == given


@pytest.mark.parametrize("sets", [{}, {"mine": {"path": "/data/mine"}}, {"noise": {"_target_": "oodbench.data.noise"}}])
def test_the_command_has_the_runs_ood_sets_alone(sets: dict[str, Any]) -> None:
    command = command_of(configuration() | {"ood": sets})
    assert command
    assert again(command)["ood"] == sets


def test_values_of_sets_and_detectors_are_named() -> None:
    """They are in no hash, and other numbers would come of others"""
    config = configuration(
        "ood=[gaussian_noise]",
        "ood.gaussian_noise.std=0.05",
        "+ood.leaves.path='/data/leaves (1) ü'",
        "+ood.leaves.exclude_classes=[oak]",
        "+ood@ood.snow=uniform_noise",
        "ood.snow.images=30",
        "detector=[ood_score,energy]",
        "detector.energy.temperature=0.1",
    )
    command = command_of(config)
    assert command
    assert again(command)["ood"] == config["ood"]
    assert again(command)["detector"] == config["detector"]


def test_images_that_lie_elsewhere_have_their_place() -> None:
    """No hash has it, and other images may lie below the data root."""
    config = configuration("dataset=cifar10", "ood=[svhn,mnist]", "dataset.test.root=/other", "ood.svhn.root='/a b'")
    command = command_of(config)
    assert command
    assert again(command)["dataset"]["test"]["root"] == "/other"
    assert again(command)["ood"]["svhn"]["root"] == "/a b"
    assert command.count("root=") == 2


def test_the_command_of_a_record_has_the_places_of_its_last_start() -> None:
    config = configuration("dataset=cifar10", "dataset.test.root=/first", "ood=[svhn]")
    record = {"ood": {"svhn": {"root": "/sample"}}, "detector": {}, "roots": {"test": "/second"}}
    command = command_of_record(config, record)
    assert command
    assert again(command)["dataset"]["test"]["root"] == "/second"
    assert "ood.svhn.root=/sample" in shlex.split(command)
    without = command_of_record(config, record | {"roots": {}, "ood": {"svhn": {}}})
    assert without
    assert "root=" not in without


def test_an_accepted_overlap_is_named() -> None:
    with_overlap, without = command_of(configuration("allow_overlap=true")), command_of(configuration())
    assert with_overlap
    assert without
    assert "allow_overlap=true" in with_overlap
    assert "allow_overlap" not in without


@pytest.mark.parametrize("root", ["${oc.env:HOME}", 3, ["/a"], {"_target_": "os.mkdir"}])
def test_a_root_of_a_stranger_is_a_plain_path(root: Any) -> None:
    """`path` is compared with what it gives; a root is in no comparison"""
    config = configuration("dataset=cifar10", "ood=[svhn]")
    record = {"ood": {"svhn": {}}, "detector": {}, "roots": {"test": root}}
    assert command_of_record(config, record) is None
    assert command_of_record(config, record | {"roots": {}, "ood": {"svhn": {"root": root}}}) is None


def test_a_record_without_places_has_those_of_its_configuration() -> None:
    command = command_of_record(configuration("dataset=cifar10", "dataset.test.root=/x"), {"ood": {}, "detector": {}})
    assert command
    assert "dataset.test.root=/x" in shlex.split(command)


def test_held_out_images_that_lie_elsewhere_have_their_place() -> None:
    chosen = ("validation.images=10", "ood@validation.ood=svhn", "validation.ood.root=/other", "ood=[noise]")
    command = command_of(configuration(*chosen))
    assert command
    assert again(command)["validation"]["ood"]["root"] == "/other"


def test_a_set_of_conf_by_another_reader_is_told_so() -> None:
    config = configuration("ood=[]", "+ood@ood.tiny_imagenet=openood", "ood.tiny_imagenet.list=cifar10/test_tin.txt")
    command = command_of(config)
    assert command
    assert again(command)["ood"] == config["ood"]


def test_a_set_that_no_file_of_conf_reads_has_no_command() -> None:
    config = configuration() | {"ood": {"mine": {"_target_": "oodbench.data.gone", "images": 3}}}
    assert command_of(config) is None


def test_a_detector_that_conf_lacks_has_no_command() -> None:
    config = configuration()
    config["detector"]["gone"] = config["detector"]["msp"]
    assert command_of(config) is None


def test_threads_that_are_no_number_are_not_named() -> None:
    command = command_of(configuration() | {"threads": "1 $(touch x)"})
    assert command
    assert "threads" not in command


def test_a_name_that_conf_lacks_has_no_command() -> None:
    config = configuration()
    config["name"]["loss"] = "gone"
    assert command_of(config) is None


def test_a_path_cannot_leave_its_quotes() -> None:
    config = configuration()
    config["ood"] = {"mine": {"path": "/data/$(touch x)'; rm y"}}
    command = command_of(config)
    assert command is None or again(command)["ood"] == config["ood"]


def test_no_file_that_a_stranger_brings_is_composed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stranger's set has the name of a YAML file beside the run, which would set whatever it likes."""
    composed: list[Any] = []
    monkeypatch.setattr(
        oodbench.report.command, "compose", lambda choices: composed.append(choices) or compose(choices)
    )
    (tmp_path / "evil.yaml").write_text("# @package _global_\nnote: ${oc.env:HOME}\n")
    config = configuration()
    config["ood"] = {os.path.relpath(tmp_path / "evil", CONF / "ood"): {}}
    assert command_of(config) is None
    assert composed == []


def test_no_data_are_opened_for_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    config = configuration("loss=ce")
    monkeypatch.setattr(oodbench.build, "statistics", lambda split: pytest.fail("data were opened"))
    config["dataset"] |= {"mean": None, "train": {"_target_": "oodbench.data.digits", "split": "train"}}
    command_of(config)


@pytest.mark.parametrize("value", [{"_target_": "os.mkdir", "path": "/x"}, [{"_target_": "os.mkdir", "path": "/x"}]])
@pytest.mark.parametrize("key", ["loss", "dataset", "recipe", "backbone"])
def test_no_command_has_a_target_of_a_stranger(key: str, value: Any) -> None:
    """Whoever repeats it would run the stranger's code."""
    config = configuration("loss=halo")
    name = {"loss": "gamma", "dataset": "train", "recipe": "warmup_epochs", "backbone": "width"}[key]
    assert name in config[key]
    config[key][name] = value
    assert command_of(config) is None


def test_the_set_that_hyperparameters_are_chosen_on_is_named() -> None:
    config = configuration("validation.images=500", "ood@validation.ood=textures", "validation.objective=accuracy")
    command = command_of(config)
    assert command
    assert {"validation.images=500", "ood@validation.ood=textures"} <= set(shlex.split(command))
    assert again(command)["validation"] == config["validation"]
    own = configuration("validation.images=500", "ood@validation.ood=folder", "validation.ood.path=/data/my photos")
    command = command_of(own)
    assert command
    assert again(command)["validation"] == own["validation"]
    assert "validation" not in str(command_of(configuration("ood@validation.ood=textures")))
    of_list = configuration(
        "validation.images=500", "ood@validation.ood=openood", "validation.ood.list=cifar10/test_tin.txt"
    )
    command = command_of(of_list)
    assert command
    assert again(command)["validation"] == of_list["validation"]
