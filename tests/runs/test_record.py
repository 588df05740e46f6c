"""The record as pure functions: what is asked for, and when it is complete."""

import re
from pathlib import Path

import pytest
from helpers.records import HELD_OUT, REASON, complete, config, finish

from oodbench.runs.identity import Config
from oodbench.runs.record import number_named, requested


def test_a_request_says_where_nothing_lies() -> None:
    request = requested(config("noise", near=("noise",)) | {"validation": HELD_OUT | {"root": "/x"}})
    assert request.ood == {"noise": {"_target_": "noise"}}
    assert request.near == ["noise"]
    assert request.validation == {"images": 80, "ood": {"_target_": "noise"}}


def test_another_folder_than_the_data_root_is_another_request() -> None:
    before = finish(None, config("imglist"))
    asked = config("imglist") | {"data_root": "/data"}
    assert complete(before, asked)
    asked["ood"]["imglist"]["root"] = "/other"
    assert requested(asked).ood == {"imglist": {"_target_": "imglist", "root": "/other"}}
    assert not complete(before, asked)


def test_a_test_set_that_lies_elsewhere_is_another_request() -> None:
    asked = config("noise") | {"data_root": "/data"}
    asked["dataset"] |= {"train": {"root": "/data"}, "test": {"root": "/data"}}
    before = finish(None, asked)
    del before["provenance"]["roots"]  # by an earlier version
    assert complete(before, asked)
    asked["dataset"]["test"]["root"] = "/other"
    assert not complete(before, asked)
    assert complete(finish(before, asked), asked)
    asked["dataset"]["test"]["root"] = "/data"
    assert not complete(finish(before, asked | {"data_root": "/elsewhere"}), asked)


def test_a_set_of_ones_own_at_another_path_is_another_request() -> None:
    asked = config("noise")
    asked["dataset"] |= {"path": "/leaves", "train": {"root": "/leaves"}, "test": {"root": "/leaves/"}}
    before = finish(None, asked)
    assert before["provenance"]["roots"] == {"train": "/leaves", "test": "/leaves"}
    assert complete(before, asked)
    asked["dataset"]["path"] = asked["dataset"]["train"]["root"] = asked["dataset"]["test"]["root"] = "/moved"
    assert not complete(before, asked)


def test_nothing_is_asked_of_held_out_images_where_none_are() -> None:
    assert requested(config("noise") | {"validation": HELD_OUT | {"images": 0}}).validation == {}


def test_detectors_of_outputs_and_of_images_are_asked_for() -> None:
    asked = config("noise", detectors=("msp",)) | {"image_detector": {"odin": {"eps": 0.1}}}
    assert requested(asked).detectors == {"msp": {"_target_": "msp"}, "odin": {"eps": 0.1}}
    with pytest.raises(ValueError, match="msp: a detector and an image detector have this name"):
        requested(asked | {"image_detector": {"msp": {}}})


@pytest.mark.parametrize("part", ["ood", "detector", "image_detector"])
@pytest.mark.parametrize("name", ["../../x", "a/b", "", "=cmd()", ".x"])
def test_a_name_that_no_file_can_have_is_refused(part: str, name: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{part}='{name}'")):
        requested(config("noise") | {part: {name: {}}})


@pytest.mark.parametrize("name", ["train", "test", "val", "val_ood"])
def test_an_ood_set_has_no_name_of_the_runs_own_sets(name: str) -> None:
    with pytest.raises(ValueError, match=f"an OOD set cannot be called {name}, "):
        requested(config(name))


def test_a_run_is_complete_when_its_numbers_are_there() -> None:
    asked = config("noise", "svhn")
    assert not complete(None, asked)
    assert complete(finish(None, asked), asked)


@pytest.mark.parametrize("less", [config("noise"), config("noise", "svhn", detectors=("msp",)), config()])
def test_a_complete_run_holds_what_asks_for_less(less: Config) -> None:
    assert complete(finish(None, config("noise", "svhn")), less)


MORE = [
    config("noise", "mine"),
    config("noise", "svhn", energy={"temperature": 0.1}),
    config("noise", "svhn", detectors=("msp", "energy", "knn")),
    config("noise", "svhn") | {"image_detector": {"odin": {}}},
    config("noise", "svhn") | {"ood": {"noise": {"_target_": "other"}}},
    config("noise", "svhn", near=("noise",)),
    config("noise", "svhn") | {"validation": HELD_OUT},
]


@pytest.mark.parametrize("more", MORE)
def test_a_run_is_not_complete_for_what_asks_for_more(more: Config) -> None:
    record = finish(None, config("noise", "svhn"))
    assert not complete(record, more)
    assert complete(finish(record, more), more)


def test_a_set_of_ones_own_at_another_path_is_another_set() -> None:
    asked = config() | {"ood": {"mine": {"path": "a.parquet"}}}
    assert complete(finish(None, asked), asked)
    assert not complete(finish(None, asked), config() | {"ood": {"mine": {"path": "b.parquet"}}})


def test_a_set_without_a_class_is_another_set() -> None:
    node = {"_target_": "oodbench.data.tiny_imagenet", "exclude_classes": []}
    before = finish(None, config("x") | {"ood": {"tin": node}})
    assert not complete(before, config("x") | {"ood": {"tin": node | {"exclude_classes": [3]}}})


def test_early_records_with_relative_paths_are_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    early = config() | {"ood": {"mine": {"path": "data/mine"}}, "validation": {"images": 80, "ood": {"path": "val"}}}
    now = early | {
        "ood": {"mine": {"path": str(tmp_path / "data/mine")}},
        "validation": {"images": 80, "ood": {"path": str(tmp_path / "val")}},
    }
    record = finish(None, early)
    record["provenance"]["ood"], record["validation"]["of"] = early["ood"], early["validation"]
    assert complete(record, now)
    assert finish(record, now | {"detector": {"knn": {}}})["validation"]["ood"].keys() == {"msp", "energy", "knn"}
    monkeypatch.chdir("/")
    assert not complete(record, now)


def test_a_detector_that_does_not_apply_is_complete() -> None:
    record = finish(None, config("noise"), without=("energy",))
    assert complete(record, config("noise"))
    assert not complete(record, config("noise", energy={"temperature": 2}))
    assert not complete(record, config("noise", detectors=("msp", "maxlogit")))


def test_a_detector_of_the_test_images_alone_is_complete() -> None:
    asked = config("noise") | {"validation": HELD_OUT}
    record = finish(None, asked, without_held_out=("energy",))
    assert complete(record, asked)
    more = config("noise", detectors=("maxlogit",)) | {"validation": HELD_OUT}
    record = finish(record, more)
    assert record["not_applicable"] == {}
    assert record["validation"]["not_applicable"] == {"energy": REASON}
    assert complete(record, asked)
    assert complete(record, more)
    assert not complete(record, config("noise", detectors=("gen",)) | {"validation": HELD_OUT})


@pytest.mark.parametrize(("name", "value"), [("nll", 2.0), ("ood.msp.auroc", 0.75)])
def test_an_objective_is_read_by_its_name(name: str, value: float) -> None:
    assert number_named({"nll": 2, "ood": {"msp": {"auroc": 0.75}}}, name) == value


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("ood.energy.auroc", "no energy; available: msp"),
        ("nll.x", "no x; available: nothing"),
        ("x", "available: nll, ood"),
    ],
)
def test_an_objective_that_is_not_there_is_named(name: str, says: str) -> None:
    with pytest.raises(ValueError, match=f"validation.objective={name}: .*{says}"):
        number_named({"nll": 2.0, "ood": {"msp": {"auroc": 0.75}}}, name)


def test_a_score_that_does_not_apply_gives_its_reason() -> None:
    numbers = {"ood": {"msp": {"auroc": 0.75}}, "not_applicable": {"ood_score": "gives one value for every image"}}
    with pytest.raises(ValueError, match=r"ood\.ood_score\.auroc: gives one value for every image$"):
        number_named(numbers, "ood.ood_score.auroc")
