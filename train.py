"""One run, from configuration to metrics.json.

python train.py loss=halo                 python train.py dataset=cifar100 loss=logitnorm loss.tau=0.01 seed=1
python train.py --help                    python train.py -m loss=ce,halo seed=0,1,2
"""

import inspect
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from oodbench.cli import start
from oodbench.runs.folder import Run, leaving_traceback
from oodbench.runs.lock import LockedError, run_lock
from oodbench.runs.signals import ending
from oodbench.runs.tracking import track
from oodbench.storage import UnwritableError

if TYPE_CHECKING:  # torch comes when a run does: --help and a finished run need not wait for it
    import torch

    from oodbench.data.split import DataSplits
    from oodbench.model import Classifier
    from oodbench.outputs import Outputs
    from oodbench.runs.tracking import Log
    from oodbench.training.loop import Row
    from oodbench.training.recipe import Recipe

BUSY = 75  # sysexits.h's EX_TEMPFAIL: try again later
RANK = "--rank"  # first argument of a process that trains with others, which `execute` starts


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(cfg: DictConfig) -> float | None:
    """Returns what a sweeper optimises: `validation.objective`, where images are held out for it."""
    config: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    run = Run(config)
    if type(cfg.seed) is not int or cfg.seed < 0:
        raise ValueError(f"seed={cfg.seed!r}: a whole number from 0 on is needed")
    run.check_objective()
    if cfg.weights and cfg.seed >= len(cfg.weights):
        raise ValueError(f"seed={cfg.seed}: weights names {len(cfg.weights)} files, of the seeds from 0 on")
    if cfg.devices > 1 and cfg.compile:
        raise ValueError(f"devices={cfg.devices} compile={cfg.compile}: together they have not been tried; take one")
    if cfg.weights and cfg.validation.images:
        raise ValueError("weights trained elsewhere may have seen every training image: validation.images must be 0")
    if cfg.dry_run:
        print(run.outlook())
        return None
    if not cfg.force and run.is_finished():
        print(f"finished already, force=true runs it again: {run.folder}")
    else:
        from oodbench.training.device import acquire_devices

        count = 1 if cfg.weights or run.weights.exists() else cfg.devices  # which only a training needs
        with ending(set), acquire_devices(cfg.device, cfg.runs_per_gpu, count) as devices:
            execute(cfg, run, devices)
    return run.objective()


def execute(cfg: DictConfig, run: Run, devices: "list[torch.device]") -> None:
    """Build, open every set, train, collect, evaluate; what an earlier start of the run has done is not done again."""
    from oodbench.evaluation.evaluate import report
    from oodbench.training.distributed import launch_workers, sync_batch_norm

    model, facts = build(cfg, devices[0])
    recipe = None if cfg.weights else recipe_of(cfg)
    if len(devices) > 1:
        sync_batch_norm(model.backbone, devices[0])  # or an error now
    detectors = {name: instantiate(node) for name, node in cfg.detector.items()}
    image_detectors = {name: instantiate(node) for name, node in cfg.image_detector.items()}
    for detector in (*detectors.values(), *image_detectors.values()):
        inspect.signature(detector).bind(None, None)
    try:
        with run_lock(run.folder), leaving_traceback(run.folder):  # from here on it is this cell that fails
            sets = open_sets(cfg)
            run.delete() if cfg.force else run.sweep()
            if sets.validation:
                run.check_unreported(sets.validation["val_ood"].digest)
            if not run.is_finished():  # nor has another process finished it meanwhile
                run.write_config()
                if recipe and len(devices) > 1 and not run.weights.exists():
                    # after which `train` finds the last epoch's checkpoint
                    launch_workers([sys.executable, __file__, RANK, str(run.folder)], devices)
                with track(run, **cfg.wandb) as log:
                    if recipe is None:
                        adopt(cfg, run, model, facts)
                    else:
                        train(cfg, run, model, recipe, sets, facts, log)
                    numbers = score(run, model, detectors, image_detectors, sets)
                    log({name: numbers[name] for name in ("accuracy", "ece", "nll", "brier", "ood")})
                print(report(numbers), run.folder, sep="\n\n")
    except LockedError as error:
        print(f"not run: {error}")
        if HydraConfig.get().mode == RunMode.RUN:
            raise SystemExit(BUSY) from error  # in a sweep the other cells are not its affair
    except UnwritableError as error:
        if HydraConfig.get().mode == RunMode.RUN:
            raise SystemExit(f"not run: {error}") from error
        raise


def score(
    run: Run, model: "Classifier", detectors: dict[str, Any], image_detectors: dict[str, Any], sets: "DataSplits"
) -> Any:
    """Collect what the model says of every set, and write the numbers."""
    from oodbench.detectors.network.stored import as_detectors, image_scores

    from oodbench.detectors.reference import Reference
    from oodbench.evaluation.evaluate import evaluate
    from oodbench.model import head_fn, linear_weights

    splits = {"train": sets.train, "test": sets.test, **sets.ood, **sets.validation}
    outputs = {name: collect(run, model, name, split) for name, split in splits.items()}
    reference = Reference(
        outputs["train"], head_fn(model.objective), linear_weights(model.objective), outputs.get("val")
    )
    scores, ood = image_scores(run, model, image_detectors, splits), {name: outputs[name] for name in sets.ood}
    every = detectors | as_detectors(scores, ["test", *ood])
    numbers, resamples = evaluate(outputs["test"], ood, every, reference)
    if sets.validation:
        known = reference._replace(validation=None)  # which are the images to be judged here
        every = detectors | as_detectors(scores, ["val", "val_ood"])
        held_out, _ = evaluate(outputs["val"], {"val_ood": outputs["val_ood"]}, every, known)
        numbers["validation"] = held_out | {"ood": held_out["ood"]["val_ood"], "of": run.validation}
    images = {name: len(split.labels) for name, split in splits.items()}
    digests = {name: split.digest for name, split in splits.items()}
    run.add_metrics(numbers, run.training() | {"images": images, "digests": digests}, resamples)
    return numbers


def open_sets(cfg: DictConfig) -> "DataSplits":
    """Every set that the run needs, found, checked and open before an hour is spent on training."""
    from oodbench.data.folder import from_path
    from oodbench.data.split import data_splits

    ood = {name: instantiate(node) if "_target_" in node else from_path(node.path) for name, node in cfg.ood.items()}
    data, held_out = cfg.dataset, cfg.validation.images
    train, test = instantiate(data.train), instantiate(data.test)
    val_ood = instantiate(cfg.validation.ood) if held_out else None
    return data_splits(train, test, ood, data.num_classes, data.limit, data.limit_test, held_out, val_ood)


def build(cfg: DictConfig, device: "torch.device") -> tuple["Classifier", dict[str, Any]]:
    """The network as the seed initialises it, on its device; and what it will run on, for the provenance."""
    import torch

    from oodbench.model import Classifier, compile_backbone
    from oodbench.training.device import THREADS, disable_malloc_trim, pick_precision, provenance

    disable_malloc_trim()
    torch.set_num_threads(cfg.threads or THREADS)
    torch.backends.cudnn.benchmark = True  # looks once for the fastest convolution: nearly all batches are of one size
    precision = pick_precision(cfg.precision, device)
    torch.manual_seed(cfg.seed)
    backbone = instantiate(cfg.backbone)
    objective = instantiate(cfg.loss, num_features=backbone.num_features, num_classes=cfg.dataset.num_classes)
    model = Classifier(backbone, objective, list(cfg.dataset.mean), list(cfg.dataset.std), precision)
    compile_backbone(model, cfg.compile)
    facts = provenance(device, precision) | {"seed": cfg.seed, "compile": cfg.compile, "devices": cfg.devices}
    return model.to(device).to(memory_format=torch.channels_last), facts


def recipe_of(cfg: DictConfig) -> "Recipe":
    from oodbench.training.recipe import Recipe

    recipe = Recipe(**instantiate(cfg.recipe, _convert_="all"))
    inspect.signature(recipe.optimizer).bind([])  # a misspelt option is told now and not when it is called
    inspect.signature(recipe.schedule).bind(0.0)
    return recipe


def adopt(cfg: DictConfig, run: Run, model: "Classifier", facts: dict[str, Any]) -> None:
    """Bring the model to the weights that were trained elsewhere, in the file of its seed."""
    from oodbench.pretrained.weights import load_pretrained
    from oodbench.training.checkpoint import save_weights
    from oodbench.training.device import PRECISIONS

    if not intact(run, model):
        path = Path(cfg.weights[cfg.seed])
        digest = load_pretrained(path, model)
        run.write_training([], facts | {"trained_elsewhere": {"file": path.name, "sha256": digest}})
        save_weights(run.weights, model)
    model.precision = PRECISIONS[run.training()["precision"]]  # outputs of one run are of one precision


def train(
    cfg: DictConfig,
    run: Run,
    model: "Classifier",
    recipe: "Recipe",
    sets: "DataSplits",
    facts: dict[str, Any],
    log: "Log",
) -> None:
    """Bring the model to the last epoch's weights: from the run's folder, from its checkpoint or from the start."""
    from oodbench.model import extract_features, predict
    from oodbench.outputs import save_outputs
    from oodbench.training.checkpoint import load_weights, save_weights
    from oodbench.training.device import PRECISIONS

    if not intact(run, model):
        history = train_epochs(cfg, run, model, recipe, sets, facts, log)
        images, labels, _, _ = sets.train
        run.write_history(history)
        features = extract_features(model, images)
        model.finalize(features, labels)
        run.write_training(history, facts)
        save_outputs(run.outputs("train"), predict(model.objective, features, labels), sets.train.digest)
        save_weights(run.weights, model)
        load_weights(run.weights, model)
    model.precision = PRECISIONS[run.training()["precision"]]  # outputs of one run are of one precision


def train_epochs(
    cfg: DictConfig,
    run: Run,
    model: "Classifier",
    recipe: "Recipe",
    sets: "DataSplits",
    facts: dict[str, Any],
    log: "Log",
) -> "list[Row]":
    """The epochs that the run's checkpoint lacks; the rows of all. Raises SystemExit where it was stopped and saved."""
    from oodbench.runs.signals import stop_signal
    from oodbench.training.checkpoint import FileCheckpointer, load_checkpoint
    from oodbench.training.loop import fit

    what = f"{run.hash} in {facts['precision']}"  # which `auto` chose for this machine: one training does not mix them
    images, labels, _, _ = sets.train
    resume = load_checkpoint(run.checkpoint, what)
    rows = list(resume.history) if resume else []

    def log_epoch(row: dict[str, float]) -> None:
        rows.append(row)
        run.write_history(rows)
        log(row)

    with stop_signal() as stop:
        keeper = FileCheckpointer(run.checkpoint, what, cfg.checkpoint_share, recipe.epochs, stop, log_epoch)
        history = fit(model, images, labels, recipe, cfg.seed, resume, keeper)
        if len(history) < recipe.epochs:
            print(f"stopped and saved; the same command, without force, goes on from there: {run.folder}")
            raise SystemExit(128 + keeper.stopped_by)  # not an error of this cell: it ends a sweep, too
    return history


def be_rank(folder: str, *place: str) -> None:
    """One of several processes that bring the checkpoint of a run, whose config.yaml is there, to the last epoch."""
    from oodbench.training.device import THREADS
    from oodbench.training.distributed import broadcast_weights, rank, sync_batch_norm, worker, world_size

    config = yaml.safe_load(Path(folder, "config.yaml").read_text("utf-8"))
    cfg, run = OmegaConf.create(config), Run(config)
    with worker(*place) as device:
        cfg.threads = cfg.threads or max(1, THREADS // world_size())
        cfg.ood = {}  # which only the parent looks at
        model, facts = build(cfg, device)
        model.backbone = sync_batch_norm(model.backbone, device)
        broadcast_weights(model)
        tracking = cfg.wandb if rank() == 0 else {"mode": "disabled", "project": ""}
        with track(run, **tracking) as log:
            train_epochs(cfg, run, model, recipe_of(cfg), open_sets(cfg), facts, log)


def intact(run: Run, model: "Classifier") -> bool:
    """Whether the training is over and its weights, which are loaded, and records are whole."""
    from oodbench.training.checkpoint import load_weights

    if not run.weights.exists():
        return False
    try:
        load_weights(run.weights, model)
        run.training()
        return True
    except (ValueError, FileNotFoundError) as error:
        warnings.warn(f"taken from the checkpoint again: {error}", stacklevel=2)
        return False


def collect(run: Run, model: "Classifier", name: str, split: Any) -> "Outputs":
    """What the model says of a set: from the run's folder, or from one forward pass."""
    from oodbench.model import extract_features, predict
    from oodbench.outputs import load_outputs, save_outputs

    outputs = None
    try:
        outputs = load_outputs(run.outputs(name), split.digest)
    except ValueError as error:
        warnings.warn(f"computed again: {error}", stacklevel=2)
    if outputs is None:
        outputs = predict(model.objective, extract_features(model, split.images), split.labels)
        save_outputs(run.outputs(name), outputs, split.digest)
    return outputs


if __name__ == "__main__":
    if sys.argv[1:2] == [RANK]:
        be_rank(*sys.argv[2:])
    else:
        start(main, sys.argv[1:], Path(__file__).with_name("conf"))
