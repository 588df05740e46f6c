"""A run's identity: what changes its hash and what does not, which names and seeds it may have."""

import re
from pathlib import Path
from typing import Any

import pytest
from helpers.committed import tracked
from helpers.config import ROOT, composed, configuration

from oodbench.cli.configuration import resolve
from oodbench.runs.identity import PRETRAINED, Config, check_name, config_hash, identify, with_pretrained_weights

CONFIG = configuration()


def changed(key: str, value: Any) -> Config:
    return configuration(**{key: value})


def test_the_place_says_what_was_run() -> None:
    run = identify(changed("seed", 3))
    assert run.place == Path(f"digits/resnet18/ce/smoke-{config_hash(CONFIG)}/seed3")
    assert str(run) == f"{config_hash(CONFIG)}/seed3"
    assert len(run.hash) == 8


PLACES = {"seed": 1, "data_root": "/other", "results_dir": "/other", "device": "cuda", "devices": 2, "threads": 3}
PLACES |= {"compile": True, "cuda_graph": False}
PLACES |= {"force": True, "dry_run": True, "wandb__mode": "offline", "dataset__train__root": "/other", "note": "new"}
AFTERWARDS = {"ood": {"noise": {}}, "detector": {}, "image_detector": {}, "dataset__near": ["noise"]}


@pytest.mark.parametrize(("key", "value"), [*PLACES.items(), *AFTERWARDS.items()])
def test_where_and_what_is_scored_does_not_change_the_hash(key: str, value: Any) -> None:
    assert config_hash(changed(key, value)) == config_hash(CONFIG)


OWN_SETTINGS = {"7e61cbfe": ["loss.bins=2"]}  # of committed runs: what their commands set


def test_committed_runs_keep_their_hash() -> None:
    """Today's files of conf/ describe the runs that were made from earlier ones."""
    runs = {file.parent for file in tracked(ROOT / "results/runs") if file.name == "config.yaml"}
    assert runs
    for run in runs:
        *_, dataset, backbone, loss, recipe, _ = run.parts
        recipe, expected = recipe.rsplit("-", 1)
        parts = f"dataset={dataset}", f"backbone={backbone}", f"recipe={recipe}", f"loss={loss}"
        assert config_hash(resolve(composed(*parts, *OWN_SETTINGS.get(expected, [])))) == expected


def test_other_choices_of_sets_and_detectors_keep_the_hash() -> None:
    assert config_hash(configuration("ood=[noise]", "detector=[msp]", "image_detector=[odin]")) == config_hash(CONFIG)


def test_where_a_set_of_ones_own_lies_keeps_the_hash() -> None:
    here, there = ({"dataset": CONFIG["dataset"] | {"path": path}} for path in ("/a/leaves", "/b/leaves"))
    assert config_hash(CONFIG | here) == config_hash(CONFIG | there) == config_hash(CONFIG)


TRAINING = {"loss__label_smoothing": 0.1, "recipe__optimizer__lr": 0.05, "recipe__epochs": 2, "precision": "fp32"}
TRAINING |= {"dataset__limit": 100, "dataset__limit_test": 100, "backbone__width": 8, "dataset__train__split": "test"}
NAMED = {"name__loss": "mine", "name__dataset": "mine", "name__backbone": "mine", "name__recipe": "mine"}


@pytest.mark.parametrize(("key", "value"), [*TRAINING.items(), *NAMED.items()])
def test_what_tells_runs_apart_changes_the_hash(key: str, value: Any) -> None:
    assert config_hash(changed(key, value)) != config_hash(CONFIG)


def test_other_files_of_conf_change_the_hash() -> None:
    others = [configuration(o) for o in ("loss=focal", "recipe=short", "dataset=cifar10")]
    assert len({config_hash(config) for config in [CONFIG, *others]}) == 4


def test_holding_images_out_is_another_training() -> None:
    held_out = config_hash(changed("validation__images", 80))
    assert len({held_out, config_hash(CONFIG), config_hash(changed("validation__images", 81))}) == 3
    assert held_out == config_hash(configuration(validation__images=80, validation__objective="nll"))
    assert config_hash(changed("validation__objective", "nll")) == config_hash(CONFIG)
    without = {key: value for key, value in CONFIG.items() if key != "validation"}
    assert config_hash(without) == config_hash(CONFIG)


def test_a_number_is_the_same_however_it_is_written() -> None:
    assert config_hash(changed("loss__label_smoothing", 0)) == config_hash(changed("loss__label_smoothing", 0.0))
    assert config_hash(changed("dataset__mean", [1, 0, 0])) == config_hash(changed("dataset__mean", [1.0, 0.0, 0]))
    assert config_hash(changed("recipe__flip", True)) != config_hash(changed("recipe__flip", False))


def test_the_hash_does_not_depend_on_the_order_of_keys() -> None:
    def reverse(node: Any) -> Any:
        return {key: reverse(node[key]) for key in reversed(node)} if isinstance(node, dict) else node

    assert config_hash(reverse(CONFIG)) == config_hash(CONFIG)


@pytest.mark.parametrize("seed", [-1, 2**63, 10**30, 1.0, True, "0", None])
def test_a_seed_that_is_none_is_refused(seed: Any) -> None:
    with pytest.raises(ValueError, match=r"seed=.*a whole number from 0 to"):
        identify(CONFIG | {"seed": seed})


def test_the_largest_seed_is_a_seed() -> None:
    assert identify(changed("seed", 2**63 - 1)).seed == 2**63 - 1


@pytest.mark.parametrize("name", ["a", "7", "_x", "pixmix", "a_b.c+d-e", "A" * 100])
def test_a_name_that_can_be_a_folders_is_taken(name: str) -> None:
    assert check_name("name.loss", name) == name


BAD = ["", ".", "..", "../x", "a/b", "/a", "a\\b", "=cmd()", "+1", "@x", "-x", ".hidden", "a b", "a\n", "a\0", "ü"]


@pytest.mark.parametrize("name", [*BAD, "A" * 101, None, 5, True, ["a"], {}])
@pytest.mark.parametrize("part", ["dataset", "backbone", "loss", "recipe"])
def test_a_name_that_could_leave_its_folder_is_refused(part: str, name: Any) -> None:
    with pytest.raises(ValueError, match=rf"name\.{part}="):
        identify(CONFIG | {"name": CONFIG["name"] | {part: name}})


@pytest.mark.parametrize(
    "name", ["README", "readme", "a.oodpos", "a.matrix", "a.b.paper", "a.by-loss.tau+recipe.epochs"]
)
def test_a_set_whose_tables_would_replace_a_file_is_refused(name: str) -> None:
    assert identify(CONFIG | {"name": CONFIG["name"] | {"dataset": f"{name.replace('.', '_')}s", "loss": name}})
    with pytest.raises(ValueError, match=re.escape(f"name.dataset={name}: {name}.md is another file")):
        identify(CONFIG | {"name": CONFIG["name"] | {"dataset": name}})


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    for name, content in (("a.ckpt", b"first"), ("b.ckpt", b"second"), ("c.ckpt", b"first")):
        (tmp_path / name).write_bytes(content)
    return [str(tmp_path / name) for name in ("a.ckpt", "b.ckpt", "c.ckpt")]


def test_weight_files_take_the_place_of_the_recipe(files: list[str]) -> None:
    config = with_pretrained_weights(CONFIG | {"weights": files[:2]})
    assert config["name"]["recipe"] == "pretrained"
    assert config["recipe"]["epochs"] is None
    assert len(config["recipe"]["weights"]) == 2
    assert with_pretrained_weights(config) == config  # as it lies in the run's folder, perhaps without the files
    named = CONFIG | {"name": CONFIG["name"] | {"recipe": PRETRAINED}}  # by a user
    assert with_pretrained_weights(named | {"weights": files[:2]}) == config


def test_contents_of_weight_files_decide_the_hash(files: list[str]) -> None:
    a, b, c = (config_hash(with_pretrained_weights(CONFIG | {"weights": [file]})) for file in files)
    assert a == c != b


def test_a_missing_weight_file_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        with_pretrained_weights(CONFIG | {"weights": ["/nowhere.ckpt"]})


def test_without_weights_the_configuration_stays() -> None:
    without = {key: value for key, value in CONFIG.items() if key != "weights"}
    assert with_pretrained_weights(CONFIG) is CONFIG
    assert config_hash(with_pretrained_weights(without)) == config_hash(CONFIG)


def test_a_text_that_nothing_has_room_for_is_refused() -> None:
    assert identify(configuration(note="x" * 1000))
    for config in (configuration(note="x" * 1001), configuration() | {"more": [{"x" * 1001: 1}]}):
        with pytest.raises(ValueError, match="has 1001 characters, and a configuration's strings at most 1000"):
            identify(config)
