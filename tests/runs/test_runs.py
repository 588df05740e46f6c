"""A run's folder: where it lies, that nothing in it is ever half written, and when it counts as finished."""

import contextlib
import json
import os
import resource
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from helpers.config import composed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from oodbench.outputs import Outputs, load_outputs, save_outputs
from oodbench.runs.folder import Run, config_hash
from oodbench.storage import UnwritableError, read_json, write_atomic, write_json

DIGITS = ("dataset=digits", "recipe=smoke", "loss=ce")


@cache
def configuration(*overrides: str) -> dict[str, Any]:
    """Not to be changed."""
    config = OmegaConf.to_container(composed(*DIGITS, *overrides), resolve=True, throw_on_missing=True)
    assert isinstance(config, dict)
    return config  # type: ignore[return-value]


CONFIG = configuration()
NUMBERS = {"accuracy": 0.5, "ece": 0.1, "nll": 1.0, "brier": 0.5, "not_applicable": {}}
FACTS = {"seed": 0, "device": "cpu"}


def run_in(folder: Path, *overrides: str) -> Run:
    return Run(configuration(*overrides) | {"results_dir": str(folder)})


def finish(run: Run, auroc: float = 0.5) -> None:
    ood = {name: {detector: {"auroc": auroc} for detector in run.config["detector"]} for name in run.config["ood"]}
    images = {"train": 10, "test": 5, **dict.fromkeys(ood, 7)}
    digests = {name: f"digest of {name}" for name in images}
    run.add_metrics(deepcopy(NUMBERS | {"ood": ood}), deepcopy(FACTS | {"images": images, "digests": digests}))


def test_the_folder_says_what_was_run(tmp_path: Path) -> None:
    run = run_in(tmp_path, "seed=3")
    assert run.folder == tmp_path / f"runs/digits/resnet18/ce/smoke-{config_hash(run.config)}/seed3"
    assert len(run.hash) == 8
    assert not run.folder.exists()  # looking does not make it


ELSEWHERE = ["seed=1", "data_root=/elsewhere", "results_dir=/elsewhere", "device=cuda", "threads=3", "force=true"]
AFTERWARDS = ["ood=[noise]", "detector=[msp]", "wandb.mode=offline", "dataset.train.root=/elsewhere"]


@pytest.mark.parametrize("override", [*ELSEWHERE, *AFTERWARDS])
def test_where_and_how_often_does_not_change_the_hash(override: str) -> None:
    base = ("dataset=cifar10",)
    assert config_hash(configuration(*base, override)) == config_hash(configuration(*base))


OTHER_TRAINING = ["loss=focal", "loss.label_smoothing=0.1", "recipe=short", "recipe.optimizer.lr=0.05"]
OTHER_SETTING = ["dataset.limit=100", "dataset.limit_test=100", "dataset=cifar10", "backbone.width=8", "precision=fp32"]


@pytest.mark.parametrize("override", [*OTHER_TRAINING, *OTHER_SETTING])
def test_what_decides_the_numbers_changes_the_hash(override: str) -> None:
    assert config_hash(configuration(override)) != config_hash(CONFIG)


def test_holding_images_out_is_another_training_and_what_is_chosen_by_them_is_not() -> None:
    assert config_hash(configuration("validation.objective=nll")) == config_hash(CONFIG)
    held_out = config_hash(configuration("validation.images=80"))
    assert held_out != config_hash(CONFIG)
    assert held_out != config_hash(configuration("validation.images=81"))
    assert held_out == config_hash(configuration("validation.images=80", "validation.objective=nll"))
    before = {key: value for key, value in CONFIG.items() if key != "validation"}
    assert config_hash(before) == config_hash(CONFIG)  # as it was before images could be held out


@pytest.mark.parametrize(("objective", "value"), [("nll", 2.0), ("ood.msp.auroc", 0.75)])
def test_the_objective_is_a_number_of_the_held_out_images(tmp_path: Path, objective: str, value: float) -> None:
    run = run_in(tmp_path, "detector=[msp]", "validation.images=80", f"validation.objective={objective}")
    run.check_objective()
    ood = {name: {d: {"auroc": 0.5} for d in run.config["detector"]} for name in run.config["ood"]}
    validation = {"nll": 2.0, "ood": {"msp": {"auroc": 0.75}}, "of": run.validation}
    sets = {"images": dict.fromkeys(ood, 7), "digests": dict.fromkeys(ood, "digest")}
    run.add_metrics(deepcopy(NUMBERS) | {"ood": ood, "validation": validation}, FACTS | sets)
    assert run.is_finished()
    more = run_in(tmp_path, "detector=[msp,energy]", "validation.images=80", "validation.objective=ood.energy.auroc")
    assert not more.is_finished()  # its objective is still to be measured
    assert run.objective() == value
    assert run_in(tmp_path).objective() is None
    absent = run_in(tmp_path, "validation.images=80", "validation.objective=ood.energy.auroc")
    with pytest.raises(ValueError, match=r"ood\.energy\.auroc: there is \['msp'\], no energy"):
        absent.objective()


def test_a_number_is_the_same_however_it_is_written() -> None:
    assert len({config_hash(configuration(f"loss.label_smoothing={value}")) for value in ("0.0", "0", "0e0")}) == 1
    assert len({config_hash(configuration(f"recipe.warmup_epochs={value}")) for value in ("1", "1.0")}) == 1


def test_the_hash_does_not_depend_on_the_order_of_keys() -> None:
    reverse = {
        key: dict(reversed(CONFIG[key].items())) if isinstance(CONFIG[key], dict) else CONFIG[key] for key in CONFIG
    }
    assert config_hash(reverse) == config_hash(CONFIG)


def test_the_written_configuration_is_the_resolved_one(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    run.write_config()
    assert yaml.safe_load((run.folder / "config.yaml").read_text()) == run.config
    assert "${" not in (run.folder / "config.yaml").read_text()


def test_the_history_is_a_line_an_epoch(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    run.write_history(
        [{"epoch": 1, "loss": 2.5, "accuracy": float("nan")}, {"epoch": 2, "loss": 0.123456789, "accuracy": 1}]
    )
    assert (run.folder / "train.csv").read_text() == "epoch,loss,accuracy\n1,2.5,nan\n2,0.123457,1\n"


def test_the_record_of_a_training_sums_its_epochs_and_drops_outputs_of_other_weights(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    write_atomic(run.outputs("test"), b"of other weights")
    history = [{"seconds": 10.0, "images_per_second": 100.0}, {"seconds": 30.0, "images_per_second": 20.0}]
    run.write_training(history, {"device": "cpu"})
    speed = {"epochs": 2, "wall_time_s": 40, "images_per_second": (1000 + 600) / 40}
    assert run.training() == {"device": "cpu", **speed}
    assert not run.outputs("test").exists()


def test_what_a_killed_process_left_half_written_is_swept_away(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    run.write_config()
    for name in (".checkpoint.pt.x8a", ".claim.lock", "claim.json"):
        (run.folder / name).touch()
    run.sweep()
    assert leftovers(run.folder) == [".claim.lock", "claim.json", "config.yaml"]
    run.delete()
    assert leftovers(run.folder) == [".claim.lock", "claim.json"]


def test_calling_a_set_near_needs_no_training_but_is_recorded(tmp_path: Path) -> None:
    finish(run_in(tmp_path))
    other = run_in(tmp_path, "dataset.near=[noise]")
    assert other.folder == run_in(tmp_path).folder
    assert not other.is_finished()
    finish(other)
    assert other.is_finished()


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_atomic_write_replaces_the_whole_file_and_colleagues_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    for data in ("long text at first", b"short"):
        write_atomic(path, data)
    assert path.read_bytes() == b"short"
    assert path.stat().st_mode & 0o777 == 0o644
    assert leftovers(path.parent) == ["file"]


def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(UnwritableError, match=f"cannot write {path}: File too large; .*the same command goes on"):
            write_atomic(path, b"x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"old"
    assert leftovers(tmp_path) == ["file"]


def test_a_folder_in_the_way_leaves_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(UnwritableError, match="Is a directory"):
        write_atomic(tmp_path / "file", b"data")
    assert leftovers(tmp_path) == ["file"]


def test_ctrl_c_while_writing_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(descriptor: int) -> None:
        raise KeyboardInterrupt

    write_atomic(tmp_path / "file", b"old")
    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert leftovers(tmp_path) == ["file"]


def test_a_run_is_finished_when_its_metrics_are_there(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    assert not run.is_finished()
    run.write_config()
    assert not run.is_finished()
    finish(run)
    assert run.is_finished()
    assert not run_in(tmp_path, "seed=1").is_finished()


@pytest.mark.parametrize("override", ["ood=[noise]", "detector=[msp]", "device=cpu", "data_root=/elsewhere"])
def test_a_finished_run_holds_what_asks_for_less(tmp_path: Path, override: str) -> None:
    finish(run_in(tmp_path))
    assert run_in(tmp_path, override).is_finished()


@pytest.mark.parametrize(
    "override",
    ["+ood.mine.path=a.parquet", "ood=[cifar10]", "detector.energy.temperature=0.1", "ood.noise._target_=a.b"],
)
def test_a_finished_run_is_not_finished_for_another_ood_set_or_detector_setting(tmp_path: Path, override: str) -> None:
    finish(run_in(tmp_path))
    assert not run_in(tmp_path, override).is_finished()


def test_an_own_set_of_the_same_name_at_another_path_is_another_set(tmp_path: Path) -> None:
    finish(run_in(tmp_path, "+ood.mine.path=a.parquet"))
    assert run_in(tmp_path, "+ood.mine.path=a.parquet").is_finished()
    assert not run_in(tmp_path, "+ood.mine.path=b.parquet").is_finished()


def test_new_numbers_join_those_of_other_ood_sets(tmp_path: Path) -> None:
    first, second = run_in(tmp_path, "ood=[noise,unseen_digits]"), run_in(tmp_path, "ood=[noise,photo_patches]")
    finish(first, auroc=0.25)
    finish(second, auroc=0.75)
    metrics = second.metrics()
    assert metrics is not None
    assert {name: scores["msp"]["auroc"] for name, scores in metrics["ood"].items()} == {
        "noise": 0.75,
        "unseen_digits": 0.25,
        "photo_patches": 0.75,
    }
    assert set(metrics["provenance"]["ood"]) == {"noise", "unseen_digits", "photo_patches"}
    assert set(metrics["provenance"]["images"]) == {"train", "test", "noise", "unseen_digits", "photo_patches"}
    assert first.is_finished()
    assert second.is_finished()


def test_numbers_of_a_detector_that_is_set_otherwise_now_are_forgotten(tmp_path: Path) -> None:
    finish(run_in(tmp_path, "ood=[noise,unseen_digits]", "detector=[msp,energy]"))
    finish(run_in(tmp_path, "ood=[noise]", "detector=[energy]", "detector.energy.temperature=0.1"))
    metrics = run_in(tmp_path).metrics()
    assert metrics is not None
    assert {name: set(scores) for name, scores in metrics["ood"].items()} == {
        "noise": {"msp", "energy"},
        "unseen_digits": {"msp"},
    }
    assert metrics["provenance"]["detector"]["energy"]["temperature"] == 0.1
    assert run_in(tmp_path, "ood=[noise,unseen_digits]", "detector=[msp]").is_finished()
    assert not run_in(tmp_path, "ood=[noise]", "detector=[energy]").is_finished()


REASON = "needs a linear head; this loss has none"


def finish_without_energy(run: Run) -> None:
    """As a run whose energy does not apply."""
    ood = {name: {d: {"auroc": 0.5} for d in run.config["detector"] if d != "energy"} for name in run.config["ood"]}
    sets = {"images": dict.fromkeys(ood, 7), "digests": dict.fromkeys(ood, "digest")}
    run.add_metrics(deepcopy(NUMBERS | {"ood": ood, "not_applicable": {"energy": REASON}}), FACTS | sets)


def test_a_detector_that_does_not_apply_is_done(tmp_path: Path) -> None:
    run = run_in(tmp_path, "ood=[noise]", "detector=[msp,energy]")
    finish_without_energy(run)
    assert run.is_finished()
    assert not run_in(tmp_path, "ood=[noise]", "detector=[msp,energy]", "detector.energy.temperature=2").is_finished()
    assert not run_in(tmp_path, "ood=[noise]", "detector=[msp,maxlogit]").is_finished()


def test_a_reason_stays_while_other_detectors_are_added_and_goes_when_there_are_numbers(tmp_path: Path) -> None:
    finish_without_energy(run_in(tmp_path, "ood=[noise]", "detector=[msp,energy]"))
    other = run_in(tmp_path, "ood=[noise]", "detector=[maxlogit]")
    finish(other)
    metrics = other.metrics()
    assert metrics is not None
    assert metrics["not_applicable"] == {"energy": REASON}
    assert metrics["ood"]["noise"].keys() == {"msp", "maxlogit"}
    run = run_in(tmp_path, "ood=[noise]", "detector=[energy]", "detector.energy.temperature=2")
    finish(run)
    metrics = run.metrics()
    assert metrics is not None
    assert metrics["not_applicable"] == {}
    assert metrics["ood"]["noise"].keys() == {"msp", "maxlogit", "energy"}


def test_numbers_go_when_their_detector_does_not_apply_any_more(tmp_path: Path) -> None:
    finish(run_in(tmp_path, "ood=[noise,unseen_digits]", "detector=[msp,energy]"))
    run = run_in(tmp_path, "ood=[noise]", "detector=[energy]")
    finish_without_energy(run)
    metrics = run.metrics()
    assert metrics is not None
    assert {name: set(scores) for name, scores in metrics["ood"].items()} == {
        "noise": {"msp"},
        "unseen_digits": {"msp"},
    }
    assert metrics["not_applicable"] == {"energy": REASON}


def test_metrics_from_before_there_were_reasons_are_finished(tmp_path: Path) -> None:
    run = run_in(tmp_path, "ood=[noise]", "detector=[msp]")
    finish(run)
    path = run.folder / "metrics.json"
    metrics = read_json(path)
    del metrics["not_applicable"]
    write_json(path, metrics)
    assert run.is_finished()
    finish(run_in(tmp_path, "ood=[noise]", "detector=[energy]"))
    assert run_in(tmp_path, "ood=[noise]", "detector=[msp,energy]").is_finished()


def test_adding_numbers_changes_no_argument(tmp_path: Path) -> None:
    finish(run_in(tmp_path, "ood=[unseen_digits]"))
    run = run_in(tmp_path, "ood=[noise]")
    numbers = NUMBERS | {"ood": {"noise": {detector: {"auroc": 1.0} for detector in run.config["detector"]}}}
    provenance = FACTS | {"images": {"noise": 1}, "digests": {"noise": "x"}}
    before = deepcopy((numbers, provenance))
    run.add_metrics(numbers, provenance)
    assert (numbers, provenance) == before


def test_metrics_are_json_that_anything_can_read(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    finish(run)
    path = run.folder / "metrics.json"
    metrics = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert metrics["accuracy"] == 0.5
    assert metrics["config_hash"] == run.hash
    assert metrics["provenance"]["seed"] == 0


def test_deleting_a_run_deletes_that_run_only(tmp_path: Path) -> None:
    run, neighbour = run_in(tmp_path), run_in(tmp_path, "seed=1")
    run.delete()  # where nothing is, nothing happens
    finish(run)
    finish(neighbour)
    run.delete()
    assert list(run.folder.iterdir()) == []
    assert neighbour.is_finished()


@pytest.mark.parametrize(
    "content", [b"", b'{"accuracy": 0.5, "oo', b"\xff\xfe\x00", b"{}", b"[]", b"null", b'{"ood": {}}']
)
def test_damaged_metrics_are_named_not_used_and_written_again(tmp_path: Path, content: bytes) -> None:
    run = run_in(tmp_path)
    write_atomic(run.folder / "metrics.json", content)
    with pytest.warns(UserWarning, match=r"numbers not used.*metrics\.json.*repeat"):
        assert not run.is_finished()
    assert (run.folder / "metrics.json").read_bytes() == content
    with pytest.warns(UserWarning, match="numbers not used"):
        finish(run)
    assert run.is_finished()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_one_bit_that_flips_in_a_file_of_numbers_is_noticed(tmp_path: Path, data: st.DataObject) -> None:
    """But where it changes nothing that is said: blanks between the values, the digits of 1.00."""
    write_json(path := tmp_path / "x.json", {"a": [0.25, 1e-7, None], "b": {"c": "text", "d": 12}})
    whole, content = bytearray(path.read_bytes()), read_json(path)
    bit = data.draw(st.integers(0, 8 * len(whole) - 1))
    whole[bit // 8] ^= 1 << bit % 8
    path.write_bytes(whole)
    with contextlib.suppress(ValueError):
        assert read_json(path) == content


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_one_bit_that_flips_in_outputs_is_noticed(tmp_path: Path, data: st.DataObject) -> None:
    save_outputs(path := tmp_path / "test.safetensors", OUTPUTS, "digest")
    whole = bytearray(path.read_bytes())
    bit = data.draw(st.integers(0, 8 * len(whole) - 1))
    whole[bit // 8] ^= 1 << bit % 8
    path.write_bytes(whole)
    with contextlib.suppress(ValueError):  # else it was a blank in the header
        stored = load_outputs(path)
        assert stored is not None
        for ours, theirs in zip(OUTPUTS, stored, strict=True):
            np.testing.assert_array_equal(ours, theirs)


OUTPUTS = Outputs(
    np.arange(12, dtype="f4").reshape(4, 3)[:, ::-1],  # not contiguous
    np.ones((4, 2), dtype="f4"),
    np.full((4, 2), np.log(0.5)),
    np.array([1e-300, 1, 1 + 1e-15, -1]),
    np.array([0, 1, -1, 0]),
)


def test_outputs_survive_their_file_to_the_bit(tmp_path: Path) -> None:
    save_outputs(tmp_path / "test.safetensors", OUTPUTS, "digest")
    stored = load_outputs(tmp_path / "test.safetensors", "digest")
    assert stored is not None
    for ours, theirs in zip(OUTPUTS, stored, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def test_outputs_of_other_images_are_none(tmp_path: Path) -> None:
    path = tmp_path / "test.safetensors"
    assert load_outputs(path, "digest") is None
    save_outputs(path, OUTPUTS, "digest")
    assert load_outputs(path, "another") is None
    assert load_outputs(path) is not None


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.999])
def test_truncated_outputs_are_named(tmp_path: Path, share: float) -> None:
    path = tmp_path / "test.safetensors"
    save_outputs(path, OUTPUTS, "digest")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"test\.safetensors is damaged"):
        load_outputs(path, "digest")
