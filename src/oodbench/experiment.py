"""One run from configuration to numbers, read top to bottom: build, open the data, train or load, predict, score."""

import sys
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from torch.nn import SyncBatchNorm

from oodbench.build import (
    build_detectors,
    build_execution,
    build_model,
    build_provenance,
    build_recipe,
    open_data,
)
from oodbench.data.sets import DataSplits
from oodbench.model import Classifier, extract_features, load_weights, predict, weights_of
from oodbench.pretrained.weights import check_same_settings, load_pretrained
from oodbench.runs.code import remember_code
from oodbench.runs.config import read_config
from oodbench.runs.folder import RunFolder
from oodbench.runs.identity import Config
from oodbench.runs.lock import is_requeued, run_lock
from oodbench.runs.merge import without_renamed
from oodbench.runs.record import Record, is_complete, requested
from oodbench.runs.signals import exit_on_signal, stop_signal
from oodbench.runs.terminal import header, outcome
from oodbench.runs.tracking import NO_LOG, Log, track
from oodbench.scoring.score import check_not_reported
from oodbench.scoring.trained import Trained, measure, predict_sets
from oodbench.storage import Arrays
from oodbench.training.batch_norm import estimate_batch_norm
from oodbench.training.checkpoint import FileCheckpointer, Source, load_checkpoint
from oodbench.training.device import THREADS, acquire_devices, pick_precision, use_precision, use_threads
from oodbench.training.distributed import broadcast_weights, check_batch_norm, launch_workers, rank, worker
from oodbench.training.loop import fit
from oodbench.training.means import Row
from oodbench.training.progress import EpochLines, resumed
from oodbench.training.recipe import Recipe
from oodbench.training.step import Execution
from oodbench.training.threads import choose_threads


class Job(NamedTuple):
    """The objects that the steps of one run share."""

    config: Config  # resolved
    folder: RunFolder
    model: Classifier
    recipe: Recipe | None  # None where the weights are pretrained
    data: DataSplits
    provenance: dict[str, Any]  # the machine, the code and the settings behind the numbers


def run(config: Config, in_sweep: bool = False) -> None:
    """Do what is left to do of a run, up to its record; nothing that an earlier start has done is done again.

    In a sweep it prints its result in one line and no header. Raises LockedError while another process works on it,
    SystemExit if it was stopped and saved.
    """
    folder = RunFolder.of(config)
    trains = not config["weights"] and (starts_over(config, folder) or not folder.weights.exists())
    with exit_on_signal(), ExitStack() as held:
        count = config["devices"] if trains else 1
        devices = held.enter_context(acquire_devices(config["device"], config["runs_per_gpu"], count))
        model = build_model(config, devices[0])
        provenance = build_provenance(config, devices[0])
        recipe = None if config["weights"] else build_recipe(config)
        detectors, image_detectors = build_detectors(config["detector"]), build_detectors(config["image_detector"])
        remember_code(config)  # a file may be edited before its record is written
        if len(devices) > 1:
            check_batch_norm(model.backbone, devices[0])
        with run_lock(folder.path), folder.recording_errors():
            job = Job(config, folder, model, recipe, open_data(config), provenance)
            remove_unused(job)
            before = folder.usable_record()
            check_earlier(job, before)
            if is_complete(before, requested(config)):
                return  # another process has finished it meanwhile
            begin(job, before)
            if not in_sweep:
                print(header(config, job.data.sizes, provenance, folder.path), end="\n\n", flush=True)
            if len(devices) > 1:  # `train` then finds the last epoch's checkpoint
                launch_workers([sys.executable, "-m", "oodbench.experiment", str(folder.path)], devices)
            with track(folder, config) as log:
                load_or_train(job, log)
                trained = Trained(config, folder, model, job.data)
                predicted = predict_sets(trained, image_detectors)
                held.close()  # while this run is scored, another may train
                numbers = measure(trained, predicted, detectors)
                log.result(numbers)
            text = outcome(numbers, config, in_sweep)
            print(text if in_sweep else f"{text}\n\n{folder.path}", flush=True)


def starts_over(config: Config, folder: RunFolder) -> bool:
    """Tell whether nothing of earlier starts is kept; a SLURM job that was queued again keeps what it has begun."""
    return config["force"] and (folder.metrics.exists() or not is_requeued())


def remove_unused(job: Job) -> None:
    """Remove the files of earlier starts that this one does not continue."""
    if starts_over(job.config, job.folder):
        job.folder.remove_all()
    else:
        job.folder.remove_stale()


def check_earlier(job: Job, before: Record | None) -> None:
    """Raise ValueError where earlier starts were of other training images, or reported what is to be chosen on, and
    UnwritableError where something else is in a file's place.
    """
    job.folder.check_places()
    job.folder.check_train_digest(job.data.train.digest)
    if job.data.validation:
        check_not_reported(before, job.data.validation["val_ood"].digest, job.folder)


def begin(job: Job, before: Record | None) -> None:
    """Choose the number of threads, and write config.yaml."""
    folder = job.folder
    if before and job.recipe and not folder.is_started():
        print(f"weights are missing: {folder.path} is trained again, and its numbers are replaced then", flush=True)
    keep_or_choose_threads(job)
    digests = {name: split.digest for name, split in job.data.ood.items()}
    folder.write_config(job.config, without_renamed(before, digests)["provenance"] if before else None)


def keep_or_choose_threads(job: Job) -> None:
    """Set `threads` where it is null: that of an earlier start, else, where one CPU will train, the fastest now.

    Elsewhere it stays null, which is all cores, shared by the processes of the training.
    """
    config, folder, recipe = job.config, job.folder, job.recipe
    if config["threads"] or recipe is None:
        return
    if config["devices"] > 1 and not folder.weights.exists():
        job.provenance["threads"] = threads_of_each(config["devices"])
        return
    threads = folder.threads_before()
    if not folder.is_started() and job.model.mean.device.type == "cpu":
        threads = choose_threads(job.model, job.data.train.images, recipe.batch_size, recipe.epochs)
    use_threads(threads)
    config["threads"], job.provenance["threads"] = threads, threads or THREADS


def load_or_train(job: Job, log: Log) -> None:
    """Bring the model to its final weights: from the folder, from a file of other code, or by training."""
    weights = job.folder.usable_weights()
    if weights is None:
        weights = take_pretrained(job) if job.recipe is None else train(job, job.recipe, log)
    load_weights(job.model, weights)
    precision = pick_precision(job.folder.read_training()["precision"], job.model.mean.device)
    job.model.precision = use_precision(precision)  # outputs of one run are of one precision


def take_pretrained(job: Job) -> Arrays:
    """Take the weights in the file of the run's seed; return them."""
    path = Path(job.config["weights"][job.config["seed"]])
    digest = load_pretrained(path, job.model)
    check_same_settings(path, job.model, job.config)
    weights = weights_of(job.model)
    provenance = job.provenance | {"pretrained": {"file": path.name, "sha256": digest}}
    job.folder.remove_numbers()
    job.folder.write_training(provenance, weights, job.data.train.digest)
    job.folder.write_weights(weights)
    return weights


def train(job: Job, recipe: Recipe, log: Log) -> Arrays:
    """Train from the run's checkpoint or from the start; return the last epoch's weights, which are the result."""
    model, folder, split = job.model, job.folder, job.data.train
    history = train_epochs(job, recipe, log)
    provenance = job.provenance | execution_of(job, recipe)._asdict() | time_spent(history)
    folder.write_history(history)
    estimate_batch_norm(model, split.images, recipe.batch_norm_images)
    features = extract_features(model, split.images)
    model.finalize(features, split.labels)
    weights = weights_of(model)
    folder.remove_numbers()  # those of other weights, should there be any
    folder.write_training(provenance, weights, split.digest)
    folder.write_outputs("train", predict(model.objective, features, split.labels), split.digest)
    folder.write_weights(weights)
    return weights


def train_epochs(job: Job, recipe: Recipe, log: Log) -> list[Row]:
    """Train the epochs that the run's checkpoint lacks; return the rows of all. Raises SystemExit where stopped."""
    folder, split = job.folder, job.data.train
    here = Source(str(folder.run), job.provenance["precision"], split.digest, job.provenance["code"])
    resume, source = load_checkpoint(folder.checkpoint, here)
    keep_precision(job, source.precision)
    rows = list(resume.history) if resume else []
    if resume and rank() == 0:
        print(resumed(rows, resume.step, recipe.epochs), flush=True)
    lines = EpochLines(recipe.epochs)

    def log_epoch(row: Row) -> None:
        rows.append(row)
        folder.write_history(rows)
        lines.show(rows)
        log.epoch(row)

    with stop_signal() as stop:
        share = job.config["checkpoint_share"]
        checkpointer = FileCheckpointer(folder.checkpoint, source, share, recipe.epochs, stop, log_epoch)
        seed, execution = job.config["seed"], execution_of(job, recipe)
        history = fit(job.model, split.images, split.labels, recipe, seed, resume, checkpointer, execution)
        stopped_by = checkpointer.stopped_by or stop()  # a signal may come after the last step
        if len(history) < recipe.epochs or stopped_by:
            print(f"stopped and saved; the same command, without force, continues from there: {folder.path}")
            raise SystemExit(128 + stopped_by)  # not an error of this run: it ends a sweep, too
    return history


def keep_precision(job: Job, began_in: str) -> None:
    """Go on in the precision that the training began in, though `auto` may have chosen another for this machine."""
    here = job.provenance["precision"]
    job.model.precision = use_precision(pick_precision(began_in, job.model.mean.device))
    job.provenance["precision"] = began_in
    if began_in != here and rank() == 0:
        print(f"in {began_in}, as the training began, not in this machine's {here}", flush=True)


def execution_of(job: Job, recipe: Recipe) -> Execution:
    """Return how the run's steps are computed."""
    return build_execution(job.config, job.model.mean.device, recipe.epochs * len(job.data.train.labels))


def time_spent(history: list[Row]) -> dict[str, float]:
    """Return epochs, and of their steps in all starts the wall time in seconds and the images per second."""
    seconds = sum(row["seconds"] for row in history)
    images = sum(row["images_per_second"] * row["seconds"] for row in history)
    return {"epochs": len(history), "wall_time_s": seconds, "images_per_second": images / seconds}


def threads_of_each(processes: int) -> int:
    """Return the threads of each of so many processes that share all cores."""
    return max(1, THREADS // processes)


def worker_main(path: str, *place: str) -> None:
    """Train in one of several processes until the run's checkpoint has the last epoch; config.yaml is in its folder."""
    config = read_config(Path(path, "config.yaml"))
    with worker(*place) as device:
        config["threads"] = config["threads"] or threads_of_each(config["devices"])
        config["ood"] = {}  # only the parent looks at these sets
        folder = RunFolder.of(config)
        model, provenance = build_model(config, device), build_provenance(config, device)
        model.backbone = SyncBatchNorm.convert_sync_batchnorm(model.backbone)  # on a CPU it has none
        broadcast_weights(model)
        recipe = build_recipe(config)
        job = Job(config, folder, model, recipe, open_data(config), provenance)
        with track(folder, config) if rank() == 0 else nullcontext(NO_LOG) as log:
            train_epochs(job, recipe, log)


if __name__ == "__main__":
    worker_main(*sys.argv[1:])
