"""The command line, on the embedded digits: what a run leaves behind, and what happens when something goes wrong."""

import csv
import io
import json
import re
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from helpers.cli import HALO, LIMITED, command, folders, never, started
from helpers.config import composed, names
from hydra.errors import MissingConfigException
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image
from sklearn.metrics import roc_auc_score

from oodbench.data.digits import digits
from oodbench.data.split import balanced_subset
from oodbench.detectors.logits import msp
from oodbench.evaluation import metrics
from oodbench.losses.objective import Objective
from oodbench.model import Classifier, extract_features, predict
from oodbench.outputs import Outputs, load_outputs
from oodbench.runs.folder import Run
from oodbench.runs.status import states, table
from oodbench.training import device
from oodbench.training.checkpoint import load_weights


class Finished(NamedTuple):
    results: Path
    folder: Path
    stdout: str
    metrics: dict[str, Any]


@pytest.fixture(autouse=True, scope="module")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OODBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """One run, started as a user starts it; nobody writes to it."""
    results = tmp_path_factory.mktemp("results")
    shell = subprocess.run(command(*HALO, f"results_dir={results}"), capture_output=True, text=True, check=False)
    assert shell.returncode == 0, shell.stderr
    (folder,) = folders(results)
    return Finished(results, folder, shell.stdout, json.loads((folder / "metrics.json").read_text()))


@pytest.fixture
def again(finished: Finished, tmp_path: Path) -> Finished:
    """A copy of the finished run, to do things to."""
    results = tmp_path / "results"
    shutil.copytree(finished.results, results)
    return finished._replace(results=results, folder=results / finished.folder.relative_to(finished.results))


def stored(run: Finished, name: str) -> Outputs:
    outputs = load_outputs(run.folder / f"outputs/{name}.safetensors")
    assert outputs is not None
    return outputs


def test_the_folder_holds_what_the_documentation_says(finished: Finished) -> None:
    relative = finished.folder.relative_to(finished.results)
    assert re.fullmatch(r"runs/digits/resnet18/halo/smoke-[0-9a-f]{8}/seed3", str(relative))
    files = {str(path.relative_to(finished.folder)) for path in finished.folder.rglob("*") if path.is_file()}
    outputs = {f"outputs/{name}.safetensors" for name in ("train", "test", "unseen_digits", "noise")}
    top = {"config.yaml", "train.csv", "checkpoint.pt", "checkpoint.previous.pt", "model.safetensors"}
    top |= {"training.json", "metrics.json", "resamples.safetensors"}
    assert {file for file in files if not file.startswith(".")} == top | outputs
    assert [path.name for path in finished.results.iterdir()] == ["runs"]


def test_metrics_json_is_laid_out_as_documented(finished: Finished) -> None:
    numbers = finished.metrics
    parts = {"accuracy", "ece", "nll", "brier", "calibration", "ood", "intervals", "not_applicable", "provenance"}
    assert set(numbers) == parts | {"config_hash", "resamples", "sha256"}
    assert set(numbers["ood"]) == {"unseen_digits", "noise"}
    for scores in numbers["ood"].values():
        assert set(scores) == {"ood_score", "msp", "maxlogit", "energy"}
        for values in scores.values():
            assert set(values) == {"auroc", "fpr95_idpos", "fpr95_oodpos", "aupr_in", "aupr_out"}
            assert all(isinstance(value, float) and 0 <= value <= 1 for value in values.values())
    assert all(isinstance(numbers[name], float) for name in ("accuracy", "ece", "nll", "brier"))


def test_the_provenance_says_where_the_numbers_come_from(finished: Finished) -> None:
    facts = finished.metrics["provenance"]
    assert {"python", "torch", "torchvision", "numpy", "oodbench", "hydra-core"} <= set(facts["versions"])
    assert facts["git_commit"] is None or re.fullmatch(r"[0-9a-f]{40}\+?", facts["git_commit"])
    assert (facts["seed"], facts["device"], facts["precision"], facts["epochs"]) == (3, "cpu", "fp32", 2)
    assert facts["wall_time_s"] > 0
    assert facts["images_per_second"] == pytest.approx(800 / facts["wall_time_s"], rel=1e-3)
    assert facts["images"] == {"train": 400, "test": 160, "unseen_digits": 160, "noise": 160}


def test_the_last_things_printed_are_the_table_and_the_folder(finished: Finished) -> None:
    *table, blank, folder = finished.stdout.rstrip("\n").split("\n")
    assert (blank, folder) == ("", str(finished.folder))
    numbers = finished.metrics
    assert table[0].startswith(f"accuracy {100 * numbers['accuracy']:.2f} %  ece {100 * numbers['ece']:.2f} %")
    rows = [line.split() for line in table[-8:]]
    assert [row[:2] for row in rows] == [[s, d] for s in numbers["ood"] for d in numbers["ood"][s]]
    for set_name, detector, *values in rows:
        expected = numbers["ood"][set_name][detector]
        assert values == [f"{100 * expected[name]:.2f}" for name in table[-9].split()[3:]]


def test_the_numbers_follow_from_the_stored_outputs(finished: Finished) -> None:
    test, noise = stored(finished, "test"), stored(finished, "noise")
    correct = test.log_probs.argmax(1) == test.labels
    assert finished.metrics["accuracy"] == correct.mean()
    assert finished.metrics["ece"] == metrics.ece(np.exp(test.log_probs).max(1), correct)
    is_ood = np.arange(320) >= 160
    for detector, score in (("ood_score", lambda o: o.ood_score), ("msp", lambda o: msp(o, None))):  # type: ignore[arg-type]
        both = np.concatenate([score(test), score(noise)])
        assert finished.metrics["ood"]["noise"][detector]["auroc"] == pytest.approx(roc_auc_score(is_ood, both))


def test_every_number_has_an_interval_and_its_resamples(finished: Finished) -> None:
    numbers, run = finished.metrics, Run(yaml.safe_load((finished.folder / "config.yaml").read_text()))
    resamples = run.resamples()
    for set_name, scores in numbers["ood"].items():
        for detector, values in scores.items():
            for metric, value in values.items():
                low, high = numbers["intervals"]["ood"][set_name][detector][metric]
                assert low <= value <= high
                assert low == pytest.approx(np.quantile(resamples[f"{set_name}/{detector}/{metric}"], 0.025))
    low, high = numbers["intervals"]["accuracy"]
    assert low < numbers["accuracy"] < high
    assert len(resamples) == 4 + 2 * 4 * 5


def test_the_history_is_a_line_an_epoch(finished: Finished) -> None:
    rows = list(csv.DictReader((finished.folder / "train.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert {"loss", "accuracy", "lr", "seconds", "images_per_second", "gamma", "r2", "p_abstain"} <= set(rows[0])


def test_the_stored_configuration_and_weights_give_the_stored_outputs(finished: Finished) -> None:
    config = OmegaConf.create(yaml.safe_load((finished.folder / "config.yaml").read_text()))
    backbone = instantiate(config.backbone)
    objective: Objective = instantiate(config.loss, num_features=backbone.num_features, num_classes=8)
    model = Classifier(backbone, objective, list(config.dataset.mean), list(config.dataset.std), torch.float32)
    load_weights(finished.folder / "model.safetensors", model)
    split, outputs = balanced_subset(digits("train"), 400, 8), stored(finished, "train")
    again = predict(model.objective, extract_features(model, split.images), split.labels)
    for ours, theirs in zip(again, outputs, strict=True):  # not augmented, in the set's order
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_a_second_start_says_that_it_is_finished_and_does_not_wait_for_torch(finished: Finished) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.folder.rglob("*")}
    start = [sys.executable, "-X", "importtime", *command(*HALO, f"results_dir={finished.results}")[1:]]
    shell = subprocess.run(start, capture_output=True, text=True, check=True)
    assert shell.stdout.startswith("finished already")
    assert str(finished.folder) in shell.stdout
    imported = {line.split("|")[-1].strip() for line in shell.stderr.splitlines()}
    assert "hydra" in imported
    assert not {"torch", "torchvision", "sklearn", "wandb"} & imported
    assert before == {path: path.stat().st_mtime_ns for path in finished.folder.rglob("*")}


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


def test_sets_of_ones_own_are_added_to_a_finished_run_without_training(
    again: Finished, own_sets: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oodbench.training.loop.fit", never)
    printed = started(*HALO, f"results_dir={again.results}", *own_sets)
    numbers = json.loads((again.folder / "metrics.json").read_text())
    assert set(numbers["ood"]) == {"unseen_digits", "noise", "mine", "holiday"}
    assert numbers["provenance"]["images"]["mine"] == 6
    assert numbers["provenance"]["images"]["holiday"] == 4
    assert {name: numbers["ood"][name] for name in again.metrics["ood"]} == again.metrics["ood"]
    assert len(stored(again, "mine").labels) == 6
    assert "mine" in printed
    only_new = started(*HALO[:-1], "ood=[noise]", *own_sets, f"results_dir={again.results}")
    assert only_new.startswith("finished already")


def test_a_run_that_lost_its_last_lines_of_history_gets_them_from_its_checkpoint(again: Finished) -> None:
    """Killed after the last epoch's checkpoint was written, and before anything else was."""
    for path in ("metrics.json", "model.safetensors", "training.json", "train.csv"):
        (again.folder / path).unlink()
    shutil.rmtree(again.folder / "outputs")
    started(*HALO, f"results_dir={again.results}")
    numbers = json.loads((again.folder / "metrics.json").read_text())
    assert numbers["ood"] == again.metrics["ood"]
    assert numbers["provenance"]["epochs"] == 2
    assert len((again.folder / "train.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize("name", ["model.safetensors", "training.json", "outputs/train.safetensors", "metrics.json"])
def test_a_file_with_a_flipped_bit_is_named_and_made_again(again: Finished, name: str) -> None:
    file = again.folder / name
    whole = file.read_bytes()
    (again.folder / "metrics.json").unlink() if name != "metrics.json" else None
    at = len(whole) // 2
    file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    with pytest.warns(UserWarning, match=rf"{re.escape(str(file))}.*(sha256|damaged)"):
        started(*HALO, f"results_dir={again.results}")
    assert file.read_bytes() == whole if name.endswith("safetensors") else True
    numbers = json.loads((again.folder / "metrics.json").read_text())
    assert {key: numbers[key] for key in ("accuracy", "nll", "ood")} == {
        key: again.metrics[key] for key in ("accuracy", "nll", "ood")
    }


def test_force_with_a_missing_set_leaves_the_finished_run_as_it_is(again: Finished, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in again.folder.rglob("*") if path.is_file()}
    with pytest.raises(FileNotFoundError):
        started(*HALO, f"results_dir={again.results}", "force=true", f"+ood.gone.path={tmp_path / 'gone'}")
    after = {path: path.stat().st_mtime_ns for path in again.folder.rglob("*") if path.is_file()}
    assert {path.name for path in after.keys() - before.keys()} == {"error.txt"}
    assert all(after[path] == before[path] for path in before if path.name != ".claim.lock")
    assert [state.state for state in states(again.results)] == ["done"]


def test_a_run_needs_no_ood_set(again: Finished) -> None:
    assert started(*HALO[:-1], "ood=[]", f"results_dir={again.results}").startswith("finished already")


@pytest.mark.parametrize(
    ("overrides", "error", "says"),
    [
        (["ood=[noise,parquet]"], Exception, "ood.parquet.path"),
        (["loss=hallo"], MissingConfigException, "loss/hallo"),
        (["experiment=smal"], MissingConfigException, "experiment/smal"),
        (["loss=focal", "loss.gama=1"], SystemExit, "loss has no gama; did you mean loss.gamma? there is gamma"),
        (["lr=1"], SystemExit, "no lr; did you mean recipe.optimizer.lr?"),
        (["+lr=1"], SystemExit, "no lr"),
        (["+recipe.warmup=3"], SystemExit, "recipe has no warmup; did you mean recipe.warmup_epochs?"),
        (["recipe.epoch=3"], SystemExit, "did you mean recipe.epochs?"),
        (["recipe.epochs=1.5"], SystemExit, "a whole number is needed; the default is 1"),
        (["recipe.flip=maybe"], SystemExit, "true or false is needed"),
        (["recipe.optimizer=adam"], SystemExit, "a group of keys is needed"),
        (["recipe.optimizer.lr=fast"], SystemExit, "a number is needed; the default is 0.1"),
        (["+recipe.optimizer.betta=1"], Exception, "betta"),
        (["compile=fast"], SystemExit, 'there is false, true, "reduce-overhead", "max-autotune"'),
        (["compile=1"], SystemExit, "there is false, true"),
        (["threads=many"], SystemExit, "threads=many"),
        (["wandb.mod=offline"], SystemExit, "did you mean wandb.mode?"),
        (["+detector.msp.temperature=3"], ValueError, "temperature=3"),
        (["detector.msp._target_=oodbench.detectors.mps"], Exception, "mps"),
        (["seed=abc"], SystemExit, "seed=abc: a whole number is needed"),
        (["seed=-1"], ValueError, "seed=-1"),
        (["seed=1.5"], SystemExit, "seed=1.5"),
        (["loss=ce,halo", "seed=0,abc", "--multirun"], SystemExit, "seed=abc"),
        (["loss=ce,logitnorm", "loss.tau=0.1,0.2", "--multirun"], SystemExit, "loss.tau=0.1: loss has no tau"),
        (["device=tpu"], ValueError, "device=tpu"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_named_before_training_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: list[str], error: type[Exception], says: str
) -> None:
    monkeypatch.setattr("oodbench.training.loop.fit", never)
    with pytest.raises(error, match=re.escape(says)):
        started(*LIMITED, "ood=[noise]", f"results_dir={tmp_path / 'results'}", *overrides)
    assert folders(tmp_path / "results") == []


@pytest.mark.parametrize(
    ("override", "error", "says"),
    [
        ("+ood.gone.path=/nowhere/gone.parquet", FileNotFoundError, "/nowhere/gone.parquet"),
        ("+ood.test._target_=oodbench.data.noise", ValueError, "called test"),
        ("dataset.limit=3", ValueError, "limit of 3"),
    ],
)
def test_sets_that_cannot_be_used_stop_a_run_before_training_and_leave_a_traceback_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, override: str, error: type[Exception], says: str
) -> None:
    monkeypatch.setattr("oodbench.training.loop.fit", never)
    with pytest.raises(error, match=re.escape(says)):
        started(*LIMITED, "ood=[noise]", f"results_dir={tmp_path}", override)
    (folder,) = folders(tmp_path)
    assert [path.name for path in folder.iterdir() if not path.name.startswith(".")] == ["error.txt"]
    assert says in (folder / "error.txt").read_text()
    assert "failed" in table(states(tmp_path))


def test_a_sweep_into_a_folder_that_takes_no_files_says_so_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "results").touch()
    for arguments in (LIMITED, ("-m", *LIMITED, "loss=ce,halo")):
        with pytest.raises(SystemExit, match=rf"^[^\n]*cannot write {tmp_path}/results/[^\n]*$"):
            started(*arguments, f"results_dir={tmp_path / 'results'}")


def test_a_dry_run_of_a_sweep_names_every_cell_and_makes_no_folder(finished: Finished, tmp_path: Path) -> None:
    printed = started("-m", *HALO, "seed=3,4", "dry_run=true", f"results_dir={finished.results}").splitlines()
    assert [line.split()[0] for line in printed] == ["finished", "to"]
    assert started("-m", *HALO, "seed=3,4", "dry_run=true", f"results_dir={tmp_path / 'new'}").count("to do") == 2
    assert not (tmp_path / "new").exists()


def test_threads_of_one_run_are_not_those_of_the_next_in_the_process(tmp_path: Path) -> None:
    for seed, threads in ((0, 2), (1, "null")):
        started(*LIMITED, "loss=ce", "ood=[]", f"seed={seed}", f"threads={threads}", f"results_dir={tmp_path}")
    recorded = [json.loads((folder / "training.json").read_text())["threads"] for folder in folders(tmp_path)]
    assert recorded == [2, device.THREADS]


def test_what_hyperparameters_are_chosen_by_is_named_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oodbench.training.loop.fit", never)
    run = (*LIMITED, "loss=ce", "validation.images=40", f"results_dir={tmp_path}")
    with pytest.raises(ValueError, match=r"validation\.objective=ood\.msp\.aurok: there is accuracy, ece"):
        started(*run, "validation.objective=ood.msp.aurok")
    with pytest.raises(ValueError, match=r"validation\.objective=ood\.knn\.auroc: .*ood_score, msp"):
        started(*run, "validation.objective=ood.knn.auroc")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="the OOD set noise is reported, so nothing may be chosen on it"):
        started(*run, "ood=[noise]")


def test_another_objective_is_read_from_the_finished_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = (*LIMITED, "loss=ce", "validation.images=40", "ood=[]", f"results_dir={tmp_path}")
    started(*run)
    (folder,) = folders(tmp_path)
    numbers = json.loads((folder / "metrics.json").read_text())
    parts = {"accuracy", "ece", "nll", "brier", "calibration", "ood", "not_applicable", "of"}
    assert set(numbers["validation"]) == parts
    assert numbers["validation"]["of"]["images"] == 40
    assert numbers["provenance"]["images"] == {"train": 400, "test": 160, "val": 40, "val_ood": 160}
    monkeypatch.setattr("oodbench.training.loop.fit", never)
    assert started(*run, "validation.objective=nll").startswith("finished already")


def test_a_dry_run_says_what_is_to_do_and_does_nothing(finished: Finished, tmp_path: Path) -> None:
    assert started(*HALO, f"results_dir={finished.results}", "dry_run=true").split() == [
        "finished",
        str(finished.folder),
    ]
    assert started(*HALO, f"results_dir={tmp_path}", "dry_run=true").startswith("to do")
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_runs_every_cell_and_leaves_runs_only(tmp_path: Path) -> None:
    sweep = ("-m", *LIMITED, "ood=[noise]", "loss=ce,halo", f"results_dir={tmp_path}")
    printed = started(*sweep)
    assert [folder.parts[-3] for folder in folders(tmp_path)] == ["ce", "halo"]
    assert all((folder / "metrics.json").is_file() for folder in folders(tmp_path))
    assert all(str(folder) in printed for folder in folders(tmp_path))
    assert started(*sweep).count("finished already") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_a_killed_run_goes_on_to_the_weights_of_one_that_was_not(tmp_path: Path) -> None:
    run = (*LIMITED, "loss=circle", "loss.variant=pairwise_global", "recipe.epochs=8", "ood=[noise]")
    killed, straight = tmp_path / "killed", tmp_path / "straight"
    process = subprocess.Popen(command(*run, f"results_dir={killed}"), stdout=subprocess.DEVNULL)
    try:
        while not list(killed.glob("runs/*/*/*/*/*/train.csv")):
            assert process.poll() is None, "ended before its first epoch did"
            time.sleep(0.005)
    finally:
        process.kill()
        process.wait()
    (folder,) = folders(killed)
    assert not (folder / "model.safetensors").exists()

    shown: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        from oodbench import fit

        draw = fit.draw
        patch.setattr(fit, "draw", lambda seed, epoch, *rest: shown.append(epoch) or draw(seed, epoch, *rest))
        started(*run, f"results_dir={killed}")
        resumed = list(shown)
        started(*run, f"results_dir={straight}")
    assert resumed in [list(range(first, 8)) for first in range(1, 8)]
    (other,) = folders(straight)
    assert (folder / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()
    numbers, expected = (json.loads((f / "metrics.json").read_text()) for f in (folder, other))
    assert numbers["ood"] == expected["ood"]
    assert numbers["provenance"]["epochs"] == 8


def wandb_records(path: Path) -> Iterator[Any]:
    """Of an offline run's file: a 7-byte header, then a LevelDB log of protocol buffers in blocks of 32 KiB."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, parts = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        size, kind = struct.unpack_from("<HB", data, at + 4)
        parts += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # whole, or the last part
            record = Record()
            record.ParseFromString(parts)
            yield record
            parts = b""


def test_wandb_offline_logs_configuration_epochs_and_final_numbers(tmp_path: Path, finished: Finished) -> None:
    started(*HALO, f"results_dir={tmp_path}", "wandb.mode=offline")
    (folder,) = folders(tmp_path)
    assert (folder / "model.safetensors").read_bytes() == (finished.folder / "model.safetensors").read_bytes()
    (file,) = folder.rglob("*.wandb")
    records = list(wandb_records(file))
    (run,) = [record.run for record in records if record.HasField("run")]
    assert (run.project, run.run_group) == ("oodbench", "digits/halo")
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert config["loss"]["variant"] == "published"
    assert config["seed"] == 3
    lines = [
        {item.key or ".".join(item.nested_key): item.value_json for item in record.history.item}
        for record in records
        if record.HasField("history")
    ]
    epochs = [line for line in lines if "loss" in line]
    rows = list(csv.DictReader((folder / "train.csv").open()))
    assert [float(line["loss"]) for line in epochs] == [pytest.approx(float(row["loss"]), rel=1e-5) for row in rows]
    assert {"accuracy", "gamma", "r2", "p_abstain", "lr"} <= epochs[0].keys()
    assert "ood" in json.dumps(lines[-1])
    assert f"{finished.metrics['ood']['noise']['ood_score']['auroc']:.6f}"[:7] in json.dumps(lines[-1])


@pytest.mark.parametrize("name", names("experiment"))
@pytest.mark.parametrize("loss", ["ce", "halo"])  # halo asks for a recipe of its own
def test_every_experiment_composes(name: str, loss: str) -> None:
    cfg = composed(f"experiment={name}", f"loss={loss}")
    config: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    assert config["name"]["loss"] == loss
    assert config["ood"]


@pytest.mark.parametrize("recipe", names("recipe"))
def test_halo_has_its_warm_up_and_clipping_in_every_recipe_unless_told_otherwise(recipe: str) -> None:
    config = composed("loss=halo", f"recipe={recipe}").recipe
    assert (config.warmup_epochs, config.clip_grad_norm) == (1, 1.0)
    assert composed("loss=halo", f"recipe={recipe}", "recipe.clip_grad_norm=null").recipe.clip_grad_norm is None


def test_a_machine_without_git_has_no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert device.git_commit() is None


def test_a_precision_that_is_none_is_refused_by_name() -> None:
    cpu = torch.device("cpu")
    assert device.pick_precision("bf16", cpu) == torch.bfloat16
    assert device.pick_precision("fp32", cpu) == torch.float32
    assert device.pick_precision("auto", cpu) in (torch.bfloat16, torch.float32)
    with pytest.raises(ValueError, match="precision=fp8"):
        device.pick_precision("fp8", cpu)
