"""Objects from a configuration: what the seed and the machine decide, and what is refused before anything starts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.config import composed, configuration
from helpers.image_files import encoded, write_files
from omegaconf import OmegaConf
from threadpoolctl import threadpool_info

import oodbench.build
from oodbench.build import (
    build_detectors,
    build_execution,
    build_model,
    build_provenance,
    build_recipe,
    open_data,
    try_build,
    with_statistics,
)
from oodbench.runs.folder import RunFolder
from oodbench.runs.training_files import DataChangedError
from oodbench.training.device import THREADS
from oodbench.training.step import PLAIN, Execution

CPU = torch.device("cpu")
CONFIG = configuration("backbone.width=4", "loss=halo")


def test_threads_of_one_run_are_not_those_of_the_next() -> None:
    """A sweep's runs share a process."""
    for threads, expected in ((2, 2), (1, 1), (None, THREADS)):
        build_model(config := CONFIG | {"threads": threads}, CPU)
        facts = build_provenance(config, CPU)
        assert facts["threads"] == torch.get_num_threads() == expected
        of_numpy = {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}
        assert of_numpy <= {expected}  # none is listed where the system brings its own library


def test_the_seed_decides_the_first_weights() -> None:
    first, again, other = (build_model(CONFIG | {"seed": seed}, CPU).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["backbone.conv1.weight"], other["backbone.conv1.weight"])


def test_checking_draws_no_random_number() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    try_build(CONFIG)
    assert torch.equal(torch.get_rng_state(), before)


def test_parts_that_runs_share_are_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    make = oodbench.build.make
    monkeypatch.setattr(oodbench.build, "make", lambda node, **more: made.append(node) or make(node, **more))
    config = configuration("backbone.width=5", "recipe.epochs=7", "detector=[msp]")  # of no other test
    for loss in ("ce", "halo", "focal"):
        try_build(config | {"loss": configuration(f"loss={loss}")["loss"]})
    parts = [config["backbone"], config["recipe"], config["detector"]["msp"]]
    assert [made.count(part) for part in parts] == [1, 1, 1]
    assert len(made) == len(parts) + 3


def test_the_provenance_names_the_settings() -> None:
    facts = build_provenance(CONFIG | {"precision": "bf16"}, CPU)
    assert {key: facts[key] for key in ("seed", "devices", "device", "precision")} == {
        "seed": 0,
        "devices": 1,
        "device": "cpu",
        "precision": "bf16",
    }


def test_steps_are_recorded_on_one_gpu_unless_told_otherwise() -> None:
    gpu, few = torch.device("cuda", 0), 1000
    assert build_execution(CONFIG, gpu, few) == Execution(compile=False, cuda_graph=True)
    assert build_execution(CONFIG | {"compile": True}, gpu, few) == Execution(compile=True, cuda_graph=True)
    for config, device in ((CONFIG, CPU), (CONFIG | {"cuda_graph": False}, gpu), (CONFIG | {"devices": 2}, gpu)):
        assert build_execution(config, device, few) == PLAIN


OPTIMIZER, SCHEDULE = CONFIG["recipe"]["optimizer"], CONFIG["recipe"]["schedule"]
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("loss", {"gama": 1}, "gama"),
    ("loss", {"variant": "other"}, "other"),
    ("backbone", {"depth": 1}, "depth"),
    ("backbone", {"width": -1}, "negative"),
    ("recipe", {"optimizer": OPTIMIZER | {"betta": 1}}, "betta"),
    ("recipe", {"optimizer": OPTIMIZER | {"momentum": 0}}, "Nesterov momentum requires"),
    ("recipe", {"schedule": SCHEDULE | {"stop": 1}}, "stop"),
    ("recipe", {"schedule": SCHEDULE | {"final": "a"}}, "str"),
    ("recipe", {"warmup": 1}, "warmup"),
    ("detector", {"msp": CONFIG["detector"]["msp"] | {"temperature": 3}}, "temperature"),
]


@pytest.mark.parametrize(("part", "changes", "says"), REFUSED, ids=[says for *_, says in REFUSED])
def test_a_part_that_refuses_its_values_is_named(part: str, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=f"^{part}: .*{says}"):
        try_build(CONFIG | {part: CONFIG[part] | changes})


def test_pretrained_weights_need_no_recipe() -> None:
    try_build(CONFIG | {"weights": ["a.pt"], "recipe": {"epochs": None}})
    with pytest.raises(TypeError):
        build_recipe(CONFIG | {"recipe": {"epochs": None}})


def test_detectors_are_built_with_their_hyperparameters() -> None:
    detectors = build_detectors(configuration("detector=[knn,msp]", "detector.knn.k=7")["detector"])
    assert detectors.keys() == {"knn", "msp"}
    assert detectors["knn"].keywords == {"k": 7}


# ---- sets


@pytest.fixture
def leaves(tmp_path: Path) -> dict[str, Any]:
    """Configuration of a custom set: two images of size 40x50 in each of three classes, train and test."""
    pixels = np.random.default_rng(0).integers(256, size=(12, 50, 40, 3), dtype=np.uint8)
    names = [f"{split}/{kind}/{i}.png" for split in ("train", "test") for kind in ("ash", "elm", "oak") for i in (1, 2)]
    write_files(tmp_path / "leaves", {name: encoded(image) for name, image in zip(names, pixels, strict=True)})
    return CONFIG | {"dataset": composed("dataset=folder", f"dataset.path={tmp_path}/leaves").dataset}


def plain(config: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return config | {"dataset": OmegaConf.to_container(config["dataset"], resolve=True) | changes}  # type: ignore[operator]


def test_what_a_set_does_not_state_is_measured(leaves: dict[str, Any]) -> None:
    config = with_statistics(plain(leaves))
    train = open_data(config).train
    assert config["dataset"]["num_classes"] == 3
    assert config["dataset"]["mean"] == pytest.approx((train.images / 255).mean((0, 1, 2)), abs=5e-5)
    assert config["dataset"]["std"] == pytest.approx((train.images / 255).std((0, 1, 2)), abs=5e-5)


def test_what_a_set_states_is_not_measured(leaves: dict[str, Any]) -> None:
    stated = {"num_classes": 3, "mean": [0.5] * 3, "std": [0.25] * 3}
    assert with_statistics(plain(leaves, path="/nowhere", **stated)) == plain(leaves, path="/nowhere", **stated)
    assert with_statistics(plain(leaves, mean=[0.5] * 3))["dataset"]["mean"] == [0.5] * 3


def test_a_finished_run_of_other_images_is_an_error(leaves: dict[str, Any], tmp_path: Path) -> None:
    """Images and labels swap classes: mean, deviation and the run's hash stay."""
    config = with_statistics(plain(leaves)) | {"results_dir": str(tmp_path / "results")}
    folder = RunFolder.of(config)
    folder.write_training({}, {}, open_data(config).train.digest)
    again = config | {"dataset": config["dataset"] | {"mean": None}}
    assert with_statistics(again) == config
    ash, elm = tmp_path / "leaves/train/ash/1.png", tmp_path / "leaves/train/elm/1.png"
    ash.rename(ash.with_name("3.png"))
    elm.rename(ash)
    ash.with_name("3.png").rename(elm)
    oodbench.build._measured.cache_clear()  # of another command
    with pytest.raises(DataChangedError, match=r"training\.json was made from images with digest"):
        with_statistics(again)
    assert with_statistics(again | {"force": True}) == config | {"force": True}


@pytest.mark.parametrize("size", [32, 48])
def test_all_sets_of_a_run_have_its_size(leaves: dict[str, Any], size: int) -> None:
    sets = open_data(with_statistics(plain(leaves, size=size)))
    assert {split.images.shape[1:] for split in (sets.train, sets.test, *sets.ood.values())} == {(size, size, 3)}


def test_an_ood_set_by_its_path_takes_classes_to_leave_out(leaves: dict[str, Any], tmp_path: Path) -> None:
    node = {"path": str(tmp_path / "leaves/train"), "exclude_classes": ["ash"]}
    config = with_statistics(plain(leaves)) | {"ood": {"own": node}, "allow_overlap": True}
    assert len(open_data(config).ood["own"].images) == 4
