"""Paths to images: absolute in a run's configuration, and so the same in every working directory."""

from pathlib import Path

import pytest

from oodbench.cli.configuration import compose, resolve
from oodbench.runs.identity import config_hash
from oodbench.runs.record import requested

SETS = ["data_root=data", "ood=[svhn]", "+ood.leaves.path=leaves"]


def test_relative_paths_are_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configs = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        configs.append(resolve(compose(SETS)))
    a, b = configs
    assert (a["data_root"], a["dataset"]["test"]["root"]) == (str(tmp_path / "a/data"),) * 2
    assert (a["ood"]["svhn"]["root"], a["ood"]["leaves"]["path"]) == (a["data_root"], str(tmp_path / "a/leaves"))
    assert b["ood"]["leaves"]["path"] == str(tmp_path / "b/leaves")
    assert config_hash(a) == config_hash(b)
    assert requested(a).ood["svhn"] == requested(b).ood["svhn"]  # in the data root, wherever that is
    assert requested(a).ood["leaves"] != requested(b).ood["leaves"]


def test_a_path_below_a_root_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    node = "{_target_:oodbench.data.parquet,root:sets,path:a/test.parquet}"
    config = resolve(compose(["data_root='~/data'", f"+ood.a={node}"]))
    assert config["ood"]["a"]["root"] == str(tmp_path / "sets")
    assert config["ood"]["a"]["path"] == "a/test.parquet"
    assert config["data_root"] == str(Path("~/data").expanduser())
