"""Paths to images: absolute in a run's configuration, and so the same in every working directory."""

import shlex
from pathlib import Path

import pytest
from helpers.config import ROOT

from oodbench.cli.configuration import compose, resolve
from oodbench.cli.errors import UsageError
from oodbench.report.command import command_of_record
from oodbench.runs.folder import open_run
from oodbench.runs.identity import config_hash
from oodbench.runs.places import absolute_path, absolute_sets
from oodbench.runs.record import is_complete, requested

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


def test_a_list_of_images_is_not_below_their_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lists = ["ood=[imglist,openood]", "ood.imglist.list=a.txt", "ood.imglist.root=images", "ood.openood.list=b.txt"]
    ood = resolve(compose(lists))["ood"]
    assert (ood["imglist"]["list"], ood["imglist"]["root"]) == (str(tmp_path / "a.txt"), str(tmp_path / "images"))
    assert ood["openood"]["list"] == "b.txt"
    below = resolve(compose(["ood=[imglist]", "ood.imglist.list=a.txt", "ood.imglist.root=data", "data_root=data"]))
    assert requested(below).ood["imglist"]["list"] == str(tmp_path / "a.txt")
    node = {"_target_": "oodbench.data.imglist", "list": "a.txt"}  # of a record, without the data root
    assert absolute_sets({"a": node})["a"]["list"] == str(tmp_path / "a.txt")


def test_the_validation_set_is_compared_with_reported_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = ["validation.images=100", "data_root=data", "ood@validation.ood=svhn"]
    config = resolve(compose([*given, "ood=[textures]"]))
    assert config["validation"]["ood"]["root"] == config["data_root"]
    assert "root" not in requested(config).validation["ood"]
    with pytest.raises(UsageError, match="svhn is reported"):
        resolve(compose([*given, "ood=[svhn]"]))


@pytest.mark.parametrize("value", [None, 5, ["a"], ""])
def test_what_is_no_path_is_left_to_other_checks(value: object) -> None:
    assert absolute_path(value) == value
    assert absolute_path("~nobody/x") == str(Path("~nobody/x").absolute())


def test_committed_runs_are_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their own commands train none of them again"""
    monkeypatch.chdir(ROOT)
    folders = sorted(path.parent for path in (ROOT / "results/runs").glob("*/*/*/*/seed0/metrics.json"))[::7]
    assert folders
    for path in folders:
        folder, stored = open_run(path)
        record = folder.read_record()
        command = command_of_record(stored, record["provenance"])
        assert command
        assert is_complete(record, requested(resolve(compose(shlex.split(command)[2:])))), path
