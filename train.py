"""One run, from configuration to metrics.json.

python train.py loss=halo                 python train.py dataset=cifar100 loss=logitnorm loss.tau=0.01 seed=1
python train.py --help                    python train.py -m loss=ce,halo seed=0,1,2
"""

from typing import Any

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from oodbench.runs import Run


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(cfg: DictConfig) -> None:
    config: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    run = Run(config)
    if run.is_finished() and not cfg.force:
        print(f"finished already, force=true runs it again: {run.folder}")
    else:
        execute(cfg, run)


def execute(cfg: DictConfig, run: Run) -> None:
    """Open every set, train, collect, evaluate; what an earlier start of the run has done is not done again."""
    import torch  # here, so that --help and a finished run need not wait for it

    from oodbench.checkpoint import load_progress, load_weights, save_progress, save_weights
    from oodbench.data import benchmark, own
    from oodbench.detectors import Reference
    from oodbench.device import pick_device, pick_precision, provenance
    from oodbench.evaluate import evaluate, report
    from oodbench.fit import Progress, fit
    from oodbench.model import Classifier, features_of, head_of, read
    from oodbench.outputs import load_outputs, save_outputs
    from oodbench.tracking import track

    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    device = pick_device(cfg.device)
    precision = pick_precision(cfg.precision, device)
    data = cfg.dataset
    ood = {name: instantiate(node) if "_target_" in node else own(node.path) for name, node in cfg.ood.items()}
    sets = benchmark(
        instantiate(data.train), instantiate(data.test), ood, data.num_classes, data.limit, data.limit_test
    )

    torch.manual_seed(cfg.seed)
    backbone = instantiate(cfg.backbone)
    objective = instantiate(cfg.loss, num_features=backbone.num_features, num_classes=data.num_classes)
    model = Classifier(backbone, objective, list(data.mean), list(data.std), precision)
    model = model.to(device).to(memory_format=torch.channels_last)
    if cfg.force:
        run.delete()
    run.write_config()
    facts = provenance(device, precision)

    def save(progress: Progress) -> None:
        save_progress(run.checkpoint, progress, run.hash)
        run.write_history(progress.history)
        log(progress.history[-1])

    with track(run, **cfg.wandb) as log:
        if not run.weights.exists():
            progress = load_progress(run.checkpoint, run.hash)
            fit(model, sets.train.images, sets.train.labels, instantiate(cfg.recipe), cfg.seed, progress, save)
            features = features_of(model, sets.train.images)
            model.settle(features, sets.train.labels)
            save_outputs(run.outputs("train"), read(model.objective, features, sets.train.labels), sets.train.digest)
            save_weights(run.weights, model)
        load_weights(run.weights, model)

        outputs = {}
        for name, split in {"train": sets.train, "test": sets.test, **sets.ood}.items():
            stored = load_outputs(run.outputs(name), split.digest)
            outputs[name] = stored or read(model.objective, features_of(model, split.images), split.labels)
            if stored is None:
                save_outputs(run.outputs(name), outputs[name], split.digest)

        reference = Reference(outputs["train"], head_of(model.objective))
        detectors = {name: instantiate(node) for name, node in cfg.detector.items()}
        numbers = evaluate(outputs["test"], {name: outputs[name] for name in sets.ood}, detectors, reference)
        images = {name: len(split.labels) for name, split in outputs.items()}
        run.add_metrics(numbers, facts | run.training_facts() | {"seed": cfg.seed, "images": images})
        log(numbers)
    print(report(numbers), run.folder, sep="\n\n")


if __name__ == "__main__":
    main()
