"""Names and hyperparameters of scores beneath a table."""

from pathlib import Path

from helpers.made_up import add_run, alter_metrics

from oodbench.tables.load import load_runs
from oodbench.tables.scores import all_hyperparameters, described


def test_hyperparameters_that_all_runs_share_stand_beside_the_name(tmp_path: Path) -> None:
    for loss, power in (("a", 1), ("b", 2)):
        settings = {"energy": {"_target_": "oodbench.detectors.energy", "temperature": 0.5, "power": power}}
        folder = add_run(tmp_path, loss, ood={"svhn": {"energy": 0.9}})
        alter_metrics(folder, lambda content, s=settings: content["provenance"].update(detector=s))
    runs = load_runs(tmp_path).runs
    assert described(runs, "energy") == "energy (temperature=0.5)"
    assert described(runs[:1], "energy") == "energy (power=1, temperature=0.5)"
    assert described(runs, "msp") == "msp (minus the largest class probability)"
    (note,) = all_hyperparameters(runs, ["energy", "msp"])
    assert note.endswith("energy temperature=0.5.")
