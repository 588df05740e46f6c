"""Settings of a configuration as tables write and compare them."""

from oodbench.tables.settings import (
    differing,
    flatten,
    held_out_settings,
    in_brackets,
    set_settings,
    settings_text,
    with_keys,
    without_keys,
)


def test_flatten() -> None:
    nested = {
        "_target_": "x.Y",
        "a": 1.0,
        "b": None,
        "c": {"_target_": "x.Y", "_partial_": True, "d": [1, 2], "e": "f"},
    }
    assert flatten(nested) == {"a": "1", "b": "null", "c": "Y", "c.d": "[1, 2]", "c.e": "f"}


def test_settings_of_a_set_are_without_its_places() -> None:
    fog = {"_target_": "oodbench.data.cifar10c", "root": "/data", "corruption": "fog", "severity": 3}
    assert set_settings(fog) == {"corruption": "fog", "severity": "3"}
    usual = {"split": "test", "exclude_classes": [], "path": "/data/leaves"}
    assert set_settings(usual) == {}
    assert set_settings("no mapping") == {}


def test_a_list_of_images_is_named_without_its_folder() -> None:
    """Of a benchmark's lists it says which was read; else the path is a machine's, or a published run's."""
    of_benchmark = {"_target_": "oodbench.data.openood", "list": "cifar10/test_tin.txt"}
    assert set_settings(of_benchmark) == {"list": "cifar10/test_tin.txt"}
    for path in ("/data/mine/list.txt", "data/mine/list.txt"):
        assert set_settings({"_target_": "oodbench.data.imglist", "list": path}) == {"list": "list.txt"}


def test_held_out_images_are_told_with_their_set() -> None:
    ood = {"_target_": "oodbench.data.folder", "path": "/data/leaves", "exclude_classes": ["oak"]}
    found = held_out_settings({"images": 5000, "ood": ood})
    assert found == {"images": "5000", "ood": "folder", "ood.path": "leaves", "ood.exclude_classes": '["oak"]'}
    assert held_out_settings({}) == {}


def test_settings_are_compared_chosen_and_written() -> None:
    a, b = {"tau": "1", "bins": "30"}, {"tau": "2", "bins": "30", "momentum": "0"}
    assert differing([a, b]) == ["tau", "momentum"]
    assert with_keys(["tau", "momentum"], a) == {"tau": "1"}
    assert without_keys(["loss.tau"], "loss.", b) == {"bins": "30", "momentum": "0"}
    assert settings_text(a) == "tau=1, bins=30"
    assert (in_brackets(a), in_brackets({})) == (" (tau=1, bins=30)", "")
