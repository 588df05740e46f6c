"""scripts/prepare_data.py knows every published set."""

import pytest
from helpers.cli import script
from helpers.config import ROOT, composed, names

from oodbench.commands.data import published_sets

LISTS = {"openood"}  # of images of several sets


def test_every_set_below_the_data_root_can_be_prepared() -> None:
    files = {name: (ROOT / f"conf/ood/{name}.yaml").read_text("utf-8") for name in names("ood")}
    assert {name for name, text in files.items() if "root: ${data_root}" in text} - LISTS == published_sets().keys()


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
def test_a_set_to_learn_is_prepared_as_it_is_read(dataset: str) -> None:
    of_run = composed(f"dataset={dataset}").dataset
    of_set = published_sets()[dataset]
    assert of_set.keys() == {"train", "test"}
    for split, node in of_set.items():
        assert node["_target_"] == of_run[split]._target_
        assert node["split"] == of_run[split].split == split


def test_a_split_that_a_set_lacks_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        script("scripts/prepare_data.py", "textures", "--split", "train")
    assert "textures has no split train, only test" in capsys.readouterr().err
