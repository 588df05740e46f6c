"""The record as pure functions: what is asked for, when it is complete, how new numbers join old ones."""

import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oodbench.runs.identity import Config
from oodbench.runs.record import (
    Record,
    is_complete,
    merge,
    merge_intervals,
    merge_resamples,
    number_named,
    removed_numbers,
    requested,
    without_renamed,
)

NUMBERS: Record = {"accuracy": 0.5, "ece": 0.1, "nll": 1.0, "brier": 0.5}
HELD_OUT = {"images": 80, "ood": {"_target_": "noise"}, "objective": "ood.msp.auroc"}
REASON = "needs a linear head; this loss has none"


def config(
    *ood: str, detectors: tuple[str, ...] = ("msp", "energy"), near: tuple[str, ...] = (), **settings: Any
) -> Config:
    """Return the parts of a configuration that say what is asked for; settings: of detectors by their names."""
    return {
        "dataset": {"near": list(near)},
        "ood": {name: {"_target_": name, "root": "/data"} for name in ood},
        "detector": {name: {"_target_": name} | settings.get(name, {}) for name in detectors},
    }


def finish(
    before: Record | None,
    asked: Config,
    auroc: float = 0.5,
    without: tuple[str, ...] = (),
    digest: str = "digest of",
    others: tuple[str, ...] = (),
    without_held_out: tuple[str, ...] = (),
) -> Record:
    """Return the record after a start whose every number of detectors is `auroc`; those in `without` do not apply.

    digest: what the images' begin with; of the sets in `others` it is another. without_held_out: detectors that do not
    apply to the held-out images.
    """
    request = requested(asked)
    scores = {d: {"auroc": auroc} for d in request.detectors if d not in without}
    numbers = NUMBERS | {"ood": {name: dict(scores) for name in request.ood}}
    numbers |= {"not_applicable": dict.fromkeys(without, REASON)}
    if request.validation:
        held_out = {d: values for d, values in scores.items() if d not in without_held_out}
        reasons = dict.fromkeys((*without, *without_held_out), REASON)
        numbers["validation"] = {"nll": 2.0, "ood": held_out, "not_applicable": reasons}
    sets = ["train", "test", *request.ood, *["val_ood"] * bool(request.validation)]
    facts = {"seed": 0, "images": dict.fromkeys(sets, 7), "digests": {name: f"{digest} {name}" for name in sets}}
    facts["digests"] |= dict.fromkeys(others, "another")
    return merge(before, numbers, facts, request)


def aurocs(record: Record) -> dict[str, dict[str, float]]:
    return {name: {d: values["auroc"] for d, values in of.items()} for name, of in record["ood"].items()}


def complete(record: Record | None, asked: Config) -> bool:
    return is_complete(record, requested(asked))


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


def test_calling_a_set_near_is_recorded() -> None:
    record = finish(finish(None, config("noise")), config("noise", near=("noise",)))
    assert record["provenance"]["near"] == ["noise"]


def test_new_numbers_join_those_of_other_sets() -> None:
    first, second = config("noise", "svhn"), config("noise", "photos")
    record = finish(finish(None, first, 0.25), second, 0.75)
    assert {name: of["msp"] for name, of in aurocs(record).items()} == {"noise": 0.75, "svhn": 0.25, "photos": 0.75}
    assert set(record["provenance"]["ood"]) == {"noise", "svhn", "photos"}
    assert set(record["provenance"]["images"]) == {"train", "test", "noise", "svhn", "photos"}
    assert complete(record, first)
    assert complete(record, second)


def test_numbers_of_edited_detectors_go() -> None:
    """On the set that is not asked for now, they would be of the earlier code"""
    numbers = NUMBERS | {"not_applicable": {}}
    facts = {"images": {}, "digests": {}}
    record, before = finish(None, config("svhn", "noise", detectors=("msp", "knn"))), {"knn": "x", "msp": "z"}
    record["provenance"]["detector_code"] = before
    asked = requested(config("noise", detectors=("msp", "knn")))
    numbers |= {"ood": {"noise": {"knn": {"auroc": 0.5}, "msp": {"auroc": 0.5}}}}
    merged = merge(record, numbers, facts | {"detector_code": before | {"knn": "y"}}, asked)
    assert aurocs(merged)["svhn"].keys() == {"msp"}
    assert removed_numbers(record, merged) == {"svhn": ["knn"]}


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


def test_code_of_detectors_is_kept_as_they_are() -> None:
    first = finish(None, config("noise"))  # of a version that did not say
    request = requested(config("noise", detectors=("knn",)))
    facts = {"images": {}, "digests": {}, "detector_code": {"knn": "x"}}
    numbers = NUMBERS | {"ood": {"noise": {"knn": {"auroc": 0.5}}}, "not_applicable": {}}
    second = merge(first, numbers, facts, request)
    assert second["provenance"]["detector_code"] == {"knn": "x"}
    third = merge(second, numbers, facts | {"detector_code": {"vim": "y"}}, request)
    assert third["provenance"]["detector_code"] == {"knn": "x", "vim": "y"}


def test_numbers_of_a_detector_that_is_set_otherwise_go() -> None:
    record = finish(None, config("noise", "svhn"))
    record = finish(record, config("noise", detectors=("energy",), energy={"temperature": 0.1}))
    assert {name: set(of) for name, of in aurocs(record).items()} == {"noise": {"msp", "energy"}, "svhn": {"msp"}}
    assert record["provenance"]["detector"]["energy"]["temperature"] == 0.1
    assert complete(record, config("noise", "svhn", detectors=("msp",)))
    assert not complete(record, config("noise", detectors=("energy",)))


@pytest.mark.parametrize(("digest", "kept"), [("digest of", True), ("another", False)])
def test_numbers_of_a_set_with_other_images_go(digest: str, kept: bool) -> None:
    """Its configuration is another: only the digest can tell that the images are the same."""
    record = finish(None, config("noise", detectors=("energy",)), 0.25)
    moved = config() | {"ood": {"noise": {"_target_": "moved"}}, "detector": {"msp": {}}}
    assert ("energy" in finish(record, moved, digest=digest)["ood"]["noise"]) == kept


@pytest.mark.parametrize(("replaced", "kept"), [("noise", {"svhn"}), ("test", set()), ("train", set())])
def test_numbers_on_images_that_were_replaced_go(replaced: str, kept: set[str]) -> None:
    """The configuration is the same: beside the new numbers those of earlier detectors would be of other images."""
    record = finish(None, config("noise", "svhn", detectors=("odin",)), 0.25)
    record = finish(record, config("noise", detectors=("msp",)), others=(replaced,))
    assert {name for name, scores in aurocs(record).items() if "odin" in scores} == kept
    assert not complete(record, config("noise", "svhn", detectors=("odin",)))


def test_a_set_under_another_name_counts_once() -> None:
    first = finish(None, config("leaf", "svhn"))
    first["provenance"]["digests"]["leaf"] = "digest of leaves"
    second = finish(first, config("leaves", detectors=("msp",)))
    assert second["ood"].keys() == {"leaves", "svhn"}
    assert removed_numbers(first, second) == {"leaf": ["energy", "msp"]}
    assert all(second["provenance"][part].keys() >= {"leaves", "svhn"} for part in ("ood", "images", "digests"))
    assert not any("leaf" in second["provenance"][part] for part in ("ood", "images", "digests"))


def test_sets_that_say_nothing_of_their_images_stay() -> None:
    record = finish(None, config("a", "b"))
    record["provenance"]["digests"] = {}  # of an early version
    assert without_renamed(record, {"c": "x", "d": None})["ood"].keys() == {"a", "b"}
    record["provenance"]["digests"] = {"a": "same", "b": "same"}  # outputs of other code tell their number alone
    assert without_renamed(record, {"a": "same", "b": "same"}) == record


def test_what_is_removed_is_told() -> None:
    first = finish(None, config("noise", "svhn"))
    second = finish(first, config("svhn", detectors=("msp", "energy"), energy={"temperature": 0.1}))
    assert removed_numbers(first, second) == {"noise": ["energy"]}
    third = finish(second, config("svhn", detectors=("knn",)), others=("svhn",))
    assert removed_numbers(second, third) == {"svhn": ["energy", "msp"]}
    assert (
        removed_numbers(third, finish(third, config("svhn", detectors=("vim",)), without=("vim",), others=("svhn",)))
        == {}
    )


def test_held_out_numbers_on_images_that_were_replaced_go() -> None:
    first, second = (config("noise", detectors=(name,)) | {"validation": HELD_OUT} for name in ("odin", "msp"))
    record = finish(None, first)
    assert finish(record, second)["validation"]["ood"].keys() == {"odin", "msp"}
    assert finish(record, second, others=("val_ood",))["validation"]["ood"].keys() == {"msp"}


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


def test_a_reason_stays_while_other_detectors_are_added() -> None:
    record = finish(None, config("noise"), without=("energy",))
    record = finish(record, config("noise", detectors=("maxlogit",)))
    assert record["not_applicable"] == {"energy": REASON}
    assert record["ood"]["noise"].keys() == {"msp", "maxlogit"}


def test_a_reason_goes_when_there_are_numbers() -> None:
    record = finish(None, config("noise"), without=("energy",))
    record = finish(record, config("noise", detectors=("energy",), energy={"temperature": 2}))
    assert record["not_applicable"] == {}
    assert record["ood"]["noise"].keys() == {"msp", "energy"}


def test_numbers_go_when_their_detector_does_not_apply_any_more() -> None:
    record = finish(None, config("noise", "svhn"))
    record = finish(record, config("noise", detectors=("energy",)), without=("energy",))
    assert {name: set(of) for name, of in aurocs(record).items()} == {"noise": {"msp"}, "svhn": {"msp"}}
    assert record["not_applicable"] == {"energy": REASON}


def test_merging_changes_no_argument() -> None:
    before, asked = finish(None, config("svhn")), config("noise")
    request = requested(asked)
    numbers = NUMBERS | {"ood": {"noise": {"msp": {"auroc": 1.0}}}, "not_applicable": {}}
    facts = {"images": {"noise": 1}, "digests": {"noise": "x"}}
    copies = deepcopy((before, numbers, facts, request))
    merge(before, numbers, facts, request)
    assert (before, numbers, facts, request) == copies


def test_merging_again_changes_nothing() -> None:
    asked = config("noise", "svhn") | {"validation": HELD_OUT}
    record = finish(None, asked)
    assert finish(record, asked) == record


def test_numbers_of_held_out_images_say_of_which() -> None:
    asked = config("noise") | {"validation": HELD_OUT}
    record = finish(None, asked)
    assert record["validation"]["of"] == requested(asked).validation
    assert complete(record, asked)
    assert complete(record, asked | {"validation": HELD_OUT | {"objective": "nll"}})
    assert not complete(record, asked | {"validation": HELD_OUT | {"ood": {"_target_": "svhn"}}})
    assert not complete(record, config("noise", detectors=("knn",)) | {"validation": HELD_OUT})


def test_numbers_of_the_same_held_out_images_grow() -> None:
    record = finish(None, config("noise", detectors=("msp",)) | {"validation": HELD_OUT})
    more = config("noise", detectors=("energy",)) | {"validation": HELD_OUT}
    assert finish(record, more)["validation"]["ood"].keys() == {"msp", "energy"}
    other = more | {"validation": HELD_OUT | {"ood": {"_target_": "svhn"}}}
    assert finish(record, other)["validation"]["ood"].keys() == {"energy"}


def test_chosen_hyperparameters_go_with_their_held_out_images() -> None:
    chosen = config("noise", detectors=("msp", "knn_selected")) | {"validation": HELD_OUT}
    same = config("noise", detectors=("msp",)) | {"validation": HELD_OUT}
    other = same | {"validation": HELD_OUT | {"ood": {"_target_": "svhn"}}}
    assert finish(finish(None, chosen), same)["ood"]["noise"].keys() == {"msp", "knn_selected"}
    assert finish(finish(None, chosen), other)["ood"]["noise"].keys() == {"msp"}


def test_resamples_are_kept_as_their_numbers_are() -> None:
    record = finish(finish(None, config("svhn", detectors=("msp",))), config("noise", detectors=("energy",)))
    names = ("svhn/msp/auroc", "svhn/gone/auroc", "gone/msp/auroc", "accuracy")
    old, new = (
        {name: np.full(3, value) for name in names}
        for value, names in ((0, names), (1, ("accuracy", "noise/energy/auroc")))
    )
    merged = merge_resamples(old, new, record)
    assert {name: values[0] for name, values in merged.items()} == {
        "svhn/msp/auroc": 0,
        "accuracy": 1,
        "noise/energy/auroc": 1,
    }


def test_intervals_are_kept_as_their_numbers_are() -> None:
    record = finish(finish(None, config("svhn", detectors=("msp",))), config("noise", detectors=("energy",)))
    before = {"intervals": {"accuracy": [0, 1], "ood": {"svhn": {"msp": [0.1, 0.2], "gone": []}, "gone": {"msp": []}}}}
    new = {"accuracy": [0.4, 0.6], "ood": {"noise": {"energy": [0.3, 0.4]}, "svhn": {}}}
    copies = deepcopy((before, new))
    merged = merge_intervals(before, new, record)
    assert merged == {
        "accuracy": [0.4, 0.6],
        "ood": {"noise": {"energy": [0.3, 0.4]}, "svhn": {"msp": [0.1, 0.2]}},
    }
    assert (before, new) == copies
    assert merge_intervals({}, new, record)["ood"] == new["ood"]


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
