"""What a finished run says of itself."""

from pathlib import Path

from helpers.made_up import add_run, add_with_shifted

from oodbench.tables.kinds import Kind
from oodbench.tables.load import load_run


def test_settings_of_a_part_have_its_keys(tmp_path: Path) -> None:
    run = load_run(add_run(tmp_path, config={"loss": {"tau": 0.04}}))
    assert run.loss_settings["tau"] == "0.04"
    assert run.backbone_settings["width"] == "64"
    assert run.recipe_settings["optimizer.lr"] == "0.1"
    assert run.settings_of("nothing") == {}


def test_a_set_is_near_far_or_shifted(tmp_path: Path) -> None:
    run = load_run(add_with_shifted(tmp_path, "plain", {"cifar100": 0.8, "svhn": 0.9, "fog": 0.5}))
    assert [run.kind(ood) for ood in ("cifar100", "svhn", "fog")] == [Kind.NEAR, Kind.FAR, Kind.SHIFTED]


def test_detectors_are_those_with_numbers_or_a_reason(tmp_path: Path) -> None:
    run = load_run(add_run(tmp_path, ood={"svhn": {"msp": 0.9}}, not_applicable={"vim": "the head is not linear"}))
    assert run.detectors == {"msp", "vim"}


def test_a_place_names_the_run_below_any_folder(tmp_path: Path) -> None:
    runs = [load_run(add_run(tmp_path / name, seed=3)) for name in ("a", "b")]
    assert runs[0].place == runs[1].place
    assert runs[0].place.name == "seed3"
