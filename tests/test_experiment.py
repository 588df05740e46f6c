"""A run on the embedded digits: what it leaves behind, what a second start does, and how it fails."""

import csv
import hashlib
import io
import os
import re
import shutil
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from helpers.cli import HALO, LIMITED, RUN, Finished, finish, folders, never, numbers_in, started
from helpers.config import composed, names
from helpers.image_files import write_parquet
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image
from sklearn.metrics import roc_auc_score

import oodbench.scoring.trained
from oodbench.backbones import ResNet18
from oodbench.build import build_model, build_provenance, build_recipe, open_data
from oodbench.cli.configuration import resolve
from oodbench.data.digits import digits
from oodbench.data.noise import noise
from oodbench.data.sets import Limits, data_splits
from oodbench.detectors.logits import msp
from oodbench.evaluation.metric import MISSING
from oodbench.evaluation.metrics import ID_METRICS, OOD_METRICS
from oodbench.experiment import Job, remove_unused, run, train_epochs
from oodbench.losses.objective import Objective
from oodbench.model import Classifier, extract_features, load_weights, predict
from oodbench.outputs import Outputs
from oodbench.runs.folder import RunFolder, open_run
from oodbench.runs.status import states, table
from oodbench.runs.terminal import header, result
from oodbench.runs.tracking import NO_LOG
from oodbench.runs.training_files import DataChangedError
from oodbench.storage import load_arrays
from oodbench.training import checkpoint
from oodbench.training.batches import sample_augmentation

SETS = {"train", "test", "val", "val_ood", "unseen_digits", "photo_patches"}


def folder_of(run: Finished) -> RunFolder:
    return open_run(run.folder)[0]


def stored(run: Finished, name: str) -> Outputs:
    outputs = folder_of(run).read_outputs(name)
    assert outputs is not None
    return outputs


def unfinished(run: Finished, *names: str) -> None:
    """Leave the run as a process does that is killed before it writes these files."""
    for name in ("metrics.json", *names):
        (run.folder / name).unlink()


# ---- what a run leaves behind


def test_the_folder_holds_what_the_documentation_says(finished: Finished) -> None:
    relative = finished.folder.relative_to(finished.results)
    assert re.fullmatch(r"runs/digits/resnet18/halo/smoke-[0-9a-f]{8}/seed3", str(relative))
    files = {str(path.relative_to(finished.folder)) for path in finished.folder.rglob("*") if path.is_file()}
    top = {"config.yaml", "train.csv", "checkpoint.pt", "checkpoint.previous.pt", "model.safetensors"}
    top |= {"training.json", "metrics.json", "README.md", finished.metrics["resamples"]["file"]}
    assert {file for file in files if not file.startswith(".")} == top | {f"outputs/{s}.safetensors" for s in SETS}
    assert [path.name for path in finished.results.iterdir()] == ["runs"]


def test_every_file_names_the_run_and_its_weights(finished: Finished) -> None:
    folder = folder_of(finished)
    name, weights = str(folder.run), finished.metrics["weights"]
    assert (finished.metrics["run"], folder.read_training()["run"]) == (name, name)
    assert folder.read_training()["weights"] == weights
    for file in finished.folder.rglob("*.safetensors"):
        about = load_arrays(file)[1]
        assert about["run"] == name
        assert about.get("weights", weights) == weights
    assert {row["run"] for row in csv.DictReader(folder.history.open())} == {name}
    assert checkpoint.read_checkpoint(folder.checkpoint)[0].run == name


def test_metrics_json_is_laid_out_as_documented(finished: Finished) -> None:
    numbers = finished.metrics
    parts = {*ID_METRICS, "calibration", "ood", "intervals", "not_applicable", "provenance", "validation"}
    stamp = {"run", "config_hash", "seed", "weights", "resamples", "sha256"}
    assert set(numbers) == parts | stamp
    assert set(numbers["ood"]) == {"unseen_digits", "photo_patches"}
    for scores in numbers["ood"].values():
        assert set(scores) == {"ood_score", "msp", "maxlogit", "energy"}
        for values in scores.values():
            assert {"auroc", "fpr95_idpos", "fpr95_oodpos", "aupr_in", "aupr_out"} <= set(values) <= set(OOD_METRICS)
            assert all(isinstance(value, float) and 0 <= value <= 1 for value in values.values())
    assert all(isinstance(numbers[name], float) for name in ID_METRICS)


def test_the_provenance_says_where_the_numbers_come_from(finished: Finished) -> None:
    facts = finished.metrics["provenance"]
    assert {"python", "torch", "torchvision", "numpy", "oodbench", "hydra-core"} <= set(facts["versions"])
    assert facts["git_commit"] is None or re.fullmatch(r"[0-9a-f]{40}\+?", facts["git_commit"])
    assert (facts["seed"], facts["device"], facts["precision"], facts["epochs"]) == (3, "cpu", "fp32", 2)
    assert (facts["threads"], facts["devices"], facts["compile"], facts["cuda_graph"]) == (1, 1, False, False)
    assert facts["wall_time_s"] > 0
    assert facts["images_per_second"] == pytest.approx(800 / facts["wall_time_s"], rel=1e-3)
    images = {"train": 400, "test": 160, "val": 40, "val_ood": 160, "unseen_digits": 160, "photo_patches": 160}
    assert facts["images"] == images
    assert facts["digests"].keys() == SETS
    assert facts["train_digest"] == facts["digests"]["train"] == digits("train").digest


def test_a_header_comes_first_and_the_folder_last(finished: Finished) -> None:
    config = yaml.safe_load((finished.folder / "config.yaml").read_text())
    images, about = finished.metrics["provenance"]["images"], finished.metrics["provenance"]
    alone = header(config, images, about, finished.folder / "no other seed")
    assert finished.stdout.startswith(alone.removesuffix("/no other seed") + "\n\n")
    assert finished.stdout.endswith(f"\n\n{result(finished.metrics)}\n\n{finished.folder}\n")


def test_verbose_prints_a_table_of_all_numbers(again: Finished) -> None:
    printed = started(*HALO, f"results_dir={again.results}", "verbose=true")
    *table, blank, folder = printed.partition("\n\n")[2].rstrip("\n").split("\n")
    assert (blank, folder) == ("", str(again.folder))
    numbers = again.metrics
    assert table[0].startswith(f"accuracy {100 * numbers['accuracy']:.2f} %  ece {100 * numbers['ece']:.2f} %")
    start = next(at for at, line in enumerate(table) if line.startswith("OOD set"))
    rows = [line.split() for line in table[start + 1 : start + 9]]
    assert [row[:2] for row in rows] == [[s, d] for s in numbers["ood"] for d in numbers["ood"][s]]
    named = [line.split(":")[0] for line in table[start + 10 :]]
    assert named == list(OOD_METRICS)  # every column's unit and direction
    for set_name, detector, *values in rows:
        of_it = numbers["ood"][set_name][detector]
        assert values == [m.unit.text(of_it[name]) if name in of_it else MISSING for name, m in OOD_METRICS.items()]
        assert values[0] == f"{100 * of_it['auroc']:.2f}"


def test_the_numbers_follow_from_the_stored_outputs(finished: Finished) -> None:
    test, other = stored(finished, "test"), stored(finished, "photo_patches")
    assert finished.metrics["accuracy"] == (test.log_probs.argmax(1) == test.labels).mean()
    assert finished.metrics["nll"] == pytest.approx(-test.log_probs[np.arange(160), test.labels].mean())
    is_ood = np.arange(320) >= 160
    for detector, score in (("ood_score", lambda o: o.ood_score), ("msp", lambda o: msp(o, None))):  # type: ignore[arg-type]
        both = np.concatenate([score(test), score(other)])
        assert finished.metrics["ood"]["photo_patches"][detector]["auroc"] == pytest.approx(roc_auc_score(is_ood, both))


def test_validation_numbers_follow_from_the_held_out_images(finished: Finished) -> None:
    val, other = stored(finished, "val"), stored(finished, "val_ood")
    numbers = finished.metrics["validation"]
    assert set(numbers) == {*ID_METRICS, "calibration", "ood", "not_applicable", "of"}
    assert numbers["of"]["images"] == 40
    assert numbers["accuracy"] == (val.log_probs.argmax(1) == val.labels).mean()
    is_ood = np.arange(200) >= 40
    both = np.concatenate([val.ood_score, other.ood_score])
    assert numbers["ood"]["ood_score"]["auroc"] == pytest.approx(roc_auc_score(is_ood, both))


def test_every_resampled_number_has_an_interval(finished: Finished) -> None:
    numbers, resamples = finished.metrics, folder_of(finished).usable_resamples(finished.metrics)
    for set_name, scores in numbers["ood"].items():
        for detector, values in scores.items():
            known = numbers["intervals"]["ood"][set_name][detector]
            assert known.keys() == {name for name in values if OOD_METRICS[name].resampled}
            for metric, (low, high) in known.items():
                assert low <= values[metric] <= high
                assert low == pytest.approx(np.quantile(resamples[f"{set_name}/{detector}/{metric}"], 0.025))
    low, high = numbers["intervals"]["accuracy"]
    assert low < numbers["accuracy"] < high
    of_id = [name for name, metric in ID_METRICS.items() if metric.resampled]
    of_ood = [name for scores in numbers["intervals"]["ood"].values() for values in scores.values() for name in values]
    assert len(resamples) == len(of_id) + len(of_ood)


def test_the_history_is_a_line_an_epoch(finished: Finished) -> None:
    rows = list(csv.DictReader((finished.folder / "train.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert {"loss", "accuracy", "lr", "seconds", "images_per_second", "gamma", "r2", "p_abstain"} <= set(rows[0])


def test_stored_configuration_and_weights_give_the_outputs(finished: Finished) -> None:
    config = OmegaConf.create(yaml.safe_load((finished.folder / "config.yaml").read_text()))
    backbone = instantiate(config.backbone)
    objective: Objective = instantiate(config.loss, num_features=backbone.num_features, num_classes=8)
    model = Classifier(backbone, objective, list(config.dataset.mean), list(config.dataset.std), torch.float32)
    load_weights(model, load_arrays(finished.folder / "model.safetensors")[0])
    split = data_splits(digits("train"), digits("test"), {}, 8, Limits(400, 160, 40), noise()).train
    again = predict(model.objective, extract_features(model, split.images), split.labels)
    for ours, theirs in zip(again, stored(finished, "train"), strict=True):  # not augmented, in the set's order
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


# ---- a second start


def test_a_second_start_says_that_it_is_finished(again: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oodbench.experiment.run", never)
    assert started(*HALO, f"results_dir={again.results}").startswith("finished already")
    assert started(*HALO, "ood=[]", f"results_dir={again.results}").startswith("finished already")


def png(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(256, size=(48, 40, 3), dtype=np.uint8))


@pytest.fixture
def own_sets(tmp_path: Path) -> list[str]:
    """A parquet file and a folder of images, as overrides."""
    rows = []
    for seed in range(6):
        file = io.BytesIO()
        png(seed).save(file, "PNG")
        rows.append({"bytes": file.getvalue(), "path": None})
    column = pa.array(rows, pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    pq.write_table(pa.table({"image": column}), tmp_path / "mine.parquet")
    (tmp_path / "holiday" / "deep").mkdir(parents=True)
    for seed in range(4):
        png(seed).save(tmp_path / "holiday" / "deep" / f"{seed}.png")
    return [f"+ood.mine.path={tmp_path / 'mine.parquet'}", f"+ood.holiday.path={tmp_path / 'holiday'}"]


def test_sets_of_ones_own_are_added_to_a_finished_run(
    again: Finished, own_sets: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oodbench.experiment.fit", never)
    printed = started(*HALO, *own_sets, f"results_dir={again.results}")
    numbers = numbers_in(again.folder)
    assert set(numbers["ood"]) == {"unseen_digits", "photo_patches", "mine", "holiday"}
    assert (numbers["provenance"]["images"]["mine"], numbers["provenance"]["images"]["holiday"]) == (6, 4)
    assert {name: numbers["ood"][name] for name in again.metrics["ood"]} == again.metrics["ood"]
    assert len(stored(again, "mine").labels) == 6
    assert "mine" in printed
    only_new = started(*HALO, "ood=[photo_patches]", *own_sets, f"results_dir={again.results}")
    assert only_new.startswith("finished already")


def test_a_set_of_ones_own_under_another_name_replaces_the_first(
    again: Finished, own_sets: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oodbench.experiment.fit", never)
    started(*HALO, *own_sets, f"results_dir={again.results}")
    renamed = own_sets[1].replace("holiday.", "summer.")
    with pytest.warns(UserWarning, match="a set's name have changed: the numbers on holiday "):
        started(*HALO, renamed, f"results_dir={again.results}")
    assert set(numbers_in(again.folder)["ood"]) == {"unseen_digits", "photo_patches", "mine", "summer"}
    assert set(yaml.safe_load((again.folder / "config.yaml").read_text())["ood"]) == set(
        numbers_in(again.folder)["ood"]
    )


def test_a_finished_run_says_that_its_code_was_edited(again: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oodbench.runs.terminal.code_of", lambda config: {"loss": "edited", "backbone": "too"})
    printed = started(*HALO, f"results_dir={again.results}")
    assert printed.startswith("finished already (the code of its loss and backbone has changed since), force=true runs")


def test_a_finished_run_says_that_a_detector_was_edited(again: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oodbench.runs.terminal.detector_code", lambda detectors: {"msp": "edited"})
    printed = started(*HALO, f"results_dir={again.results}")
    assert printed.startswith(
        "finished already (the code of msp has changed since: scripts/evaluate.py scores the run again)"
    )


def test_a_finished_run_says_that_a_metric_was_edited(again: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oodbench.runs.terminal.metric_code", lambda: {"auroc": "edited"})
    printed = started(*HALO, f"results_dir={again.results}")
    assert printed.startswith("finished already (the code of auroc has changed since: scripts/evaluate.py scores")


def test_a_training_stops_where_its_code_was_edited(again: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    unfinished(again, "model.safetensors")
    monkeypatch.setattr("oodbench.build.code_of", lambda config: again.metrics["provenance"]["code"] | {"loss": "x"})
    with pytest.raises(ValueError, match=r"the code of the loss is not that with which .* was trained: restore it"):
        started(*HALO, f"results_dir={again.results}")


def test_no_set_passes_through_an_edited_network(again: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers of two networks would stand in one record."""
    forward = ResNet18.forward
    monkeypatch.setattr(ResNet18, "forward", lambda self, x: 2 * forward(self, x))
    before = (again.folder / "metrics.json").read_bytes()
    with pytest.raises(ValueError, match=r"the backbone gives other features than .*train.safetensors has"):
        started(*HALO, "ood=[unseen_digits,inverted_digits]", f"results_dir={again.results}")
    assert (again.folder / "metrics.json").read_bytes() == before
    assert not (again.folder / "outputs" / "inverted_digits.safetensors").exists()


def test_without_outputs_the_digest_of_the_code_decides(again: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(again.folder / "outputs")
    run = (*HALO, "ood=[unseen_digits,inverted_digits]", f"results_dir={again.results}")
    with monkeypatch.context() as patch:
        patch.setattr("oodbench.scoring.reuse.code_of", lambda config: {"loss": "same", "backbone": "edited"})
        with pytest.raises(ValueError, match="the code of the loss and backbone is not"):
            started(*run)
    assert "AUROC" in started(*run)


def test_other_images_of_a_set_are_predicted_again(
    again: Finished, own_sets: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oodbench.experiment.fit", never)
    started(*HALO, *own_sets, f"results_dir={again.results}")
    before = stored(again, "holiday")
    folder = Path(own_sets[1].split("=")[1])
    png(9).save(folder / "deep" / "0.png")
    unfinished(again)
    started(*HALO, *own_sets, f"results_dir={again.results}")
    assert not np.array_equal(stored(again, "holiday").features, before.features)


def test_a_lost_history_comes_from_the_checkpoint(again: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after the last epoch's checkpoint was written, and before anything else was."""
    unfinished(again, "model.safetensors", "training.json", "train.csv")
    shutil.rmtree(again.folder / "outputs")
    monkeypatch.setattr("oodbench.training.step.train_step", never)
    started(*HALO, f"results_dir={again.results}")
    numbers = numbers_in(again.folder)
    assert numbers["ood"] == again.metrics["ood"]
    assert numbers["weights"] == again.metrics["weights"]
    assert numbers["provenance"]["epochs"] == 2
    assert len((again.folder / "train.csv").read_text().splitlines()) == 3


def test_a_published_run_says_that_it_is_trained_again(again: Finished) -> None:
    shutil.rmtree(again.folder / "outputs")
    for file in (*again.folder.glob("*.pt"), again.folder / "model.safetensors"):
        file.unlink()
    said = f"weights are missing: {again.folder} is trained again"
    assert said not in started(*HALO, f"results_dir={again.results}")
    printed = started(*HALO, "ood=[unseen_digits,photo_patches,inverted_digits]", f"results_dir={again.results}")
    assert said in printed
    assert set(numbers_in(again.folder)["ood"]) == {"unseen_digits", "photo_patches", "inverted_digits"}


def test_a_gpu_is_free_while_the_run_is_scored(again: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    unfinished(again)
    shutil.rmtree(again.folder / "outputs")
    events: list[str] = []

    @contextmanager
    def devices(*asked: Any) -> Iterator[list[torch.device]]:
        events.append("taken")
        yield [torch.device("cpu")]
        events.append("free")

    def announced(name: str) -> Any:
        function = getattr(oodbench.scoring.trained, name)
        return lambda *arguments: events.append(name) or function(*arguments)

    monkeypatch.setattr("oodbench.experiment.acquire_devices", devices)
    for name in ("extract_features", "score"):
        monkeypatch.setattr(f"oodbench.scoring.trained.{name}", announced(name))
    started(*HALO, f"results_dir={again.results}")
    assert events == ["taken", *len(SETS) * ["extract_features"], "free", "score"]


# ---- damaged and foreign files


def assert_same_numbers(run: Finished) -> None:
    numbers = numbers_in(run.folder)
    parts = ("accuracy", "nll", "ood", "validation", "intervals", "weights")
    assert {key: numbers[key] for key in parts} == {key: run.metrics[key] for key in parts}


def flip(file: Path) -> bytes:
    """Flip a bit in the middle; return the whole file."""
    whole = file.read_bytes()
    at = len(whole) // 2
    file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    return whole


@pytest.mark.parametrize("name", ["model.safetensors", "training.json", "outputs/train.safetensors", "metrics.json"])
def test_a_file_with_a_flipped_bit_is_named_and_made_again(
    again: Finished, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = again.folder / name
    whole = flip(file)
    if name != "metrics.json":
        unfinished(again)
    monkeypatch.setattr("oodbench.training.step.train_step", never)
    with pytest.warns(UserWarning, match=rf"{re.escape(str(file))}.*(sha256|damaged)"):
        started(*HALO, f"results_dir={again.results}")
    assert file.read_bytes() == whole or not name.endswith("safetensors")
    assert_same_numbers(again)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Another seed of HALO's run."""
    return finish(tmp_path_factory.mktemp("other"), *HALO, "seed=4")


@pytest.mark.parametrize("name", ["model.safetensors", "training.json", "outputs/test.safetensors", "metrics.json"])
def test_a_file_of_another_run_is_named_and_made_again(
    again: Finished, other: Finished, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name != "metrics.json":
        unfinished(again)
    shutil.copy(other.folder / name, again.folder / name)
    monkeypatch.setattr("oodbench.training.step.train_step", never)
    with pytest.warns(UserWarning, match=rf"{name} belongs to run \w+/seed4, this folder to \w+/seed3"):
        started(*HALO, f"results_dir={again.results}")
    assert_same_numbers(again)


def test_a_copied_run_is_not_another_seeds(again: Finished, other: Finished) -> None:
    shutil.copytree(again.folder, again.folder.with_name("seed4"))
    with pytest.warns(UserWarning, match="belongs to run"):
        started(*HALO, "seed=4", f"results_dir={again.results}")
    numbers = numbers_in(again.folder.with_name("seed4"))
    assert numbers["weights"] == other.metrics["weights"] != again.metrics["weights"]
    assert numbers["ood"] == other.metrics["ood"]


def foreign(content: bytes) -> bytes:
    """Return a checkpoint with a valid checksum and this content."""
    return checkpoint.FORMAT + hashlib.sha256(content).digest() + content


def saved(value: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


class Evil:
    def __reduce__(self) -> Any:
        return pytest.fail, ("a checkpoint ran code",)


FOREIGN: dict[str, Any] = {
    "of another run": None,
    "object": saved(Evil()),
    "number": saved(5),
    "tensor": saved(torch.zeros(3)),
    "other keys": saved({"epoch": 3}),
    "other source": saved({"source": {"run": "x"}, "state": {}}),
    "no torch file": b"hello",
    "empty": b"",
}


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The epochs that are trained meanwhile, from 0 on."""
    epochs: list[int] = []

    def watched(seed: int, epoch: int, *rest: Any, **more: Any) -> Any:
        epochs.append(epoch)
        return sample_augmentation(seed, epoch, *rest, **more)

    monkeypatch.setattr("oodbench.training.batches.sample_augmentation", watched)
    return epochs


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_checkpoint_is_passed_over(again: Finished, other: Finished, kind: str) -> None:
    file, content = again.folder / "checkpoint.pt", FOREIGN[kind]
    source, _ = checkpoint.read_checkpoint(file)
    file.write_bytes((other.folder / "checkpoint.pt").read_bytes() if content is None else foreign(content))
    with pytest.warns(UserWarning, match=r"checkpoint not used: .*checkpoint\.pt"):
        state = checkpoint.load_checkpoint(file, source)[0]
    assert state is not None
    assert len(state.history) == 1  # of the one before


def test_a_run_goes_on_from_the_checkpoint_before(again: Finished, steps: list[int]) -> None:
    unfinished(again, "model.safetensors", "training.json")
    (again.folder / "checkpoint.pt").write_bytes(foreign(FOREIGN["object"]))
    with pytest.warns(UserWarning, match="checkpoint not used"):
        started(*HALO, f"results_dir={again.results}")
    assert steps == [1]
    assert_same_numbers(again)


def test_a_run_goes_on_in_its_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: list[int]) -> None:
    """On a machine for which `precision=auto` is another."""
    line = [*RUN, "recipe.epochs=2", "precision=auto"]
    monkeypatch.setattr("oodbench.training.device._cpu_has", lambda feature: True)
    before = finish(tmp_path, *line)
    unfinished(before, "model.safetensors", "training.json")
    (before.folder / "checkpoint.previous.pt").replace(before.folder / "checkpoint.pt")
    shutil.rmtree(before.folder / "outputs")
    monkeypatch.setattr("oodbench.training.device._cpu_has", lambda feature: False)
    assert "in bf16, as the training began, not in this machine's fp32" in started(*line, f"results_dir={tmp_path}")
    assert steps == [0, 1, 1]
    assert folder_of(before).read_training()["precision"] == "bf16"
    after = numbers_in(before.folder)
    assert all(after[key] == before.metrics[key] for key in ("weights", "nll", "ood", "intervals"))
    assert after["provenance"]["precision"] == "bf16"


def test_a_folder_in_the_checkpoints_place_is_one_line(again: Finished) -> None:
    unfinished(again, "model.safetensors", "training.json")
    (again.folder / "checkpoint.pt").unlink()
    (again.folder / "checkpoint.pt").mkdir()
    with pytest.raises(SystemExit, match=r"^not run: cannot write .*checkpoint\.pt: Is a directory[^\n]*$"):
        started(*HALO, f"results_dir={again.results}")


@pytest.mark.parametrize("name", ["metrics.json", "model.safetensors", "error.txt", "train.csv"])
def test_a_folder_in_a_files_place_is_one_line(again: Finished, name: str) -> None:
    file = again.folder / name
    unfinished(again, *({name} - {"metrics.json", "error.txt"}), *({"model.safetensors"} - {name}))
    file.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(SystemExit, match=rf"^not run: cannot write [^\n]*{name}: Is a directory[^\n]*$"):
            started(*HALO, f"results_dir={again.results}")
        file.rmdir()
        started(*HALO, f"results_dir={again.results}")
    assert_same_numbers(again)


def test_a_folder_in_the_locks_place_stops_nobody(again: Finished) -> None:
    unfinished(again)
    (again.folder / "lock.json").mkdir()
    started(*HALO, f"results_dir={again.results}")
    assert_same_numbers(again)


# ---- other training images


@contextmanager
def other_images() -> Iterator[None]:
    """The digits, as if somebody had replaced their files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("oodbench.data.digits", lambda split: digits(split)._replace(digest=f"{split} of others"))
        yield


@pytest.mark.parametrize("left", [("model.safetensors", "training.json"), ()], ids=["checkpoint", "training"])
def test_other_training_images_stop_a_run(again: Finished, left: tuple[str, ...]) -> None:
    unfinished(again, *left)
    before = {path: path.read_bytes() for path in again.folder.rglob("*") if path.is_file()}
    says = rf"digest train of oth.*{again.folder}.*digest {digits('train').digest[:12]}"
    with other_images(), pytest.raises(DataChangedError, match=says):
        started(*HALO, f"results_dir={again.results}")
    after = {path: path.read_bytes() for path in again.folder.rglob("*") if path.is_file()}
    assert {path.name for path in after.keys() - before.keys()} == {"error.txt"}
    assert all(after[path] == content for path, content in before.items() if path.name != "config.yaml")


def test_other_training_images_are_trained_on_by_force(again: Finished) -> None:
    unfinished(again)
    with other_images():
        started(*HALO, f"results_dir={again.results}", "force=true")
    assert numbers_in(again.folder)["provenance"]["train_digest"] == "train of others"


# ---- what stops a run


def test_force_with_a_missing_set_leaves_the_finished_run(again: Finished, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in again.folder.rglob("*") if path.is_file()}
    with pytest.raises(FileNotFoundError):
        started(*HALO, f"results_dir={again.results}", "force=true", f"+ood.gone.path={tmp_path / 'gone'}")
    after = {path: path.stat().st_mtime_ns for path in again.folder.rglob("*") if path.is_file()}
    assert {path.name for path in after.keys() - before.keys()} == {"error.txt"}
    assert all(after[path] == before[path] for path in before if path.name != ".lock")
    assert [state.state for state in states(again.results)] == ["done"]


@pytest.mark.parametrize(
    ("override", "error", "says"),
    [
        ("+ood.gone.path=/nowhere/gone.parquet", FileNotFoundError, "/nowhere/gone.parquet"),
        ("dataset.limit=3", ValueError, "limit of 3"),
    ],
)
def test_sets_that_cannot_be_used_leave_an_error_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, override: str, error: type[Exception], says: str
) -> None:
    monkeypatch.setattr("oodbench.experiment.fit", never)
    with pytest.raises(error, match=re.escape(says)):
        started(*LIMITED, "ood=[noise]", f"results_dir={tmp_path}", override)
    (folder,) = folders(tmp_path)
    assert [path.name for path in folder.iterdir() if not path.name.startswith(".")] == ["error.txt"]
    first = (folder / "error.txt").read_text().splitlines()[0]
    assert first.startswith(f"{error.__name__}: ")
    assert says in first
    (row,) = states(tmp_path)
    assert (row.state, row.note) == ("failed", first[:300])
    assert "failed" in table([row])


def test_an_unwritable_run_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "digits").touch()
    with pytest.raises(SystemExit, match=rf"^not run: cannot write {tmp_path}/runs/digits[^\n]*$"):
        started(*LIMITED, "loss=ce", "ood=[]", f"results_dir={tmp_path}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_after_the_last_step_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    config = resolve(composed(*RUN, f"results_dir={tmp_path}"))
    device = torch.device("cpu")
    model, provenance, recipe = build_model(config, device), build_provenance(config, device), build_recipe(config)
    job = Job(config, RunFolder.of(config), model, recipe, open_data(config), provenance)

    def fitted(*given: Any) -> list[dict[str, float]]:
        os.kill(os.getpid(), number)
        return [{"epoch": 1.0}] * recipe.epochs

    monkeypatch.setattr("oodbench.experiment.fit", fitted)
    with pytest.raises(SystemExit) as stopped:
        train_epochs(job, recipe, NO_LOG)
    assert stopped.value.code == 128 + number


@pytest.mark.parametrize(("restarts", "is_done", "kept"), [(0, False, False), (1, False, True), (1, True, False)])
def test_a_job_that_is_queued_again_goes_on_with_a_forced_run(
    again: Finished, monkeypatch: pytest.MonkeyPatch, restarts: int, is_done: bool, kept: bool
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_RESTART_COUNT", str(restarts))
    config = resolve(composed(*HALO, f"results_dir={again.results}", "force=true"))
    if not is_done:
        unfinished(again)
    device = torch.device("cpu")
    model, provenance = build_model(config, device), build_provenance(config, device)
    job = Job(config, RunFolder.of(config), model, build_recipe(config), open_data(config), provenance)
    remove_unused(job)
    assert job.folder.usable_record() is None
    assert (again.folder / "model.safetensors").exists() == kept


@pytest.mark.parametrize(("force", "count"), [("force=true", 2), ("force=false", 1)])
def test_a_run_that_trains_again_takes_all_devices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, force: str, count: int
) -> None:
    config = resolve(composed(*RUN, f"results_dir={tmp_path}", "devices=2", force))
    folder = RunFolder.of(config)
    folder.path.mkdir(parents=True)
    folder.weights.touch()
    asked: list[int] = []

    def devices(name: str, runs_per_gpu: int, count: int) -> Any:
        asked.append(count)
        raise ValueError("no device")

    monkeypatch.setattr("oodbench.experiment.acquire_devices", devices)
    with pytest.raises(ValueError, match="no device"):
        run(config)
    assert asked == [count]


# ---- a run in its surroundings


def test_a_sweep_runs_every_run_and_leaves_runs_only(tmp_path: Path) -> None:
    small = ("dataset.limit=40", "dataset.limit_test=40", "ood=[noise]", "loss=ce,halo")
    printed = started("-m", *LIMITED, *small, f"results_dir={tmp_path / 'über'}")
    assert [folder.parts[-3] for folder in folders(tmp_path / "über")] == ["ce", "halo"]
    assert all((folder / "metrics.json").is_file() for folder in folders(tmp_path / "über"))
    assert re.search(r"^\[1/2\] loss=ce; 2 to do\naccuracy \d.*; AUROC noise", printed, re.MULTILINE)
    assert re.search(r"^\[2/2\] loss=halo; 1 to do, about \d+ s, until \d\d:\d\d\n", printed, re.MULTILINE)
    caveat = r"The recipe is not the same in all runs: .*in `ce`; .*in `halo`\."
    assert re.search(rf"^loss +n .*\nce +1 .*\nhalo +1 .*\n{caveat}\n\n", printed, re.MULTILINE)
    assert printed.endswith("2 done, 0 running, 0 failed, 0 stopped\n")
    assert [path.name for path in (tmp_path / "über").iterdir()] == ["runs"]


@pytest.mark.parametrize("recipe", names("recipe"))
def test_halo_has_its_warm_up_and_clipping_in_every_recipe(recipe: str) -> None:
    config = composed("loss=halo", f"recipe={recipe}").recipe
    assert (config.warmup_epochs, config.clip_grad_norm) == (1, 1.0)
    assert composed("loss=halo", f"recipe={recipe}", "recipe.clip_grad_norm=null").recipe.clip_grad_norm is None


# ---- a custom set to learn


@pytest.fixture
def leaves(tmp_path: Path) -> Path:
    """A folder of images, 56x48, of three classes that differ in brightness."""
    random, folder = np.random.default_rng(0), tmp_path / "here/leaves"
    for split, count in (("train", 8), ("test", 4)):
        for level, kind in ((60, "ash"), (120, "elm"), (180, "old oak")):
            (folder / split / kind).mkdir(parents=True)
            for i in range(count):
                pixels = random.normal(level, 25, (56, 48, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / split / kind / f"{i}.png")
    return folder


OWN = ("dataset=folder", "dataset.size=40", "loss=ce", "recipe=smoke", "recipe.epochs=2", "recipe.batch_size=8")
OWN += ("backbone.width=16", "device=cpu", "precision=fp32")


def test_a_folder_of_ones_own_is_learnt_and_scored(leaves: Path, tmp_path: Path) -> None:
    run = finish(tmp_path / "results", *OWN, f"dataset.path={leaves}")
    assert run.folder.relative_to(run.results).parts[:2] == ("runs", "leaves")
    stated = yaml.safe_load((run.folder / "config.yaml").read_text())["dataset"]
    assert (stated["num_classes"], stated["size"], len(stated["mean"])) == (3, 40, 3)
    assert run.metrics["provenance"]["images"] == {"train": 24, "test": 12, "noise": 500}
    assert set(run.metrics["ood"]) == {"noise"}
    assert stored(run, "test").log_probs.shape == (12, 3)
    assert sorted(stored(run, "test").labels) == [0] * 4 + [1] * 4 + [2] * 4


STATED = ("dataset.num_classes=3", "dataset.mean=[0.5,0.5,0.5]", "dataset.std=[0.25,0.25,0.25]")


@pytest.mark.parametrize("stated", [(), STATED], ids=["measured", "stated"])
def test_a_set_at_another_path_is_looked_at(
    leaves: Path, tmp_path: Path, stated: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = finish(tmp_path / "results", *OWN, *stated, f"dataset.path={leaves}")
    monkeypatch.setattr("oodbench.experiment.train", never)

    def repeated(path: Path) -> str:
        return started(*OWN, *stated, f"dataset.path={path}", f"results_dir={run.results}")

    moved = leaves.rename(tmp_path / "leaves")
    assert "finished already" not in repeated(moved)
    assert numbers_in(run.folder)["provenance"]["digests"] == run.metrics["provenance"]["digests"]
    assert repeated(moved).startswith("finished already")
    other = shutil.copytree(moved, tmp_path / "there/leaves")
    shutil.copy(other / "test/elm/0.png", other / "test/ash/0.png")
    repeated(other)
    assert numbers_in(run.folder)["provenance"]["digests"]["test"] != run.metrics["provenance"]["digests"]["test"]
    ash, elm = other / "train/ash/0.png", other / "train/elm/0.png"  # if they change places, mean and deviation stay
    ash.rename(elm.rename(elm.with_name("new.png")).parent / "0.png")
    elm.with_name("new.png").rename(ash)
    other.parent.rename(tmp_path / "swapped")
    with pytest.raises((DataChangedError, SystemExit), match="made from images with digest"):
        repeated(tmp_path / "swapped/leaves")
    with pytest.raises((FileNotFoundError, SystemExit), match="nowhere"):
        repeated(tmp_path / "nowhere/leaves")


def test_parquet_files_of_ones_own_are_learnt(leaves: Path, tmp_path: Path) -> None:
    kinds = ("ash", "elm", "old oak")
    for split in ("train", "test"):
        files = [file for kind in kinds for file in sorted((leaves / split / kind).iterdir())]
        labels = [kinds.index(file.parent.name) for file in files]
        write_parquet(tmp_path / f"trees/{split}.parquet", [file.read_bytes() for file in files], {"label": labels})
    run = finish(tmp_path / "results", *OWN, "dataset=parquet", f"dataset.path={tmp_path}/trees", "recipe.epochs=1")
    assert run.folder.relative_to(run.results).parts[:2] == ("runs", "trees")
    assert stored(run, "test").log_probs.shape == (12, 3)


def test_the_name_of_another_set_is_refused(leaves: Path, tmp_path: Path) -> None:
    """Its runs would stand in the tables of that set."""
    with pytest.raises(SystemExit, match=r"name\.dataset=cifar10: another set has this name"):
        started(*OWN, f"dataset.path={leaves.rename(tmp_path / 'cifar10')}", f"results_dir={tmp_path}/results")
    assert not (tmp_path / "results").exists()


def test_other_classes_in_the_test_set_are_an_error(leaves: Path, tmp_path: Path) -> None:
    (leaves / "test/elm").rename(leaves / "test/alder")
    with pytest.raises(ValueError, match="different classes, only in train: elm; only in test: alder"):
        started(*OWN, f"dataset.path={leaves}", f"results_dir={tmp_path}/results")
