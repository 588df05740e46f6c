"""The tables in results/ are those of the runs in results/."""

from pathlib import Path

import pytest
from helpers.committed import differing_tables, tracked
from helpers.config import ROOT
from helpers.made_up import NOISE, add_run

from oodbench.tables.load import load_runs
from oodbench.tables.write import write_matrix, write_tables


def test_committed_tables_are_those_of_the_committed_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout of git, so what is committed is not known")
    results = ROOT / "results"
    assert differing_tables(results, tracked(results), tmp_path, monkeypatch) == []


def test_a_table_of_other_runs_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = tmp_path / "results"
    path = add_run(results, noise=NOISE)
    runs = load_runs(results).runs
    write_tables(results, runs, ROOT / "results" / "published.yaml", "oodpos", ["ood_score", "msp"])
    write_matrix(results, runs, "idpos", ["msp"])
    assert "tables.py --matrix --detectors msp`" in (results / "cifar10.matrix.md").read_text()
    files = [file for file in results.rglob("*") if file.is_file()]
    assert differing_tables(results, files, tmp_path / "a", monkeypatch) == []
    file = results / "cifar10.oodpos.md"
    file.write_text(file.read_text().replace("90.00", "90.01"))
    assert differing_tables(results, files, tmp_path / "b", monkeypatch) == ["cifar10.oodpos.md"]
    (tmp_path / "c").mkdir()
    add_run(tmp_path / "c", "another")
    files = [file for file in files if path not in file.parents]
    assert "cifar10.matrix.tex" in differing_tables(results, files, tmp_path / "c", monkeypatch)
