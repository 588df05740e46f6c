"""docs/notebook.ipynb runs, and its file has the outputs that it has now."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
from helpers.config import ROOT

NOTEBOOK = ROOT / "docs" / "notebook.ipynb"


def kinds(cell: Any) -> list[Any]:
    """What a cell shows, whatever its numbers: a stream's name, or the types of a result"""
    return [output.get("name") or sorted(output["data"]) for output in cell["outputs"]]


def runs_in(notebook: Any) -> list[str]:
    """The folders of runs that a notebook shows, whose hashes tell of its settings"""
    texts = [str(output) for cell in notebook.cells if cell.cell_type == "code" for output in cell["outputs"]]
    return [place for text in texts for place in re.findall(r"\w+/\w+/\w+/\w+-\w{8}/seed\d", text)]


@pytest.mark.slow
def test_the_notebook_runs_and_has_its_output_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    stored = nbformat.read(NOTEBOOK, as_version=4)
    now = runpy.run_path(str(ROOT / "docs" / "run_notebook.py"))["executed"](NOTEBOOK)
    assert [kinds(cell) for cell in stored.cells if cell.cell_type == "code"] == [
        kinds(cell) for cell in now.cells if cell.cell_type == "code"
    ]
    assert runs_in(stored) == runs_in(now) != []
    shown = [kind for cell in stored.cells if cell.cell_type == "code" for kind in kinds(cell)]
    assert ["image/png", "text/plain"] in shown
    assert ["text/html", "text/plain"] in shown
    assert "stderr" not in shown
    text = NOTEBOOK.read_text("utf-8")
    assert len(text) < 200_000
    assert not any(place in text for place in (str(ROOT), str(Path.home()), "/tmp/"))
