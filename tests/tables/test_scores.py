"""Names and hyperparameters of scores beneath a table."""

from pathlib import Path

from helpers.made_up import add_run, alter_metrics, only_section


def test_a_detector_set_differently_in_two_rows_is_named(tmp_path: Path) -> None:
    for loss, temperature in (("a", 1.0), ("b", 0.1)):
        folder = add_run(tmp_path, loss, ood={"svhn": {"energy": 0.9}})
        settings = {"energy": {"_target_": "oodbench.detectors.energy", "temperature": temperature}}
        alter_metrics(folder, lambda content, s=settings: content["provenance"].update(detector=s))
    (note,) = [n for n in only_section(tmp_path, detectors=("energy",)).notes if "set differently" in n]
    assert "temperature=1 in `a`; temperature=0.1 in `b`" in note


def test_detectors_set_alike_need_no_note(tmp_path: Path) -> None:
    for loss in ("a", "b"):
        folder = add_run(tmp_path, loss, ood={"svhn": {"energy": 0.9}})
        alter_metrics(folder, lambda content: content["provenance"].update(detector={"energy": {"temperature": 1}}))
    assert not any("set differently" in n for n in only_section(tmp_path, detectors=("energy",)).notes)
