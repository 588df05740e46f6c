"""scripts/import_outputs.py: what it knows of a data set, and arguments in a wrong order."""

import pytest
from helpers.cli import script

from oodbench.commands.import_outputs import known_dataset, shifted_sets


def test_a_set_of_conf_says_its_classes_and_near_sets() -> None:
    assert (known_dataset("cifar10")["num_classes"], known_dataset("cifar10")["near"][0]) == (10, "cifar100")
    assert known_dataset("nothing") == {}


def test_corrupted_test_images_are_no_ood_set() -> None:
    names = ["svhn", "cifar10c", "cifar100c"]
    assert [shifted_sets(names, dataset) for dataset in ("cifar10", "cifar100", "birds")] == [
        ["cifar10c"],
        ["cifar100c"],
        [],
    ]


def test_a_detector_after_near_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        script("scripts/import_outputs.py", "x.npz", "--name", "x", "--dataset", "x", "--near", "svhn", "detector=all")
    assert ended.value.code == 2
    assert "put detector=... before --near" in capsys.readouterr().err
