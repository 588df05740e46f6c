"""Pretrained weights: files in the public benchmark's layout, or of a run here, become a run like any other."""

import pickle
import re
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from helpers.cli import CE, Finished, folders, never, numbers_in, started
from helpers.config import composed
from omegaconf import OmegaConf
from safetensors.torch import save_file
from torch import Tensor

from oodbench.outputs import Outputs
from oodbench.pretrained.weights import openood_name, our_name
from oodbench.runs.folder import open_run
from oodbench.runs.status import states
from oodbench.scoring.rescore import rescore
from oodbench.storage import load_arrays

SETS = ("train", "test", "unseen_digits", "noise")
RUN = tuple(override for override in CE if not override.startswith("recipe.epochs"))


@pytest.fixture(scope="module")
def weights(finished_ce: Finished) -> dict[str, Tensor]:
    """The weights of a run here, by its own names."""
    arrays, _ = load_arrays(finished_ce.folder / "model.safetensors")
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def in_benchmarks_layout(weights: dict[str, Tensor], prefix: str = "", shortcut: str = "shortcut") -> dict[str, Tensor]:
    theirs = {name.replace("objective.head.", "fc.").replace("backbone.", ""): w for name, w in weights.items()}
    return {prefix + name.replace("shortcut", shortcut): w for name, w in theirs.items()}


def stored(folder: Path, name: str) -> Outputs:
    outputs = open_run(folder)[0].read_outputs(name)
    assert outputs is not None
    return outputs


@pytest.fixture
def collected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """The folder of a run of weights from files, a file a seed."""
    monkeypatch.setattr("oodbench.experiment.fit", never)

    def collect(*contents: Any, overrides: tuple[str, ...] = ()) -> Path:
        files = [tmp_path / f"s{seed}.ckpt" for seed in range(len(contents))]
        for file, content in zip(files, contents, strict=True):
            torch.save(content, file)
        return from_files(*files, overrides=overrides)

    def from_files(*files: Path, overrides: tuple[str, ...] = ()) -> Path:
        given = f"weights=[{','.join(map(str, files))}]", f"results_dir={tmp_path / 'results'}"
        return Path(started(*RUN, *given, *overrides).rstrip().rpartition("\n")[2])

    collect.from_files = from_files  # type: ignore[attr-defined]
    return collect


def assert_same_outputs(finished: Finished, folder: Path) -> None:
    for name in SETS:
        for expected, array in zip(stored(finished.folder, name), stored(folder, name), strict=True):
            np.testing.assert_array_equal(expected, array)
    assert numbers_in(folder)["ood"] == finished.metrics["ood"]


@pytest.mark.parametrize(
    ("prefix", "shortcut", "nested"),
    [("", "shortcut", None), ("module.", "downsample", "state_dict"), ("", "downsample", "net")],
)
def test_the_benchmarks_layout_gives_the_same_bits(
    finished_ce: Finished,
    weights: dict[str, Tensor],
    collected: Callable[..., Path],
    prefix: str,
    shortcut: str,
    nested: str | None,
) -> None:
    theirs = in_benchmarks_layout(weights, prefix, shortcut)
    folder = collected({nested: theirs, "epoch": 100} if nested else theirs)
    assert_same_outputs(finished_ce, folder)
    facts = numbers_in(folder)["provenance"]
    assert facts["pretrained"]["file"] == "s0.ckpt"
    assert "epochs" not in facts
    assert re.fullmatch("pretrained-[0-9a-f]{8}", folder.parts[-2])


def test_a_runs_own_weights_are_read(finished_ce: Finished, collected: Any) -> None:
    folder = collected.from_files(finished_ce.folder / "model.safetensors")
    assert_same_outputs(finished_ce, folder)
    assert folder != finished_ce.folder
    assert numbers_in(folder)["provenance"]["pretrained"]["file"] == "model.safetensors"


def test_a_runs_own_weights_need_its_mean(finished_ce: Finished, collected: Any) -> None:
    """A file of weights has none, so that nothing else would tell."""
    with pytest.raises(
        ValueError, match=r"was trained with dataset\.mean=.* \(here \[0\.1, 0\.1, 0\.1\]\): set the same"
    ):
        collected.from_files(finished_ce.folder / "model.safetensors", overrides=("dataset.mean=[0.1,0.1,0.1]",))


@pytest.mark.parametrize(
    ("theirs", "here", "told"),
    [
        ({"_target_": "oodbench.losses.T2FNorm", "tau": 0.5}, ("loss=t2fnorm",), "loss.tau=0.5 (here 0.1)"),
        ({"_target_": "oodbench.losses.T2FNorm", "tau": 0.5}, ("loss=t2fnorm", "loss.tau=0.5"), ""),
        ({"_target_": "oodbench.losses.CrossEntropy", "label_smoothing": 0.3}, ("loss=ce",), ""),
    ],
)
def test_settings_that_outputs_depend_on_have_to_agree(
    theirs: dict[str, Any], here: tuple[str, ...], told: str, finished_ce: Finished, collected: Any, tmp_path: Path
) -> None:
    """Weights of a T2FNorm have the names and shapes of a CE; label smoothing is of the training alone."""
    copy = tmp_path / "model.safetensors"
    copy.write_bytes((finished_ce.folder / "model.safetensors").read_bytes())
    config = yaml.safe_load((finished_ce.folder / "config.yaml").read_text("utf-8")) | {"loss": theirs}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config), "utf-8")
    with pytest.raises(ValueError, match=re.escape(told)) if told else nullcontext():
        collected.from_files(copy, overrides=here)


def test_weights_beside_another_configuration_are_read(finished_ce: Finished, collected: Any, tmp_path: Path) -> None:
    copy = tmp_path / "model.safetensors"
    copy.write_bytes((finished_ce.folder / "model.safetensors").read_bytes())
    (tmp_path / "config.yaml").write_text("model: resnet18\n")
    assert_same_outputs(finished_ce, collected.from_files(copy))


def test_a_runs_own_weights_with_a_flipped_bit_are_refused(
    finished_ce: Finished, collected: Any, tmp_path: Path
) -> None:
    whole = (finished_ce.folder / "model.safetensors").read_bytes()
    file = tmp_path / "mine.safetensors"
    file.write_bytes(whole[:-40] + bytes([whole[-40] ^ 1]) + whole[-39:])
    with pytest.raises(ValueError, match=r"mine\.safetensors is damaged: its sha256 does not agree"):
        collected.from_files(file)


def test_an_export_without_a_checksum_is_read(
    finished_ce: Finished, weights: dict[str, Tensor], collected: Any, tmp_path: Path
) -> None:
    file = tmp_path / "exported.safetensors"
    save_file(in_benchmarks_layout(weights), file)
    assert_same_outputs(finished_ce, collected.from_files(file))


def test_batch_norms_counter_may_be_a_vector(
    finished_ce: Finished, weights: dict[str, Tensor], collected: Callable[..., Path]
) -> None:
    counters = {name: w.reshape(1) for name, w in weights.items() if name.endswith("num_batches_tracked")}
    assert counters
    assert_same_outputs(finished_ce, collected(in_benchmarks_layout(weights | counters)))


def test_weights_of_a_run_are_stored_in_the_networks_shapes(weights: dict[str, Tensor]) -> None:
    """So that an export is one line of torch: load_state_dict of what the file holds."""
    assert {w.shape for name, w in weights.items() if name.endswith("num_batches_tracked")} == {torch.Size([])}


def test_weights_decide_the_folder_and_seeds_share_it(
    weights: dict[str, Tensor], collected: Callable[..., Path], tmp_path: Path
) -> None:
    first = in_benchmarks_layout(weights)
    second = first | {"fc.bias": first["fc.bias"] + 0.1}
    at = [collected(first, second, overrides=(f"seed={seed}",)) for seed in (0, 1)]
    alone = collected(second)
    assert at[0].parent == at[1].parent != alone.parent
    assert numbers_in(alone)["nll"] == numbers_in(at[1])["nll"] != numbers_in(at[0])["nll"]
    assert [state.state for state in states(tmp_path / "results")] == ["done"] * 3
    more: Any = OmegaConf.to_container(composed("detector=[vim]", "image_detector=[odin]"), resolve=True)
    for file in tmp_path.glob("s*.ckpt"):
        file.unlink()  # a finished run needs them no more
    record = rescore(alone, more["detector"], more["image_detector"])
    assert {"vim", "odin"} <= record["ood"]["noise"].keys()


def test_another_ood_set_is_added_to_pretrained_weights(
    finished_ce: Finished, weights: dict[str, Tensor], collected: Callable[..., Path]
) -> None:
    theirs = in_benchmarks_layout(weights)
    folder = collected(theirs, overrides=("ood=[noise]",))
    assert numbers_in(folder)["ood"].keys() == {"noise"}
    assert collected(theirs) == folder
    assert numbers_in(folder)["ood"] == finished_ce.metrics["ood"]


def less(weights: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key: value for key, value in weights.items() if key != name}


@pytest.mark.parametrize(
    ("spoilt", "says"),
    [
        (lambda w: less(w, "layer1.0.conv1.weight"), "has no layer1.0.conv1.weight"),
        (lambda w: w | {"fc2.bias": w["fc.bias"]}, "has fc2.bias, which the network does not"),
        (lambda w: w | {"fc.bias": w["fc.bias"][1:]}, "fc.bias has shape (7,), the network's (8,)"),
        (lambda w: w | {"fc.bias": w["fc.bias"][:, None]}, "fc.bias has shape (8, 1), the network's (8,)"),
        (lambda w: w | {"fc.bias": w["fc.bias"] * np.nan}, "fc.bias is not finite"),
        (lambda w: w | {"epoch": 3}, "holds epoch, no tensors; weights may lie under state_dict, net, model"),
        (lambda w: [1.0], "holds a list and no weights"),
        (lambda w: {"net": Path("x")}, "is no file of tensors alone; save the network's state_dict() to it"),
    ],
)
def test_weights_of_another_network_are_refused_key_by_key(
    weights: dict[str, Tensor], collected: Callable[..., Path], spoilt: Callable[[Any], Any], says: str
) -> None:
    with pytest.raises(ValueError, match=rf"(?s)s0\.ckpt.*{re.escape(says)}") as error:
        collected(spoilt(in_benchmarks_layout(weights)))
    assert "weights_only" not in str(error.value)


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors"])
@pytest.mark.parametrize("content", [b"", b"PK nothing", b"\x80\x02", b"\xff" * 99], ids=range(4))
def test_a_file_that_holds_no_weights_is_named(collected: Any, tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name} is no file of tensors alone"):
        collected.from_files(tmp_path / name)


def test_a_seed_has_a_file_and_nothing_is_held_out(
    weights: dict[str, Tensor], collected: Callable[..., Path], tmp_path: Path
) -> None:
    theirs = in_benchmarks_layout(weights)
    with pytest.raises(SystemExit, match=r"^train\.py: seed=1: weights names 1 file"):
        collected(theirs, overrides=("seed=1",))
    with pytest.raises(SystemExit, match=r"^train\.py: .*validation\.images must be 0"):
        collected(theirs, overrides=("validation.images=80",))
    assert folders(tmp_path / "results") == []


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_pickle_is_not_run(tmp_path: Path, collected: Any) -> None:
    class Harm:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "harmed",)

    with pytest.raises(ValueError, match="tensors alone"):
        collected({"net": Harm()})
    (tmp_path / "s0.ckpt").write_bytes(pickle.dumps(Harm()))
    with pytest.raises(ValueError, match="tensors alone"):
        collected.from_files(tmp_path / "s0.ckpt")
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize(
    ("theirs", "mine", "shown"),
    [
        ("module.layer2.0.downsample.0.weight", "backbone.layer2.0.shortcut.0.weight", "layer2.0.shortcut.0.weight"),
        ("layer3.5.downsample.1.bias", "backbone.layer3.5.shortcut.1.bias", "layer3.5.shortcut.1.bias"),
        ("block2.layer.0.bn1.weight", "backbone.block2.0.bn1.weight", "block2.layer.0.bn1.weight"),
        (
            "block2.layer.0.convShortcut.weight",
            "backbone.block2.0.shortcut.weight",
            "block2.layer.0.convShortcut.weight",
        ),
        ("module.block3.layer.15.conv2.weight", "backbone.block3.15.conv2.weight", "block3.layer.15.conv2.weight"),
        ("trans1.conv1.weight", "backbone.trans1.conv1.weight", "trans1.conv1.weight"),
        ("fc.bias", "objective.head.bias", "fc.bias"),
        ("conv1.weight", "backbone.conv1.weight", "conv1.weight"),
        ("backbone.conv1.weight", "backbone.conv1.weight", "conv1.weight"),
        ("objective.gamma", "objective.gamma", "objective.gamma"),
    ],
)
def test_names_are_translated(theirs: str, mine: str, shown: str) -> None:
    assert our_name(theirs) == mine
    assert openood_name(mine) == shown
