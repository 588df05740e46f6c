"""Provenance: versions, the commit, the processor."""

import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
import torch

import oodbench
from oodbench.training import provenance

CPU = torch.device("cpu")


def test_provenance_needs_no_installed_oodbench(monkeypatch: pytest.MonkeyPatch) -> None:
    """PYTHONPATH may lead to it: importlib.metadata does not know the package then."""

    def only_others(name: str) -> str:
        if name == "oodbench":
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(provenance, "version", only_others)
    said = provenance.collect_provenance(CPU, "fp32")
    assert said["versions"]["oodbench"] == oodbench.__version__
    assert said["versions"]["torch"] == version("torch")
    assert (said["device"], said["precision"], said["threads"]) == ("cpu", "fp32", torch.get_num_threads())


def test_the_processor_has_a_name() -> None:
    assert provenance.processor().strip()


def test_a_machine_without_git_has_no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert provenance.git_commit() is None


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_commit_has_a_plus_where_files_differ(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "provenance.py"
    file.write_text("1")
    monkeypatch.setattr(provenance, "__file__", str(file))
    git(tmp_path, "init", "-q")
    assert provenance.git_commit() is None  # nothing is committed, as in somebody else's repository
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert provenance.git_commit() == commit
    file.write_text("2")
    assert provenance.git_commit() == commit + "+"
