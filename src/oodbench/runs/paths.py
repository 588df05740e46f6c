"""Paths of one run's files.

results/runs/<dataset>/<backbone>/<loss>/<recipe>-<hash>/seed<n>/
    config.yaml          the resolved configuration
    train.csv            one line per epoch
    checkpoint.pt        weights, optimizer, history; checkpoint.previous.pt is the one before
    training.json        where it was trained and on what: versions, commit, device, wall time, digest of the images
    model.safetensors    the weights of the last epoch: training is finished
    outputs/<set>.safetensors
    outputs/<image detector>/<set>.safetensors
    resamples-<checksum>.safetensors    bootstrap resamples of the numbers that have intervals; metrics.json names it
    resamples-<checksum>.reduced.safetensors    in a published run, without weights and outputs: those that tables need
    metrics.json         the numbers: the run is finished
    README.md            the run's card, written after it; not every run has one
    summary.json         in a published run that had outputs: the data of its figures
    lock.json            while a process works on it
    error.txt            what went wrong last, and the traceback
"""

from pathlib import Path

from oodbench.runs.identity import RunId, check_name

ENSEMBLE = "ensemble.json"  # beside the folders of the seeds that it is made of
ENSEMBLE_AGAIN = "make it again with scripts/ensemble.py"
LOCK_FILES = ("lock.json", ".lock")
RESAMPLES = r"resamples-[\w-]+\.safetensors"
DEPTH = 5  # folders from runs/ to a run's own
METRICS = "metrics.json"  # a run that has it is finished
GLOB = "runs/*/*/*/*/seed*"  # every run's folder below a results folder


class RunPaths:
    """Paths of one run's files."""

    def __init__(self, results_dir: Path, run: RunId) -> None:
        self.results_dir, self.run = results_dir, run
        self.path = results_dir / "runs" / run.place
        self.config = self.path / "config.yaml"
        self.history = self.path / "train.csv"
        self.checkpoint = self.path / "checkpoint.pt"
        self.training = self.path / "training.json"
        self.weights = self.path / "model.safetensors"
        self.metrics = self.path / METRICS
        self.summary = self.path / "summary.json"
        self.card = self.path / "README.md"
        self.error = self.path / "error.txt"

    def reduced_resamples(self, full: str) -> Path:
        """Return the path of the rounded resamples that a published run has."""
        return self.path / f"{full.removesuffix('.safetensors')}.reduced.safetensors"

    def outputs(self, name: str) -> Path:
        return self.path / "outputs" / f"{check_name('set', name)}.safetensors"

    def scores(self, detector: str, name: str) -> Path:
        return self.path / "outputs" / check_name("detector", detector) / f"{check_name('set', name)}.safetensors"


def place_of(path: Path) -> Path:
    """Return <dataset>/<backbone>/<loss>/<recipe>-<hash>/<name> of a run's folder, or of what lies beside it."""
    return Path(*path.parts[-DEPTH:])


def results_dir_of(path: Path) -> Path:
    """Return the results folder that a run's folder lies in. Raises IndexError for a shorter path."""
    return path.parents[DEPTH]


def is_finished(folder: Path) -> bool:
    """Tell whether a run's folder has its numbers."""
    return (folder / METRICS).exists()


def finished_seeds(folder: Path) -> list[Path]:
    """Return the folders of the finished runs in a folder of seeds, sorted."""
    return [path for path in sorted(folder.glob("seed*")) if is_finished(path)]


def run_folders(results_dir: Path) -> list[Path]:
    """Return the folders of all runs below a results folder, sorted."""
    return sorted(path for path in results_dir.glob(GLOB) if path.is_dir())


def finished_folders(results_dir: Path) -> list[Path]:
    """Return the folders of all finished runs below a results folder, sorted."""
    return [folder for folder in run_folders(results_dir) if is_finished(folder)]
