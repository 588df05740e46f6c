"""Objects from a configuration: what the seed and the machine decide, and what is refused before anything starts."""

from typing import Any

import pytest
import torch
from helpers.config import configuration

from oodbench.build import build_detectors, build_model, build_recipe, check
from oodbench.training.device import THREADS

CPU = torch.device("cpu")
CONFIG = configuration("backbone.width=4", "loss=halo")


def test_threads_of_one_run_are_not_those_of_the_next() -> None:
    """A sweep's runs share a process."""
    for threads, expected in ((2, 2), (None, THREADS)):
        _, facts = build_model(CONFIG | {"threads": threads}, CPU)
        assert facts["threads"] == torch.get_num_threads() == expected


def test_the_seed_decides_the_first_weights() -> None:
    first, again, other = (build_model(CONFIG | {"seed": seed}, CPU)[0].state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["backbone.conv1.weight"], other["backbone.conv1.weight"])


def test_checking_draws_no_random_number() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    check(CONFIG)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_provenance_names_the_settings() -> None:
    _, facts = build_model(CONFIG | {"precision": "bf16"}, CPU)
    assert {key: facts[key] for key in ("seed", "compile", "devices", "device", "precision")} == {
        "seed": 0,
        "compile": False,
        "devices": 1,
        "device": "cpu",
        "precision": "bf16",
    }


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"loss": CONFIG["loss"] | {"gama": 1}}, "gama"),
    ({"loss": CONFIG["loss"] | {"variant": "other"}}, "other"),
    ({"backbone": CONFIG["backbone"] | {"depth": 1}}, "depth"),
    ({"recipe": CONFIG["recipe"] | {"optimizer": CONFIG["recipe"]["optimizer"] | {"betta": 1}}}, "betta"),
    ({"recipe": CONFIG["recipe"] | {"schedule": CONFIG["recipe"]["schedule"] | {"stop": 1}}}, "stop"),
    ({"recipe": CONFIG["recipe"] | {"warmup": 1}}, "warmup"),
    ({"detector": {"msp": CONFIG["detector"]["msp"] | {"temperature": 3}}}, "temperature"),
]


@pytest.mark.parametrize(("changes", "says"), REFUSED, ids=[says for _, says in REFUSED])
def test_an_option_that_nobody_knows_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises((TypeError, ValueError), match=says):
        check(CONFIG | changes)


def test_pretrained_weights_need_no_recipe() -> None:
    check(CONFIG | {"weights": ["a.pt"], "recipe": {"epochs": None}})
    with pytest.raises(TypeError):
        build_recipe(CONFIG | {"recipe": {"epochs": None}})


def test_detectors_are_built_with_their_hyperparameters() -> None:
    detectors = build_detectors(configuration("detector=[knn,msp]", "detector.knn.k=7")["detector"])
    assert detectors.keys() == {"knn", "msp"}
    assert detectors["knn"].keywords == {"k": 7}
