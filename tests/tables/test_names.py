"""Names as papers write them, from the comments of conf/."""

import pytest

from oodbench.tables.names import CONF, LONGEST, paper_name, row_name, score_name, set_name

GROUPS = ("loss", "detector", "image_detector")


@pytest.mark.parametrize("group", GROUPS)
def test_every_choice_has_a_short_name_of_its_own(group: str) -> None:
    keys = [file.stem for file in (CONF / group).glob("*.yaml") if file.stem != "ood_score"]
    names = {key: paper_name(group, key) for key in keys}
    assert len(set(names.values())) == len(keys)
    assert all(len(name) <= LONGEST for key, name in names.items() if name != key)


def test_no_two_sets_have_one_name() -> None:
    for group in ("ood", "dataset"):
        names = [paper_name(group, file.stem) for file in (CONF / group).glob("*.yaml")]
        assert len(set(names)) == len(names)


def test_a_set_without_a_short_name_keeps_its_key() -> None:
    assert set_name("folder") == "folder"
    assert set_name("parquet") == "parquet"


def test_names_are_those_of_papers() -> None:
    assert set_name("cifar100") == "CIFAR-100"
    assert set_name("svhn_sample") == "SVHN sample"
    assert score_name("msp") == "MSP"
    assert score_name("ood_score") == "own"


def test_unknown_names_stay() -> None:
    assert paper_name("loss", "mine") == "mine"
    assert set_name("my_leaves") == "my_leaves"
    assert score_name("theirs_selected") == "theirs_selected"


@pytest.mark.parametrize("key", ["../loss/ce", "/etc/passwd", "a/b", ""])
def test_a_name_is_no_path(key: str) -> None:
    assert paper_name("loss", key) == key


def test_a_label_keeps_what_sets_the_row_apart() -> None:
    key = next(file.stem for file in sorted((CONF / "loss").glob("*.yaml")))
    assert row_name(key, f"{key} (gamma=1)") == f"{paper_name('loss', key)} (gamma=1)"
