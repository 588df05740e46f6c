"""Networks trained elsewhere: a file of their outputs, or of their weights, becomes a run like any other."""

import contextlib
import hashlib
import io
import json
import pickle
import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import yaml
from helpers.config import ROOT, composed
from omegaconf import OmegaConf
from safetensors.numpy import save_file
from torch import Tensor

from oodbench.outputs import load_outputs
from oodbench.pretrained.external import load_external
from oodbench.runs.folder import Run, config_hash
from oodbench.runs.status import states, table
from oodbench.scoring import rescore
from oodbench.storage import load_arrays
from oodbench.tables import load_runs, tables_of

SMALL = ("dataset=digits", "backbone.width=4", "device=cpu", "precision=fp32", "dataset.limit=400")
SMALL += ("dataset.limit_test=160", "loss=ce", "ood=[unseen_digits,noise]")
SETS = ("train", "test", "unseen_digits", "noise")
Arrays = dict[str, Any]


def started(script: str, *arguments: Any) -> str:
    """What the command prints; in this process, so that an error arrives as it was raised."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.MonkeyPatch.context() as patch:
        patch.setenv("HYDRA_FULL_ERROR", "1")
        patch.syspath_prepend(str((ROOT / script).parent))
        patch.setattr(sys, "argv", [str(ROOT / script), *map(str, arguments)])
        runpy.run_path(str(ROOT / script), run_name="__main__")
    return printed.getvalue()


class Own(NamedTuple):
    """A network that was trained here."""

    folder: Path
    metrics: dict[str, Any]
    weights: dict[str, Tensor]
    arrays: Arrays  # its outputs, as somebody else's script would write them


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Own:
    results = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OODBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        started("train.py", *SMALL, "recipe=smoke", "recipe.epochs=2", f"results_dir={results}")
    (folder,) = results.glob("runs/*/*/*/*/seed*")
    weights, _ = load_arrays(folder / "model.safetensors")
    arrays: Arrays = {f"head/{part}": weights[f"objective.head.{part}"] for part in ("weight", "bias")}
    for name in SETS:
        outputs = load_outputs(folder / f"outputs/{name}.safetensors")
        assert outputs is not None
        arrays |= {f"{name}/{part}": getattr(outputs, part) for part in ("features", "logits", "labels")}
    tensors = {name: torch.from_numpy(array) for name, array in weights.items()}
    tensors |= {name: w.reshape(()) for name, w in tensors.items() if name.endswith("num_batches_tracked")}
    return Own(folder, json.loads((folder / "metrics.json").read_text()), tensors, arrays)


def without_head(arrays: Arrays) -> Arrays:
    return {name: array for name, array in arrays.items() if not name.startswith("head/")}


def imported(arrays: Arrays, tmp_path: Path, *arguments: Any, suffix: str = ".npz") -> Path:
    """The run's folder."""
    file = tmp_path / f"outputs{suffix}"
    np.savez(file, **arrays) if suffix == ".npz" else save_file(arrays, file)
    given = ("--name", "mine", "--dataset", "digits", "--results-dir", tmp_path / "results")
    return Path(started("scripts/import_run.py", file, *given, *arguments).rstrip().rpartition("\n")[2])


def numbers_in(folder: Path) -> dict[str, Any]:
    numbers: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return numbers


# ---- a file of outputs


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_outputs_of_an_own_network_get_its_numbers_to_the_bit(own: Own, tmp_path: Path, suffix: str) -> None:
    folder = imported(own.arrays, tmp_path, suffix=suffix)
    numbers = numbers_in(folder)
    for part in ("accuracy", "ece", "nll", "brier", "ood", "intervals", "calibration"):
        assert numbers[part] == own.metrics[part]
    for name in SETS:
        ours, theirs = (load_outputs(at / f"outputs/{name}.safetensors") for at in (own.folder, folder))
        assert ours is not None
        assert theirs is not None
        for expected, array in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(expected, array)


def test_the_folder_says_where_it_is_from_and_what_is_not_known(own: Own, tmp_path: Path) -> None:
    folder = imported(own.arrays, tmp_path, "--seed", 2)
    assert re.fullmatch(
        r"runs/digits/elsewhere/mine/elsewhere-[0-9a-f]{8}/seed2", str(folder.relative_to(tmp_path / "results"))
    )
    files = {str(path.relative_to(folder)) for path in folder.rglob("[!.]*") if path.is_file()}
    top = {"config.yaml", "training.json", "model.safetensors", "resamples.safetensors", "metrics.json"}
    assert files == top | {f"outputs/{name}.safetensors" for name in SETS}
    facts = numbers_in(folder)["provenance"]
    digest = hashlib.sha256((tmp_path / "outputs.npz").read_bytes()).hexdigest()
    assert facts["trained_elsewhere"] == {"file": "outputs.npz", "sha256": digest}
    assert (facts["precision"], facts["seed"], facts["near"]) == ("unknown", 2, ["unseen_digits"])
    assert not {"epochs", "wall_time_s", "threads"} & facts.keys()


def test_other_code_takes_it_for_a_run_like_any_other(own: Own, tmp_path: Path) -> None:
    folder = imported(own.arrays, tmp_path)
    results = tmp_path / "results"
    imported(own.arrays, tmp_path, "--seed", 1)
    assert [state.state for state in states(results)] == ["done", "done"]
    assert "done" in table(states(results))
    knn = OmegaConf.to_container(composed("detector=[knn,vim]").detector)
    assert rescore(folder, knn).keys() >= {"ood"}  # type: ignore[arg-type]
    assert numbers_in(folder)["ood"]["noise"].keys() == {"ood_score", "msp", "maxlogit", "energy", "knn", "vim"}
    runs, unfinished = load_runs(results)
    (shown, *_) = tables_of(runs, [], "idpos", ["ood_score"])
    assert unfinished == 0
    assert "epochs unknown" in shown.title
    assert [row[:3] for row in shown.rows] == [["mine", "ood_score", "2"]]  # one row over both seeds
    assert any("Trained elsewhere." in note for note in shown.notes)


def test_without_a_head_detectors_that_need_it_do_not_apply(own: Own, tmp_path: Path) -> None:
    numbers = numbers_in(imported(without_head(own.arrays), tmp_path, "detector=[ood_score,knn,react,vim]"))
    assert numbers["ood"]["noise"].keys() == {"ood_score", "knn"}
    assert numbers["not_applicable"].keys() == {"react", "vim"}
    assert "without one" in numbers["not_applicable"]["react"]


def test_wider_and_narrower_numbers_and_missing_ood_labels_are_taken(own: Own, tmp_path: Path) -> None:
    arrays = {name: array for name, array in own.arrays.items() if name != "noise/labels"}
    arrays |= {"test/labels": own.arrays["test/labels"].astype("u1")}
    arrays |= {"noise/logits": own.arrays["noise/logits"].astype("f8")}
    arrays |= {"noise/features": own.arrays["noise/features"].astype("f8")}
    assert numbers_in(imported(arrays, tmp_path))["ood"] == own.metrics["ood"]
    half = {name: array.astype("f2") for name, array in own.arrays.items() if name.endswith("logits")}
    np.savez(tmp_path / "half.npz", **(own.arrays | half))
    assert load_external(tmp_path / "half.npz").sets["test"].log_probs.dtype == np.float64


def with_nan(array: Any) -> Any:
    array = array.copy()
    array[3, 1] = np.nan
    return array


MISTAKES: list[tuple[str, Callable[[Arrays], Arrays], str]] = [
    ("missing", lambda a: {k: v for k, v in a.items() if k != "test/logits"}, "has no test/logits; there is head/bias"),
    ("unlabelled", lambda a: {k: v for k, v in a.items() if k != "train/labels"}, "has no train/labels"),
    ("half a head", lambda a: {k: v for k, v in a.items() if k != "head/bias"}, "has no head/bias"),
    ("rows", lambda a: a | {"noise/logits": a["noise/logits"][:-1]}, "noise/logits has shape (159, 8), by the other"),
    ("columns", lambda a: a | {"noise/features": a["noise/features"][:, 1:]}, "noise/features has shape (160, 31)"),
    ("vector", lambda a: a | {"test/features": a["test/features"][0]}, "test/features, float32 of shape (32,): a matr"),
    ("empty", lambda a: a | {"noise/features": a["noise/features"][:0]}, "noise/features, float32 of shape (0, 32)"),
    ("whole", lambda a: a | {"test/logits": a["test/logits"].astype(int)}, "test/logits, int64 of shape (160, 8): flo"),
    (
        "nan",
        lambda a: a | {"noise/features": with_nan(a["noise/features"])},
        "noise/features, float32 of shape (160, 3",
    ),
    (
        "big",
        lambda a: a | {"noise/features": a["noise/features"].astype("f8") + 1e300},
        "160, 32): 5120 values are NaN, infinite or",
    ),
    ("class", lambda a: a | {"test/labels": a["test/labels"] + 1}, "outside the 8 classes 0..7"),
    ("real", lambda a: a | {"test/labels": a["test/labels"] + 0.5}, "test/labels, float64 of shape (160,): integers"),
    ("few", lambda a: a | {"train/labels": 0 * a["train/labels"]}, "train/labels: 7 of 8 classes have no image"),
    ("taken", lambda a: a | {"val/features": a["test/features"]}, "a set cannot be called val"),
    ("other", lambda a: a | {"noise/pixels": a["test/labels"]}, "noise/pixels is none of <set>/{features,logits,labe"),
    ("place", lambda a: a | {"../up/features": a["test/features"]}, "../up/features is none of"),
    ("head", lambda a: a | {"head/weight": a["head/weight"][1:]}, "head/weight has shape (7, 32), by the train set it"),
    ("off", lambda a: a | {"head/bias": a["head/bias"] + 0.5}, "is not train/logits: off by 0.5, allowed is"),
]


@pytest.mark.parametrize(("spoilt", "says"), [case[1:] for case in MISTAKES], ids=[case[0] for case in MISTAKES])
def test_a_mistake_names_file_and_array_and_leaves_nothing(
    own: Own, tmp_path: Path, spoilt: Callable[[Arrays], Arrays], says: str
) -> None:
    with pytest.raises(SystemExit, match=rf"outputs\.npz.*{re.escape(says)}"):
        imported(spoilt(own.arrays), tmp_path)
    assert not (tmp_path / "results").exists()


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{"test/features": np.array([object()])})
    with pytest.raises(ValueError, match=r"a\.npz cannot be read: Object arrays cannot be loaded"):
        load_external(tmp_path / "a.npz")
    for name in ("b.npz", "b.safetensors"):
        (tmp_path / name).write_bytes(b"PK nothing")
        with pytest.raises(ValueError, match=f"{name} cannot be read"):
            load_external(tmp_path / name)
    with pytest.raises(ValueError, match=r"c\.pt is neither \.npz nor \.safetensors"):
        load_external(tmp_path / "c.pt")


def test_what_is_there_is_replaced_by_force_alone(own: Own, tmp_path: Path) -> None:
    folder = imported(own.arrays, tmp_path)
    before = numbers_in(folder)
    other = own.arrays | {"test/labels": own.arrays["test/logits"].argmax(1)}
    with pytest.raises(SystemExit, match="is there already: choose another name or seed, or --force"):
        imported(other, tmp_path)
    assert numbers_in(folder) == before
    imported(other, tmp_path, "--force")
    assert numbers_in(folder)["accuracy"] == 1 > before["accuracy"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--near", "svhn"], r"near \['svhn'\]: the OOD sets of the file are noise, unseen_digits"),
        (["--dataset", "cifar100"], "has 8 logits an image, cifar100 100 classes"),
        (["--name", "../up"], r"name '\.\./up'"),
        (["--dataset", "a/b"], "dataset 'a/b'"),
    ],
)
def test_names_are_checked(own: Own, tmp_path: Path, arguments: list[str], says: str) -> None:
    with pytest.raises(SystemExit, match=says):
        imported(own.arrays, tmp_path, *arguments)
    assert not (tmp_path / "results").exists()


def test_a_set_that_this_project_does_not_know_can_be_learnt(own: Own, tmp_path: Path) -> None:
    folder = imported(own.arrays, tmp_path, "--dataset", "birds", "--near", "noise")
    assert folder.parts[-5] == "birds"
    assert numbers_in(folder)["provenance"]["near"] == ["noise"]


# ---- a file of weights


def in_the_benchmarks_layout(weights: dict[str, Tensor], prefix: str = "", shortcut: str = "shortcut") -> Any:
    theirs = {name.replace("objective.head.", "fc.").replace("backbone.", ""): w for name, w in weights.items()}
    return {prefix + name.replace("shortcut", shortcut): w for name, w in theirs.items()}


@pytest.fixture
def collected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """The folder of a run of weights from files."""
    monkeypatch.setenv("OODBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("oodbench.training.loop.fit", lambda *args, **kwargs: pytest.fail("trained"))

    def collect(*stored: Any, overrides: tuple[str, ...] = ()) -> Path:
        files = [tmp_path / f"s{seed}.ckpt" for seed in range(len(stored))]
        for file, content in zip(files, stored, strict=True):
            torch.save(content, file)
        names = ",".join(map(str, files))
        printed = started("train.py", *SMALL, f"weights=[{names}]", f"results_dir={tmp_path / 'results'}", *overrides)
        return Path(printed.rstrip().rpartition("\n")[2])

    return collect


@pytest.mark.parametrize(
    ("prefix", "shortcut", "nested"),
    [("", "shortcut", None), ("module.", "downsample", "state_dict"), ("", "downsample", "net")],
)
def test_weights_in_the_benchmarks_layout_give_the_same_outputs_to_the_bit(
    own: Own, collected: Callable[..., Path], prefix: str, shortcut: str, nested: str | None
) -> None:
    weights = in_the_benchmarks_layout(own.weights, prefix, shortcut)
    folder = collected({nested: weights, "epoch": 100} if nested else weights)
    for name in SETS:
        ours, theirs = (load_outputs(at / f"outputs/{name}.safetensors") for at in (own.folder, folder))
        assert ours is not None
        assert theirs is not None
        for expected, array in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(expected, array)
    numbers = numbers_in(folder)
    assert numbers["ood"] == own.metrics["ood"]
    assert numbers["provenance"]["trained_elsewhere"]["file"] == "s0.ckpt"
    assert "epochs" not in numbers["provenance"]
    assert re.fullmatch("elsewhere-[0-9a-f]{8}", folder.parts[-2])


def test_the_weights_decide_the_folder_and_seeds_share_a_row(
    own: Own, collected: Callable[..., Path], tmp_path: Path
) -> None:
    first = in_the_benchmarks_layout(own.weights)
    second = first | {"fc.bias": first["fc.bias"] + 0.1}
    at = [collected(first, second, overrides=(f"seed={seed}",)) for seed in (0, 1)]
    alone = collected(second)
    assert at[0].parent == at[1].parent != alone.parent
    assert numbers_in(alone)["nll"] == numbers_in(at[1])["nll"] != numbers_in(at[0])["nll"]
    runs, _ = load_runs(tmp_path / "results")
    (shown, *_) = tables_of(runs, [], "idpos", ["ood_score"])
    assert sorted(row[2] for row in shown.rows) == ["1", "2"]
    assert [state.state for state in states(tmp_path / "results")] == ["done"] * 3
    detector: Any = OmegaConf.to_container(composed("detector=[vim]").detector)
    for file in tmp_path.glob("s*.ckpt"):
        file.unlink()  # a finished run needs them no more
    assert "vim" in rescore(alone, detector)["ood"]["noise"]


def test_another_ood_set_is_added_to_collected_weights(own: Own, collected: Callable[..., Path]) -> None:
    weights = in_the_benchmarks_layout(own.weights)
    folder = collected(weights, overrides=("ood=[noise]",))
    assert numbers_in(folder)["ood"].keys() == {"noise"}
    assert collected(weights) == folder
    assert numbers_in(folder)["ood"] == own.metrics["ood"]


def less(weights: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key: value for key, value in weights.items() if key != name}


@pytest.mark.parametrize(
    ("spoilt", "says"),
    [
        (lambda w: less(w, "layer1.0.conv1.weight"), "has no layer1.0.conv1.weight"),
        (lambda w: w | {"fc2.bias": w["fc.bias"]}, "has fc2.bias, which the network does not"),
        (lambda w: w | {"fc.bias": w["fc.bias"][1:]}, "fc.bias has shape (7,), the network's (8,)"),
        (lambda w: w | {"fc.bias": w["fc.bias"] * np.nan}, "fc.bias is not finite"),
        (lambda w: w | {"epoch": 3}, "holds epoch, no tensors; weights may lie under state_dict, net, model"),
        (lambda w: [1.0], "holds a list and no weights"),
        (lambda w: {"net": Path("x")}, "no file of weights that can be read safely"),
    ],
)
def test_weights_of_another_network_are_refused_key_by_key(
    own: Own, collected: Callable[..., Path], spoilt: Callable[[Any], Any], says: str
) -> None:
    with pytest.raises(ValueError, match=rf"(?s)s0\.ckpt.*{re.escape(says)}"):
        collected(spoilt(in_the_benchmarks_layout(own.weights)))


def test_a_seed_has_a_file_and_nothing_is_held_out(own: Own, collected: Callable[..., Path]) -> None:
    weights = in_the_benchmarks_layout(own.weights)
    with pytest.raises(ValueError, match=r"seed=1: weights names 1 file"):
        collected(weights, overrides=("seed=1",))
    with pytest.raises(ValueError, match=r"validation\.images must be 0"):
        collected(weights, overrides=("validation.images=80",))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_pickle_is_not_run(tmp_path: Path, collected: Callable[..., Path], own: Own) -> None:
    class Harm:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "harmed",)

    with pytest.raises(ValueError, match="read safely"):
        collected({"net": Harm()})
    (tmp_path / "s0.ckpt").write_bytes(pickle.dumps(Harm()))
    with pytest.raises(ValueError, match="read safely"):
        started("train.py", *SMALL, f"weights=[{tmp_path / 's0.ckpt'}]", f"results_dir={tmp_path / 'results'}")
    assert not (tmp_path / "harmed").exists()


def test_without_weights_the_hash_is_what_it_was(own: Own) -> None:
    config = yaml.safe_load((own.folder / "config.yaml").read_text())
    assert config["weights"] == []
    del config["weights"]
    assert Run(config).hash == config_hash(config) == numbers_in(own.folder)["config_hash"]
