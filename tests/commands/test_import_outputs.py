"""scripts/import_outputs.py: what it knows of a data set, and arguments in a wrong order."""

import pytest
from helpers.cli import script

from oodbench.commands.import_outputs import kinds_of, known_dataset


def test_a_set_of_conf_says_its_classes_and_near_sets() -> None:
    assert (known_dataset("cifar10")["num_classes"], known_dataset("cifar10")["near"][0]) == (10, "cifar100")
    assert known_dataset("nothing") == {}


def test_kinds_are_those_of_conf_unless_given() -> None:
    names = ["svhn", "cifar10c", "cifar100c", "cifar100"]
    of = {dataset: kinds_of(names, dataset, None, None) for dataset in ("cifar10", "cifar100", "birds")}
    assert of["cifar10"] == {"near": ["cifar100"], "shifted": ["cifar10c"]}
    assert of["cifar100"] == {"near": [], "shifted": ["cifar100c"]}
    assert of["birds"] == {"near": [], "shifted": []}
    assert kinds_of(names, "cifar10", ["cifar10c"], None) == {"near": ["cifar10c"], "shifted": []}
    assert kinds_of(names, "cifar10", [], ["svhn"]) == {"near": [], "shifted": ["svhn"]}


def test_a_detector_after_near_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        script("scripts/import_outputs.py", "x.npz", "--name", "x", "--dataset", "x", "--near", "svhn", "detector=all")
    assert ended.value.code == 2
    assert "put detector=... before --near" in capsys.readouterr().err
