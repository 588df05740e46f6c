"""How the numbers of a start join those of the starts before."""

from copy import deepcopy

import numpy as np
import pytest
from helpers.records import HELD_OUT, NUMBERS, REASON, aurocs, complete, config, finish

from oodbench.runs.merge import merge, merge_intervals, merge_resamples, removed_numbers, without_renamed
from oodbench.runs.record import requested


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


def test_numbers_of_edited_metrics_go() -> None:
    """On the set, and of the detector, that are not asked for now; test images are always measured anew"""
    held_out = {"validation": HELD_OUT}
    record = finish(None, config("svhn", "noise") | held_out)
    for scores in (*record["ood"].values(), record["validation"]["ood"]):
        for values in scores.values():
            values["augrc"] = 0.1
    record["provenance"]["metric_code"] = {"auroc": "x", "augrc": "z"}
    of_now = {"auroc": 0.75, "augrc": 0.3}
    numbers = NUMBERS | {"not_applicable": {}, "ood": {"noise": {"msp": of_now}}}
    numbers |= {"validation": NUMBERS | {"ood": {"msp": of_now}, "not_applicable": {}}}
    facts = {"images": {}, "digests": {}, "metric_code": {"auroc": "y", "augrc": "z", "new": "w"}}
    merged = merge(record, numbers, facts, requested(config("noise", detectors=("msp",)) | held_out))
    assert merged["ood"] == {"noise": {"msp": of_now}, "svhn": {}}
    assert merged["validation"]["ood"] == {"msp": of_now}
    assert complete(merged, config("noise", detectors=("msp",)) | held_out)
    assert not complete(merged, config("noise") | held_out)
    assert removed_numbers(record, merged) == {"noise": ["energy"], "svhn": ["energy", "msp"]}
    assert merged["provenance"]["metric_code"] == facts["metric_code"]


def test_early_numbers_are_of_metrics_whose_code_is_not_known() -> None:
    """Else an old number would pass for one of today's code"""
    early, some = finish(None, config("svhn", "noise")), requested(config("noise", detectors=("msp",)))
    numbers = NUMBERS | {"not_applicable": {}, "ood": {"noise": {"msp": {"auroc": 0.75}}}}
    facts = {"images": {}, "digests": {}, "metric_code": {"auroc": "y"}}
    mixed = merge(early, numbers, facts, some)
    assert mixed["provenance"]["metric_code"] == {}
    assert merge(mixed, numbers, facts, some)["provenance"]["metric_code"] == {}
    numbers["ood"] = {name: {d: {"auroc": 0.75} for d in ("msp", "energy")} for name in ("svhn", "noise")}
    for before in (early, None):
        merged = merge(before, numbers, facts, requested(config("svhn", "noise")))
        assert merged["provenance"]["metric_code"] == {"auroc": "y"}


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
    first = {"svhn": {"msp": {"auroc": [0.1, 0.2]}, "gone": {}}, "gone": {"msp": {}}}
    before = {"intervals": {"accuracy": [0, 1], "ood": first}}
    new = {"accuracy": [0.4, 0.6], "ood": {"noise": {"energy": {"auroc": [0.3, 0.4]}}, "svhn": {}}}
    copies = deepcopy((before, new))
    merged = merge_intervals(before, new, record)
    assert merged == {
        "accuracy": [0.4, 0.6],
        "ood": {"noise": {"energy": {"auroc": [0.3, 0.4]}}, "svhn": {"msp": {"auroc": [0.1, 0.2]}}},
    }
    assert (before, new) == copies
    assert merge_intervals({}, new, record)["ood"] == new["ood"]
