"""Sentences of the page say what the runs hold."""

from pathlib import Path

from helpers.made_up import NOISE, add_run, alter_metrics
from helpers.report import add_full_run, add_odd_provenance

from oodbench.report.material import Material, read_material
from oodbench.report.page.words import (
    best,
    disagreements,
    facts,
    gaps,
    lead,
    machine,
    notes,
    run_row,
    versions,
)
from oodbench.report.table import EN_DASH, main_table
from oodbench.runs.record import MAIN_SCORES


def made(results: Path) -> Material:
    return read_material(results, MAIN_SCORES)


def test_the_lead_counts_networks_losses_and_seeds(tmp_path: Path) -> None:
    for loss, seed in (("a", 0), ("a", 1), ("b", 0)):
        add_run(tmp_path, loss, seed)
    add_run(tmp_path, "a", 0, config={"name": {"dataset": "cifar100"}})
    text = "4 trained networks: 2 losses on CIFAR-10 and CIFAR-100, 1 to 2 seeds each, in 2 protocols."
    assert lead(made(tmp_path).sections) == text
    for dataset, loss in (("cifar10", "b"), ("cifar100", "a")):
        add_run(tmp_path, loss, 2, config={"name": {"dataset": dataset}})
    assert "losses on CIFAR-10 and CIFAR-100, 2 seeds, in" in lead(made(tmp_path).sections)


def test_the_best_of_a_column_and_its_equals_are_named(tmp_path: Path) -> None:
    for loss, accuracy, auroc in (("a", 0.8, 0.7), ("b", 0.9, 0.9), ("c", 0.9, 0.8)):
        sets = {name: {"ood_score": auroc, "msp": 0.95 if loss == "c" else auroc} for name in ("svhn", "mnist")}
        add_run(tmp_path, loss, accuracy=accuracy, noise=NOISE, ood=sets)
    (section,) = made(tmp_path).sections
    found = dict(best(section, main_table(section, MAIN_SCORES)))
    assert found["Best accuracy"] == f"b 90.00 (88.1{EN_DASH}91.9) and c 90.00 (88.1{EN_DASH}91.9)"
    assert found["Best AUROC, far OOD, mean of 2"].startswith("c with MSP 95.00")
    assert not any("FPR" in name for name in found)


def test_of_many_equals_one_is_named(tmp_path: Path) -> None:
    for loss in "abcde":
        add_run(tmp_path, loss, noise=NOISE)
    (section,) = made(tmp_path).sections
    value = dict(best(section, main_table(section, MAIN_SCORES)))["Best accuracy"]
    assert value == f"a 90.00 (88.1{EN_DASH}91.9); 4 others are not distinguishable from it"


def test_one_run_has_no_best(tmp_path: Path) -> None:
    add_run(tmp_path, noise=NOISE, ood={"svhn": {"ood_score": 0.9, "msp": 0.7}})
    (section,) = made(tmp_path).sections
    assert best(section, main_table(section, MAIN_SCORES)) == []


def notes_of(results: Path) -> list[str]:
    (section,) = made(results).sections
    return notes(section, main_table(section, MAIN_SCORES))


def test_of_one_seed_networks_are_compared(tmp_path: Path) -> None:
    said, beyond = (
        ", on seed 0 alone: networks are compared, not losses.",
        "tests compare with the best on those that all rows share",
    )
    for loss in "ab":
        add_run(tmp_path, loss, noise=NOISE)
    assert said in notes_of(tmp_path)[0]
    assert beyond not in " ".join(notes_of(tmp_path))
    add_run(tmp_path, "a", 1, noise=NOISE)  # a row with a further seed is still tested on the one that all have
    assert said in notes_of(tmp_path)[0]
    assert f"{beyond}, seed 0; in " in " ".join(notes_of(tmp_path))
    add_run(tmp_path, "b", 1, noise=NOISE)
    assert "networks" not in notes_of(tmp_path)[0]
    assert beyond not in " ".join(notes_of(tmp_path))


def test_without_a_shared_seed_nothing_is_tested(tmp_path: Path) -> None:
    add_run(tmp_path, "a", 0, noise=NOISE)
    add_run(tmp_path, "b", 1, noise=NOISE)
    assert notes_of(tmp_path)[0].endswith("Bold: the best of a column, not tested.")
    assert "because the rows share no seed" in " ".join(notes_of(tmp_path))


def test_facts_are_of_all_runs(tmp_path: Path) -> None:
    for seed, gpu in enumerate(("GPU A", "GPU B")):
        about = {"device": gpu, "wall_time_s": 1800, "versions": {"torch": "9.9", "python": "3"}}
        alter_metrics(add_run(tmp_path, seed=seed), lambda content, about=about: content["provenance"].update(about))
    add_run(tmp_path, "unfinished", finished=False)
    material = made(tmp_path)
    assert dict(facts(material.sections[0].runs, material)) == {
        "Seeds": "0, 1",
        "OOD sets": "CIFAR-100, SVHN",
        "Machine": "GPU A, GPU B",
        "Training": "60 min in all",
        "Versions": "torch 9.9",
        "Not finished": "1 run",
    }


def test_odd_provenance_is_passed_over(tmp_path: Path) -> None:
    add_odd_provenance(add_run(tmp_path))
    material = made(tmp_path)
    assert not {"Machine", "Training", "Versions"} & dict(facts(material.sections[0].runs, material)).keys()


def test_a_machine_is_its_gpu_or_else_its_processor() -> None:
    assert machine({"device": "GPU A", "processor": "P"}) == "GPU A"
    assert machine({"device": "cpu", "processor": "P"}) == "P"
    assert machine({}) == versions({}) == versions({"versions": [1]}) == ""


def test_missing_outputs_are_told_once_or_by_run(tmp_path: Path) -> None:
    add_full_run(tmp_path, "a", 0, 0.8, with_outputs=False)
    text = "Without figures of scores, reliability and features: no stored outputs"
    assert gaps(made(tmp_path).sections[0]) == [f"{text}, in none of these runs."]
    add_full_run(tmp_path, "b", 1, 0.8)
    (section,) = made(tmp_path).sections
    assert gaps(section) == [f"{text.replace('no stored', 'a, seed 0: no stored')}."]
    assert all(line.startswith("b, seed 1: ") for line in disagreements(section))
    assert disagreements(section)  # made-up numbers and outputs


def test_a_run_is_a_row_with_its_folder_and_time(tmp_path: Path) -> None:
    folder = add_run(tmp_path, seed=3)
    alter_metrics(folder, lambda content: content["provenance"].update(wall_time_s=119))
    (section,) = made(tmp_path).sections
    row = {
        "label": "plain",
        "seed": "3",
        "folder": str(folder.relative_to(tmp_path)),
        "said": "119 s, no stored outputs",
    }
    assert run_row(section.runs[0], tmp_path) == row


def test_notes_name_both_conventions(tmp_path: Path) -> None:
    add_run(tmp_path)
    text = " ".join(notes_of(tmp_path))
    assert "95 % of ID accepted" in text
    assert "95 % of OOD caught" in text
