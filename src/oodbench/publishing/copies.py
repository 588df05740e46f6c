"""A finished run without its weights and outputs: the small files that tables, comparisons and readers need."""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from oodbench.evaluation.metric import key_of
from oodbench.report.card import write_card
from oodbench.report.stored_summary import summary_to_store, write_summary
from oodbench.runs.folder import RunFolder, open_run
from oodbench.runs.identity import PLACES, Config
from oodbench.runs.paths import ENSEMBLE, ENSEMBLE_AGAIN, place_of
from oodbench.runs.reduced import DECIMALS
from oodbench.storage import checksum, errors_name, read_json, write_atomic, write_json
from oodbench.tables.load import load_run

DATA_ROOT = "data"  # conf/train.yaml's default, instead of the machine's own
NO_PATHS = ("near", "note")  # keys of names and words
IDENTITY = ("name", "dataset", "backbone", "loss", "recipe")  # blocks that the run's hash is of


def publish(path: Path, target: Path, keep: Callable[[str, str], bool]) -> Path:
    """Copy the small files of the finished run in a folder below another results folder; return the copy's folder.

    config.yaml and metrics.json are the run's own but for paths of the machine and the decimals of intervals. keep:
    detector ("" for a metric of the test images) and metric -> whether the resamples are kept, in few bits. Raises
    ValueError for a file that is missing, damaged or of another run, and where the run lies below the target with its
    weights.
    """
    run, config = open_run(path)
    record, training = run.read_record(), run.read_training()
    resamples = {name: values for name, values in run.read_resamples(record).items() if keep(*key_of(name)[1:])}
    copy = RunFolder(target, run.run)
    if copy.weights.exists():
        raise ValueError(f"{copy.path} has the run with its weights: publish below another folder")
    copy.write_config(portable_config(config))
    if (history := run.read_history()) is not None:
        write_atomic(copy.history, history)
    write_json(copy.training, training)
    if resamples:
        copy.write_reduced(record, resamples)
    written = portable(record, places_of(config))
    if "intervals" in record:
        written["intervals"] = with_decimals(record["intervals"])
    write_atomic(copy.metrics, in_rows({**written, "sha256": checksum(written)}) + "\n")
    copy.remove_superseded(written)
    return copy.path


def publish_all(
    folders: Iterable[Path], target: Path, keep: Callable[[str, str], bool]
) -> tuple[list[Path], dict[Path, str]]:
    """Copy finished runs with their cards, the data of their figures and their ensembles, as `publish` does.

    Returns the folders of the copies, and {folder of a run: why it is not copied} of those of which no table or figure
    can be made.
    """
    copies: list[Path] = []
    failed: dict[Path, str] = {}
    for folder in folders:
        try:
            with errors_name(folder):
                summary = summary_to_store(load_run(folder, keep))
                copies.append(publish(folder, target, keep))
                write_card(copies[-1])
                if summary:
                    write_summary(summary, copies[-1])
                publish_ensemble(folder.parent, target)
        except (OSError, ValueError) as error:
            failed[folder] = str(error)
    return copies, failed


def with_decimals(node: Any) -> Any:
    """Return the node with its numbers rounded as tables do: of a record's bytes intervals are more than a half."""
    if isinstance(node, dict):
        return {key: with_decimals(value) for key, value in node.items()}
    return [round(end, DECIMALS) for end in node]


def in_rows(node: Any, depth: int = 0) -> str:
    """Return JSON with one line per dictionary of plain values: two thirds of the size of one line per value."""
    if not isinstance(node, dict) or not any(isinstance(value, dict) for value in node.values()):
        return json.dumps(node)
    inner = " " * (depth + 1)
    rows = [f"{inner}{json.dumps(key)}: {in_rows(value, depth + 1)}" for key, value in node.items()]
    return "{\n" + ",\n".join(rows) + f"\n{inner[1:]}}}"


def publish_ensemble(path: Path, target: Path) -> None:
    """Copy the ensemble of a folder of seeds, if it has one, beside the seeds that are published below a target.

    Raises ValueError where the file is damaged.
    """
    if (path / ENSEMBLE).exists():
        content = read_json(path / ENSEMBLE, ENSEMBLE_AGAIN)
        content["intervals"] = with_decimals(content["intervals"])
        to = target / "runs" / place_of((path / ENSEMBLE).absolute())
        write_atomic(to, in_rows({**content, "sha256": checksum(content)}) + "\n")


def portable_config(config: Config) -> Config:
    """Return the configuration with paths as `portable` has them, and the default results_dir.

    In the blocks that identify the run only what the hash leaves out is changed.
    """
    places = places_of(config)
    changed = {key: portable(value, places, key in IDENTITY) for key, value in config.items()}
    if "path" in changed.get("dataset", {}):
        changed["dataset"]["path"] = portable(config["dataset"]["path"], places)
    return changed | {"results_dir": "results"}


def places_of(config: Config) -> list[tuple[Path, str]]:
    """Return folders of the machine with what they are called elsewhere: the data root, and the working directory.

    Below "." and below "/" lies every path, so these two are not among them.
    """
    places = [(Path(config.get("data_root") or ""), DATA_ROOT), (Path.cwd(), "")]
    return [(place, name) for place, name in places if place.parent != place]


def portable(node: Any, places: Sequence[tuple[Path, str]], places_alone: bool = False) -> Any:
    """Return the node with paths below the first fitting one of `places` as if that had its other name.

    places_alone: of `root` keys alone.
    """
    if isinstance(node, dict):
        found = {key: portable(value, places, places_alone and key not in PLACES) for key, value in node.items()}
        return {key: node[key] if key in NO_PATHS else value for key, value in found.items()}
    if isinstance(node, list):
        return [portable(value, places, places_alone) for value in node]
    if isinstance(node, str) and not places_alone:
        for place, name in places:
            if Path(node).is_relative_to(place):
                return str(Path(name, Path(node).relative_to(place)))
    return node
