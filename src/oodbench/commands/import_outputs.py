"""Turn external outputs into a run like any other; docs/running.md has the format.

python scripts/import_outputs.py outputs.npz --name pixmix --dataset cifar10 detector=all [--seed 0] [--near cifar100]
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from oodbench.cli.arguments import Parser
from oodbench.cli.errors import UsageError
from oodbench.cli.plan import plan
from oodbench.pretrained.external import check_is_another_seed, configuration, import_external
from oodbench.pretrained.external_file import load_external
from oodbench.runs.folder import RunFolder
from oodbench.runs.lock import LockedError
from oodbench.runs.terminal import every_number
from oodbench.shipped import conf_files
from oodbench.tables.kinds import is_shifted


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("file", type=Path, help=".npz or .safetensors: <set>/features, <set>/logits, <set>/labels")
    parser.add_argument("--name", required=True, help="what the tables call it, in the place of a loss")
    parser.add_argument("--dataset", required=True, help="the set it learned: a name of conf/dataset, or another")
    parser.add_argument("--seed", type=int, default=0, help="of its training; the tables average over seeds")
    parser.add_argument("--near", nargs="*", help="OOD sets that the tables call near; default: as conf/dataset says")
    parser.add_argument(
        "--shifted", nargs="*", help="sets of known classes, in no mean; default: cifar10c of cifar10, and so on"
    )
    parser.add_results_dir("runs go below it")
    parser.add_argument("--force", action="store_true", help="replace the run of this name, dataset and seed")
    args, overrides = parser.parse_known_args()
    if other := [override for override in overrides if not override.lstrip("+~").startswith("detector")]:
        parser.error(f"{' '.join(other)}: only detectors can be chosen, detector=...")
    for kind, names in (("--near", args.near or []), ("--shifted", args.shifted or [])):
        if any("=" in name for name in names):
            parser.error(f"{kind} {' '.join(names)}: put detector=... before {kind}")
    try:
        (composed,), _ = plan(overrides)
        detector = composed["detector"]
        external = load_external(args.file)
        known = known_dataset(args.dataset)
        if known.get("num_classes", external.num_classes) != external.num_classes:
            raise ValueError(
                f"{args.file} has {external.num_classes} logits an image, {args.dataset} {known['num_classes']} classes"
            )
        kinds = kinds_of(external.ood, args.dataset, args.near, args.shifted)
        config = configuration(external, args.name, args.dataset, kinds, args.seed, detector, args.results_dir)
        for name in (args.dataset, *external.ood):
            warn_of_spelling(name)
        check_is_another_seed(external, RunFolder.of(config))
        folder, record = import_external(external, config, args.file.name, args.force)
    except (OSError, ValueError, LockedError, UsageError) as error:
        raise SystemExit(f"import_outputs: {error}") from error
    kinds["far"] = [name for name in external.ood if not any(name in names for names in kinds.values())]
    said = "; ".join(f"{kind}: {', '.join(names) or 'none'}" for kind, names in kinds.items())
    print(said, every_number(record), folder.path, sep="\n\n")


def warn_of_spelling(name: str) -> None:
    """Warn of a name that conf/ spells otherwise: CIFAR-100 is a set of its own, and far from all others."""
    known = conf_files("dataset") | conf_files("ood")
    same = [each for each in known if as_spelt(each) == as_spelt(name)]
    if same and name not in known:
        print(f"warning: {name} is not {same[0]}, as conf/ calls it; tables have it apart", flush=True)


def as_spelt(name: str) -> str:
    """ "CIFAR-100" -> "cifar100" """
    return re.sub(r"[^a-z0-9]", "", name.lower())


def kinds_of(
    names: Sequence[str], dataset: str, near: list[str] | None, shifted: list[str] | None
) -> dict[str, list[str]]:
    """Return the near and the shifted sets; where they are not given, those that conf/ calls so."""
    if near is None:
        near = [name for name in known_dataset(dataset).get("near", []) if name in names]
    if shifted is None:
        test, others = {"_target_": f"oodbench.data.{dataset}"}, [name for name in names if name not in near]
        shifted = [name for name in others if is_shifted({"_target_": f"oodbench.data.{name}"}, test)]
    return {"near": near, "shifted": shifted}


def known_dataset(name: str) -> dict[str, Any]:
    """Return what conf/dataset says of a set; nothing where it does not know it."""
    file = conf_files("dataset").get(name)
    return yaml.safe_load(file.read_text("utf-8")) if file else {}
