"""Configurations are those that Hydra composes, as plain data; one that no run can have is refused."""

import re
from functools import cache
from pathlib import Path

import hydra
import pytest
from helpers.config import CONF, names
from hydra import initialize_config_dir
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

from oodbench.cli.configuration import compose, resolve, with_values
from oodbench.cli.errors import UsageError
from oodbench.cli.overrides import parse

VALUES = {
    "seed": st.integers(0, 9).map(str),
    "note": st.sampled_from(["a", "'a, b'", "''", "a b", "'3'", "1e5x"]),
    "recipe.optimizer.lr": st.sampled_from(["0.1", "1e-3", "1", "1e30"]),
    "recipe.clip_grad_norm": st.sampled_from(["null", "1", "0.5"]),
    "recipe.flip": st.sampled_from(["true", "false"]),
    "recipe.optimizer": st.sampled_from(["{lr: 0.3}", "{momentum: 0, nesterov: false}"]),
    "dataset.near": st.sampled_from(["[]", "[noise,svhn]"]),
    "dataset.mean.0": st.sampled_from(["0.25", "1"]),
    "dataset.limit": st.sampled_from(["null", "100"]),
    "weights": st.sampled_from(["[a.pt,b.pt]", "[]"]),
    "wandb": st.sampled_from(["{mode: offline}"]),
    "data_root": st.sampled_from(["/x", "${results_dir}/data", "'/x y'"]),
    "name.loss": st.sampled_from(["mine", "${seed}"]),
}
CHOSEN = st.sampled_from([(), ("dataset=digits",), ("loss=focal", "recipe=short", "dataset=digits"), ("ood=[noise]",)])


@cache
def defaults(chosen: tuple[str, ...]) -> DictConfig:
    return hydra.compose("train", list(chosen))


@settings(max_examples=15, deadline=None)
@given(chosen=CHOSEN, keys=st.lists(st.sampled_from(sorted(VALUES)), max_size=6), data=st.data())
def test_plain_values_are_set_as_hydra_sets_them(chosen: tuple[str, ...], keys: list[str], data: st.DataObject) -> None:
    values = [f"{key}={data.draw(VALUES[key])}" for key in keys]  # a key may come twice: the last one counts
    with initialize_config_dir(str(CONF), version_base="1.3"):
        theirs = hydra.compose("train", [*chosen, *values])
        ours = with_values(defaults(chosen), parse(values))
    assert OmegaConf.to_container(ours) == OmegaConf.to_container(theirs)


@pytest.mark.parametrize("name", names("experiment"))
@pytest.mark.parametrize("loss", ["ce", "halo"])  # halo asks for a recipe of its own
def test_every_experiment_composes(name: str, loss: str) -> None:
    config = resolve(compose([f"experiment={name}", f"loss={loss}"]))
    assert config["name"]["loss"] == loss
    assert config["ood"]


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("+ood.leaves=/data/leaves", r"ood\.leaves=/data/leaves: a set of your own is \+ood\.leaves\.path="),
        ("+ood.leaves.pth=/data/leaves", r"ood\.leaves=\{'pth': .*: a set of your own is \+ood\.leaves\.path="),
        ("results_dir=", "results_dir= is empty"),
        ("recipe.warmup_epochs=1.5", r"recipe\.warmup_epochs=1\.5: more than recipe\.epochs=1"),
        (
            f"weights=[{CONF / 'train.yaml'},{CONF / 'train.yaml'}]",
            r"weights names .*train\.yaml twice: a seed is a training of its own",
        ),
    ],
)
def test_what_no_run_can_have_is_said_before_it_starts(override: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        resolve(compose(["dataset=digits", "loss=ce", "recipe=smoke", override]))


def test_two_files_with_the_same_weights_are_no_two_seeds(tmp_path: Path) -> None:
    for name in ("a.ckpt", "b.ckpt"):
        (tmp_path / name).write_bytes(b"weights")
    with pytest.raises(UsageError, match=r"weights .*b\.ckpt and .*a\.ckpt are the same file: a seed is a training"):
        resolve(compose(["loss=ce", f"weights=[{tmp_path / 'a.ckpt'},{tmp_path / 'b.ckpt'}]"]))


def test_a_value_that_nobody_can_resolve_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="nothing"):
        resolve(OmegaConf.create({"a": "${nothing}"}))


@pytest.mark.parametrize(("chosen", "key"), [("dataset=folder", "dataset.path"), ("ood=[imglist]", "ood.imglist.list")])
def test_a_value_that_must_be_given_is_named(chosen: str, key: str) -> None:
    with pytest.raises(UsageError, match=rf"^{re.escape(key)}=\.\.\. must be given: it has no default$"):
        resolve(compose([chosen]))


def test_a_name_that_no_ood_set_can_have_is_refused() -> None:
    with pytest.raises(UsageError, match="an OOD set cannot be called test"):
        resolve(compose(["+ood.test.path=/x"]))


@pytest.mark.parametrize("near", ["[noise,fungy]", "[1]", "[[svhn]]"])
def test_a_near_set_that_is_no_ood_set_is_named(near: str) -> None:
    line = ["ood=[noise]", "+ood.fungi.path=/x"]
    with pytest.raises(UsageError, match=r"dataset\.near has .*: neither .* the run \(noise, fungi\) nor of"):
        resolve(compose([*line, f"dataset.near={near}"]))
    assert resolve(compose([*line, "dataset.near=[fungi,svhn]"]))["dataset"]["near"] == ["fungi", "svhn"]


@pytest.mark.parametrize("path", ["/data/leaves", "/data/leaves/", "leaves", "../x/leaves"])
def test_a_set_of_ones_own_is_called_like_its_folder(path: str) -> None:
    assert compose(["dataset=folder", f"dataset.path={path}"]).name.dataset == "leaves"
    assert compose(["dataset=folder", f"dataset.path={path}", "name.dataset=trees"]).name.dataset == "trees"
