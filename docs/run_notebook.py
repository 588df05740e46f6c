"""Run docs/notebook.ipynb and write its outputs into it:  python docs/run_notebook.py"""

from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

NOTEBOOK = Path(__file__).resolve().parent / "notebook.ipynb"


def executed(path: Path) -> NotebookNode:
    """Return the notebook with the outputs of now. Raises CellExecutionError, with a traceback, where a cell fails."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=600, kernel_name="python3", record_timing=False).execute()
    notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return notebook


if __name__ == "__main__":
    nbformat.write(executed(NOTEBOOK), NOTEBOOK)
