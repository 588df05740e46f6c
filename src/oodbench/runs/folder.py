"""A run's folder: where it lies, what is in it, whether it is finished.

results/runs/<dataset>/<backbone>/<loss>/<recipe>-<hash>/seed<n>/
    config.yaml          the resolved configuration
    train.csv            a line an epoch
    checkpoint.pt        after every epoch: weights, optimizer, history; checkpoint.previous.pt is the one before
    training.json        what it was trained with and on: versions, commit, device, precision, wall time
    model.safetensors    the weights of the last epoch: training is finished
    outputs/<set>.safetensors
    outputs/<image detector>/<set>.safetensors
    resamples.safetensors    the bootstrap resamples of every number
    metrics.json         written last: the run is finished
    claim.json           while a process runs it
    error.txt            the traceback of its last start, where that failed
"""

import contextlib
import hashlib
import json
import shutil
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from oodbench.storage import UnwritableError, checksum, read_json, write_atomic, write_json

if TYPE_CHECKING:
    from oodbench.storage import Arrays

Config = dict[str, Any]

WHERE = ("root",)  # keys that say where something lies, not what it is
ELSEWHERE = "elsewhere"  # the recipe of what was not trained here
CLAIM = ("claim.json", ".claim.lock")
SETS_OF = ("images", "digests", "ood", "detector")  # parts of the provenance that grow with the sets and detectors


def config_hash(config: Config) -> str:
    """Of what decides a run's numbers: what is learnt, by what, with what. Not where files lie, nor the seed."""
    science = {key: config[key] for key in ("dataset", "backbone", "loss", "recipe", "precision")}
    science["dataset"] = {
        key: value for key, value in config["dataset"].items() if key != "near"
    }  # only a table's word
    if held_out := config.get("validation", {}).get("images"):
        science["held_out"] = held_out
    return hashlib.sha256(json.dumps(_plain(without_places(science)), sort_keys=True).encode()).hexdigest()[:8]


def _plain(node: Any) -> Any:
    """1.0 and 1 are one setting: whole floats become integers."""
    if isinstance(node, dict):
        return {key: _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(value) for value in node]
    return int(node) if isinstance(node, float) and node.is_integer() else node


def without_places(node: Any) -> Any:
    """The configuration less the keys that say where something lies."""
    if isinstance(node, dict):
        return {key: without_places(value) for key, value in node.items() if key not in WHERE}
    return [without_places(value) for value in node] if isinstance(node, list) else node


def identified(config: Config) -> Config:
    """Where weights come from files, how they were trained is not known: their digests stand in the recipe's place."""
    weights = config.get("weights")
    if not weights or config["name"]["recipe"] == ELSEWHERE:  # the latter was written to a run's folder
        return config
    digests = [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in weights]
    recipe = {"epochs": None, "weights": [checksum[:12] for checksum in digests]}
    return config | {"recipe": recipe, "name": config["name"] | {"recipe": ELSEWHERE}}


@contextmanager
def leaving_traceback(folder: Path) -> Iterator[None]:
    """An error of this start leaves error.txt in the run's folder; that of an earlier start goes."""
    file = folder / "error.txt"
    file.unlink(missing_ok=True)
    try:
        yield
    except Exception:
        with contextlib.suppress(UnwritableError):  # the error itself matters more
            write_atomic(file, traceback.format_exc())
        raise


class Run:
    """The folder of one run, a function of its configuration."""

    def __init__(self, config: Config) -> None:
        config = identified(config)
        name, self.config, self.hash = config["name"], config, config_hash(config)
        self.results_dir = Path(config["results_dir"])
        self.folder = (
            Path(self.results_dir, "runs", name["dataset"], name["backbone"], name["loss"])
            / f"{name['recipe']}-{self.hash}"
            / f"seed{config['seed']}"
        )

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    @property
    def weights(self) -> Path:
        return self.folder / "model.safetensors"

    def outputs(self, name: str) -> Path:
        return self.folder / "outputs" / f"{name}.safetensors"

    def image_scores(self, detector: str, name: str) -> Path:
        return self.folder / "outputs" / detector / f"{name}.safetensors"

    def write_config(self) -> None:
        write_atomic(self.folder / "config.yaml", yaml.safe_dump(self.config, sort_keys=False))

    def write_history(self, history: list[dict[str, float]]) -> None:
        lines = [",".join(history[0]), *(",".join(f"{v:.6g}" for v in row.values()) for row in history)]
        write_atomic(self.folder / "train.csv", "\n".join(lines) + "\n")

    def metrics(self) -> dict[str, Any] | None:
        """The numbers of the finished run; None, with a warning, where they are damaged: they are made again."""
        path = self.folder / "metrics.json"
        if not path.exists():
            return None
        try:
            metrics = read_json(path)
            if metrics["config_hash"] == self.hash:
                return metrics
            reason = f"{path} is of configuration {metrics['config_hash']}, this run is {self.hash}"
        except ValueError as error:
            reason = str(error)
        warnings.warn(f"numbers not used: {reason}", stacklevel=2)
        return None

    def write_training(self, history: list[dict[str, float]], facts: dict[str, Any]) -> None:
        """Record a training that is over; facts: what it ran on. Outputs of other weights, if there are any, go.

        One elsewhere has no history, and its length and speed are not known.
        """
        spent = {}
        if history:
            seconds = sum(row["seconds"] for row in history)
            images = sum(row["images_per_second"] * row["seconds"] for row in history)
            spent = {"epochs": len(history), "wall_time_s": seconds, "images_per_second": images / seconds}
        (self.folder / "metrics.json").unlink(missing_ok=True)  # the numbers first
        (self.folder / "resamples.safetensors").unlink(missing_ok=True)
        shutil.rmtree(self.folder / "outputs", ignore_errors=True)
        write_json(self.folder / "training.json", {**facts, **spent})

    def training(self) -> dict[str, Any]:
        """What `write_training` wrote: the wall time in seconds is that of all starts together."""
        return read_json(self.folder / "training.json")

    def delete(self) -> None:
        """Forget all that earlier starts of this run have written, the numbers first; its claim stays."""
        (self.folder / "metrics.json").unlink(missing_ok=True)
        for path in self.folder.iterdir() if self.folder.exists() else ():
            if path.name not in CLAIM:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def sweep(self) -> None:
        """Remove the halves of files that a killed process left behind. For the folder's owner alone."""
        for path in self.folder.glob(".*"):
            if path.name not in CLAIM:
                path.unlink()

    @property
    def sources(self) -> Config:
        """{OOD set: its configuration}, as metrics.json records it."""
        return without_places(self.config["ood"])

    @property
    def validation(self) -> Config:
        """What hyperparameters are chosen by, as metrics.json records it; empty where nothing is held out."""
        how = without_places(self.config.get("validation", {}))  # which runs of before there was one lack
        return {key: value for key, value in how.items() if key != "objective"} if how.get("images") else {}

    def check_objective(self) -> None:
        """Raise ValueError where no number of this run will be called `validation.objective`."""
        from oodbench.evaluation.metrics import ID_METRICS, OOD_METRICS

        name = self.config["validation"]["objective"]
        of_ood = [f"ood.{detector}.{metric}" for detector in self.detectors for metric in OOD_METRICS]
        if self.validation and name not in (*ID_METRICS, *of_ood):
            detectors, metrics = ", ".join(self.detectors), ", ".join(OOD_METRICS)
            raise ValueError(
                f"validation.objective={name}: there is {', '.join(ID_METRICS)} and ood.<detector>.<metric>, the "
                f"detector one of {detectors}, the metric one of {metrics}"
            )

    def objective(self) -> float | None:
        """Of the finished run, the number of its held-out images that `validation.objective` names; None without any.

        Raises ValueError for a name that is none.
        """
        number: Any = (self.metrics() or {}).get("validation")
        name = self.config["validation"]["objective"]
        for key in name.split(".") if self.validation else ():
            if not isinstance(number, dict) or key not in number:
                there = sorted(number) if isinstance(number, dict) else "nothing"
                raise ValueError(f"validation.objective={name}: there is {there}, no {key}")
            number = number[key]
        return float(number) if self.validation else None

    @property
    def detectors(self) -> Config:
        """{detector or image detector: its configuration}, as metrics.json records it."""
        stored, of_images = self.config["detector"], self.config.get("image_detector", {})
        if both := stored.keys() & of_images.keys():
            raise ValueError(f"{', '.join(sorted(both))}: a detector and an image detector are called so")
        return without_places(stored | of_images)

    def is_finished(self) -> bool:
        """Whether metrics.json holds every number that the configuration asks for, of the very sets and detectors.

        A detector that does not apply to this run has none.
        """
        metrics = self.metrics()
        return (
            metrics is not None
            and metrics["provenance"]["near"] == self.config["dataset"]["near"]
            and metrics.get("validation", {}).get("of", {}) == self.validation
            and self.sources.items() <= metrics["provenance"]["ood"].items()
            and self.detectors.items() <= metrics["provenance"]["detector"].items()
            and all(
                self.detectors.keys() <= scores.keys() | metrics.get("not_applicable", {}).keys()
                for scores in (
                    *(metrics["ood"][name] for name in self.sources),
                    *([metrics["validation"]["ood"]] if self.validation else []),
                )
            )
        )

    def check_unreported(self, digest_of_val_ood: str | None) -> None:
        """Raise ValueError where the validation OOD set is one that this run reports, from whichever start."""
        metrics = self.metrics() or {"ood": {}}
        for name in metrics["ood"]:
            if metrics["provenance"]["digests"].get(name) == digest_of_val_ood:
                raise ValueError(
                    f"the OOD set {name} is reported in {self.folder / 'metrics.json'}: nothing may be chosen on it; "
                    "take another for ood@validation.ood, or another seed"
                )

    def resamples(self) -> "Arrays":
        """{number: (R,) bootstrap resamples}; empty where there are none that belong to metrics.json."""
        from oodbench.storage import load_arrays

        path, metrics = self.folder / "resamples.safetensors", self.metrics()
        if metrics is None or not path.exists():
            return {}
        try:
            arrays, about = load_arrays(path)
        except ValueError as error:
            warnings.warn(f"resamples not used: {error}", stacklevel=2)
            return {}
        return arrays if about.get("seal") == metrics.get("resamples", "none") else {}

    def outlook(self) -> str:
        """What the command would do."""
        state = "finished" if self.is_finished() and not self.config["force"] else "to do"
        return f"{state:<8}  {self.folder}"

    def add_metrics(
        self, numbers: dict[str, Any], provenance: dict[str, Any], resamples: "Arrays | None" = None
    ) -> None:
        """Write metrics.json: the new numbers, and the old ones of sets and detectors that are still the same.

        A detector has numbers, or under "not_applicable" a reason why it has none.
        """
        before = self.metrics() or {"ood": {}, "provenance": {key: {} for key in SETS_OF}}
        old, ood, why = before["provenance"], dict(numbers["ood"]), numbers["not_applicable"]
        same = {d for d, how in old["detector"].items() if self.detectors.get(d, how) == how} - why.keys()
        if before.get("validation", {}).get("of", {}) != self.validation:
            same = {d for d in same if not d.endswith("_selected")}  # on images that are others now
        for name, scores in before["ood"].items():
            moved = provenance["digests"].get(name) == old["digests"].get(name, "none")  # the same images elsewhere
            if moved or self.sources.get(name, old["ood"][name]) == old["ood"][name]:
                ood[name] = {d: values for d, values in scores.items() if d in same} | ood.get(name, {})
        not_asked = same - self.detectors.keys()
        why = why | {d: reason for d, reason in before.get("not_applicable", {}).items() if d in not_asked}
        near = self.config["dataset"]["near"]
        provenance = provenance | {"near": near, "ood": self.sources, "detector": self.detectors}
        provenance |= {key: old[key] | provenance[key] for key in SETS_OF}
        numbers = numbers | {"ood": ood, "not_applicable": why}
        held_out = before.get("validation", {})
        if self.validation and "validation" in numbers and held_out.get("of") == self.validation:
            earlier = {d: values for d, values in held_out["ood"].items() if d in same}
            numbers["validation"] |= {"ood": earlier | numbers["validation"]["ood"]}
        if resamples is not None:
            numbers |= self._write_resamples(numbers, resamples)
        content = {"config_hash": self.hash, **numbers, "provenance": provenance}
        write_json(self.folder / "metrics.json", content)

    def _write_resamples(self, numbers: dict[str, Any], resamples: "Arrays") -> dict[str, Any]:
        """Those of the new numbers and of the old ones that stay -> what metrics.json says of them."""
        from oodbench.evaluation.evaluate import intervals
        from oodbench.storage import save_arrays

        kept = {f"{name}/{d}/" for name, scores in numbers["ood"].items() for d in scores}
        old = {key: values for key, values in self.resamples().items() if key.rpartition("/")[0] + "/" in kept}
        resamples = old | resamples
        seal = checksum(numbers)  # says that the two files belong together
        save_arrays(self.folder / "resamples.safetensors", resamples, seal=seal)
        found, before = intervals(numbers, resamples), (self.metrics() or {}).get("intervals", {"ood": {}})
        for name, scores in numbers["ood"].items():  # an interval outlives its resamples
            of_old = {d: values for d, values in before["ood"].get(name, {}).items() if d in scores}
            found["ood"][name] = of_old | found["ood"][name]
        return {"intervals": found, "resamples": seal}
