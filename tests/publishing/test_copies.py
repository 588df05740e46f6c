"""Copies of finished runs that a repository can hold."""

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from helpers.config import ROOT
from helpers.made_up import add_run, alter_metrics

from oodbench.publishing.copies import in_rows, portable, portable_config, publish, publish_all
from oodbench.runs.folder import open_run
from oodbench.runs.identity import config_hash
from oodbench.runs.status import states
from oodbench.scoring.stored import stored_on
from oodbench.storage import save_arrays, write_json
from oodbench.tables.comparison import compare_runs, load_side, pairs_of
from oodbench.tables.load import load_run, load_runs, needs_resamples
from oodbench.tables.write import write_matrix, write_tables

PUBLISHED = ROOT / "results" / "published.yaml"


def keep(detector: str, metric: str) -> bool:
    return needs_resamples(["ood_score", "msp"], detector, metric)


def noise(seed: int) -> Any:
    return np.random.default_rng(seed).normal(0, 0.003, 1000)


def add_trained(results: Path, loss: str = "plain", seed: int = 0, **more: Any) -> Path:
    """A finished run with the files of its training."""
    more.setdefault("noise", noise(seed + len(loss)))
    path = add_run(results, loss, seed, **more)
    alter_metrics(path, lambda content: content.update(weights="abc"))
    folder, _ = open_run(path)
    write_json(folder.training, {"run": str(folder.run), "weights": "abc", "train_digest": "d"})
    folder.write_history([{"epoch": 1, "loss": 0.5}])
    return path


def several(results: Path) -> None:
    """Two losses with three seeds, one with one, whose numbers are so near that tests decide what is marked."""
    for i, loss in enumerate(("a", "bb", "ccc")):
        for seed in range(3 if i < 2 else 1):
            near = 0.001 * i + 0.0005 * seed
            ood = {"svhn": {"ood_score": 0.9 - near, "msp": 0.9 - 2 * near, "knn": 0.91}, "mnist": {"msp": 0.8}}
            add_trained(results, loss, seed, accuracy=0.93 + near, ood=ood, noise=noise(10 * i + seed))


def tables(results: Path) -> dict[str, bytes]:
    runs = load_runs(results).runs
    for fpr in ("idpos", "oodpos"):
        write_tables(results, runs, PUBLISHED, fpr, ["ood_score", "msp"])
        write_matrix(results, runs, fpr, ["ood_score", "msp"])
    return {file.name: file.read_bytes() for file in results.iterdir() if file.is_file()}


def test_tables_of_published_runs_are_the_same_to_the_letter(tmp_path: Path) -> None:
    several(tmp_path / "full")
    for path in (tmp_path / "full").glob("runs/*/*/*/*/seed*"):
        publish(path, tmp_path / "small", keep)
    full, small = tables(tmp_path / "full"), tables(tmp_path / "small")
    assert full.keys() >= {"runs.csv", "means.csv", "cifar10.md", "cifar10.oodpos.tex", "cifar10.matrix.md"}
    assert full == small


def test_comparisons_of_published_runs_are_the_same(tmp_path: Path) -> None:
    found = []
    a, b = add_trained(tmp_path / "full", "a", accuracy=0.91), add_trained(tmp_path / "full", "bb")
    for folders in ((a, b), [publish(path, tmp_path / "small", keep) for path in (a, b)]):
        first, second = map(load_side, folders)
        found.append(compare_runs(pairs_of(first, second), "msp", "msp"))
    full, small = (
        [(line.ood, line.metric, line.difference, line.test, line.adjusted) for line in some] for some in found
    )
    assert full == small
    untested = {metric for _, metric, _, test, _ in full if not test}
    assert untested == {"aupr_in", "aupr_out"}


def test_a_published_run_has_the_small_files_alone(tmp_path: Path) -> None:
    path = add_trained(tmp_path / "full")
    (path / "outputs").mkdir()
    (path / "model.safetensors").write_bytes(b"weights")
    copy = publish(path, tmp_path / "small", keep)
    assert copy == tmp_path / "small" / path.relative_to(tmp_path / "full")
    names = {"config.yaml", "metrics.json", "resamples-made-up.reduced.safetensors", "train.csv", "training.json"}
    assert {file.name for file in copy.iterdir()} == names
    assert (copy / "train.csv").read_bytes() == (path / "train.csv").read_bytes()
    assert load_run(copy).numbers == load_run(path).numbers
    assert [(state.state, state.epochs_done) for state in states(tmp_path / "small")] == [("done", 1)]


def test_publishing_again_leaves_nothing_behind(tmp_path: Path) -> None:
    path = add_trained(tmp_path / "full")
    copy = publish(path, tmp_path / "small", keep)
    before = {file.name: file.read_bytes() for file in copy.iterdir()}
    (copy / "resamples-older.reduced.safetensors").write_bytes(b"of a record before")
    publish(path, tmp_path / "small", keep)
    assert {file.name: file.read_bytes() for file in copy.iterdir()} == before


def test_rows_are_the_same_json() -> None:
    content = {"a": 0.1, "ood": {"x": {"msp": {"auroc": 0.5, "é": [1, 2.5e-300]}}, "y": {}}, "none": None, "e": {}}
    text = in_rows(content)
    assert json.loads(text) == content
    assert ' "msp": {"auroc": 0.5, "\\u00e9": [1, 2.5e-300]}\n' in text


def test_a_data_root_that_is_here_changes_no_text() -> None:
    config = {"data_root": ".", "precision": "bf16", "ood": {"own": {"path": "own/test.parquet"}}}
    assert portable_config(config) == config | {"results_dir": "results"}


def test_paths_in_the_working_directory_are_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = {"data_root": "/data", "ood": {"own": {"path": f"{tmp_path}/leaves"}, "svhn": {"root": "/data"}}}
    assert portable_config(config)["ood"] == {"own": {"path": "leaves"}, "svhn": {"root": "data"}}
    here = str(tmp_path)
    config = {"data_root": here, "ood": {"svhn": {"root": here}}, "note": f"{here} is my folder"}
    assert portable_config(config) == config | {
        "data_root": "data",
        "ood": {"svhn": {"root": "data"}},
        "results_dir": "results",
    }
    monkeypatch.chdir("/")
    config = {"data_root": "/data", "ood": {"own": {"path": "/mnt/leaves"}}}
    assert portable_config(config)["ood"] == {"own": {"path": "/mnt/leaves"}}


def test_a_set_named_like_the_data_root_keeps_its_name() -> None:
    assert portable({"near": ["svhn"], "path": "svhn/a"}, [(Path("svhn"), "data")]) == {
        "near": ["svhn"],
        "path": "data/a",
    }


def test_paths_of_the_machine_do_not_get_out() -> None:
    config = {
        "results_dir": "/scratch/me",
        "data_root": "/home/me/data",
        "dataset": {"train": {"root": "/home/me/data"}, "path": "/home/me/data/own", "limit": None},
        "ood": {"svhn_sample": {"path": "/home/me/data/svhn_sample/test.parquet"}, "other": {"path": "/home/me/data2"}},
        "weights": ["/home/me/data/w.ckpt"],
    }
    assert portable_config(config) == {
        "results_dir": "results",
        "data_root": "data",
        "dataset": {"train": {"root": "data"}, "path": "data/own", "limit": None},
        "ood": {"svhn_sample": {"path": "data/svhn_sample/test.parquet"}, "other": {"path": "/home/me/data2"}},
        "weights": ["data/w.ckpt"],
    }


def test_the_published_configuration_is_of_the_same_run(tmp_path: Path) -> None:
    root = {"train": {"root": "/home/me/data"}}
    path = add_trained(tmp_path / "full", config={"dataset": root})
    config = yaml.safe_load((path / "config.yaml").read_text()) | {"data_root": "/home/me/data"}
    (path / "config.yaml").write_text(yaml.safe_dump(config))
    alter_metrics(path, lambda content: content["provenance"].update(ood={"x": {"path": "/home/me/data/x"}}))
    copy = publish(path, tmp_path / "small", keep)
    assert config_hash(yaml.safe_load((copy / "config.yaml").read_text())) == config_hash(config)
    assert not any(b"/home/me" in file.read_bytes() for file in copy.iterdir())
    assert open_run(copy)[0].read_record()["provenance"]["ood"] == {"x": {"path": "data/x"}}


def other_weights(path: Path) -> None:
    alter_metrics(path, lambda content: content.update(weights="xyz"))


def other_history(path: Path) -> None:
    (path / "train.csv").write_text("run,epoch\n00000000/seed0,1\n")


def other_resamples(path: Path) -> None:
    (file,) = path.glob("resamples*")
    save_arrays(file, {"accuracy": np.zeros(9)}, run=str(open_run(path)[0].run), numbers="others")


def edited_numbers(path: Path) -> None:
    file = path / "metrics.json"
    file.write_text(file.read_text().replace("0.05", "0.06"))


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (other_weights, "is of other weights"),
        (other_history, "train.csv belongs to run 00000000/seed0"),
        (other_resamples, "holds the resamples of other numbers"),
        (edited_numbers, "was altered"),
        (lambda path: (path / "training.json").unlink(), "training.json is missing"),
        (lambda path: (path / "config.yaml").write_text("seed: 1"), "is not the configuration of a run"),
    ],
)
def test_what_does_not_belong_together_is_not_published(
    tmp_path: Path, damage: Callable[[Path], Any], complaint: str
) -> None:
    path = add_trained(tmp_path / "full")
    damage(path)
    with pytest.raises(ValueError, match=complaint):
        publish(path, tmp_path / "small", keep)
    assert not list((tmp_path / "small").rglob("metrics.json"))


def test_a_run_with_weights_is_not_overwritten(tmp_path: Path) -> None:
    path = add_trained(tmp_path)
    (path / "model.safetensors").write_bytes(b"weights")
    with pytest.raises(ValueError, match="publish below another folder"):
        publish(path, tmp_path, keep)
    assert (path / "resamples-made-up.safetensors").exists()


def test_damaged_reduced_resamples_are_named(tmp_path: Path) -> None:
    copy = publish(add_trained(tmp_path / "full"), tmp_path / "small", keep)
    (file,) = copy.glob("resamples*")
    run, numbers = str(open_run(copy)[0].run), "made up"
    save_arrays(file, {"accuracy": np.zeros(9)}, run=run, numbers=numbers)
    with pytest.raises(ValueError, match=f"{file.name} is damaged: not what reduced resamples look like"):
        load_run(copy)
    save_arrays(file, {"accuracy": np.zeros(9)}, run="another", numbers=numbers)
    with pytest.raises(ValueError, match="belongs to run another"):
        load_run(copy)


def test_evaluation_says_that_a_published_run_has_no_outputs(tmp_path: Path) -> None:
    copy = publish(add_trained(tmp_path / "full"), tmp_path / "small", keep)
    folder, _ = open_run(copy)
    folder.remove_stale()
    assert list(copy.glob("resamples*"))
    with pytest.raises(ValueError, match=r"test\.safetensors is missing, as in every run that is published without"):
        stored_on(folder, "test", {})


def test_the_script_publishes_and_names_what_it_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main = runpy.run_path(str(ROOT / "scripts" / "publish.py"))["main"]
    add_trained(tmp_path / "full")
    add_run(tmp_path / "full", "unfinished", finished=False)
    arguments = ["publish.py", f"results_dir={tmp_path / 'full'}", "--target", str(tmp_path / "small")]
    monkeypatch.setattr("sys.argv", arguments)
    main()
    assert "published 1 run below" in capsys.readouterr().out
    bad = add_trained(tmp_path / "full", "bad")
    (bad / "metrics.json").write_text("{")
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert str(bad) in capsys.readouterr().err
    assert [run.loss for run in load_runs(tmp_path / "small").runs] == ["plain"]


def test_a_run_that_cannot_be_published_stops_no_other(tmp_path: Path) -> None:
    good, bad = add_trained(tmp_path / "full"), add_trained(tmp_path / "full", "bad")
    (bad / "metrics.json").write_text("{")
    copies, failed = publish_all([bad, good], tmp_path / "small", keep)
    assert [run.loss for run in load_runs(tmp_path / "small").runs] == ["plain"]
    assert len(copies) == 1
    assert (copies[0] / "README.md").is_file()
    assert list(failed) == [bad]
    assert "metrics.json" in failed[bad]
