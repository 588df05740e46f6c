"""Caveats beneath a table: what its rows differ in beside their loss, and what no title says."""

import re
from pathlib import Path
from typing import Any

from helpers.made_up import CALIBRATION, NOISE, add_run, alter_metrics, notes, only_section

from oodbench.publishing.leaderboard import leaderboard
from oodbench.report.material import read_material
from oodbench.report.page.words import notes as page_notes
from oodbench.report.table import main_table
from oodbench.tables.calibration import calibration_table
from oodbench.tables.caveats import grouped, unlike
from oodbench.tables.comparison import compare_runs
from oodbench.tables.comparison_text import report
from oodbench.tables.load import load_runs
from oodbench.tables.matrix import matrix_tables
from oodbench.tables.overview import overview
from oodbench.tables.sections import section


def texts_of(results: Path) -> list[str]:
    """Return what is shown of runs of two losses with the same seeds: all kinds of tables, the page, a comparison"""
    runs = load_runs(results).runs
    calibration = calibration_table(runs)
    assert calibration
    pairs = [(a, b) for a in runs for b in runs if a.loss < b.loss and a.seed == b.seed]
    (of_page,) = read_material(results, ["msp"]).sections
    return [
        notes(matrix_tables(runs, "idpos", ["msp"])[0]),
        notes(calibration),
        notes(section(runs, "idpos", ["msp"])),
        overview(runs),
        leaderboard(runs, {}, ["msp"]),
        report(pairs, "msp", "msp", compare_runs(pairs, "msp", "msp"), []),
        "".join(page_notes(of_page, main_table(of_page, ["msp"]))),
    ]


def test_settings_are_grouped_by_their_values(tmp_path: Path) -> None:
    for seed in range(3):
        add_run(tmp_path, seed=seed)
    first, second, third = load_runs(tmp_path).runs
    settings = [
        ("x", first, {"a": "1", "b": "0"}),
        ("y", first, {"a": "2", "b": "0"}),
        ("z", first, {"a": "1", "b": "0"}),
    ]
    assert grouped(settings) == "a=1, b=0 in x, z; a=2, b=0 in y"
    assert unlike(settings) == "a=1 in x, z; a=2 in y"
    assert unlike(settings[::2]) == ""
    of_seeds = [*settings[:1], ("x", second, {"a": "2"}), ("x", third, {"a": "2"}), ("y", third, {})]
    assert grouped(of_seeds) == "a=1, b=0 in x (seed 0); a=2 in x (seeds 1, 2); nothing in y"


def test_a_recipe_that_differs_is_told_everywhere(tmp_path: Path) -> None:
    for loss, clip in (("a", None), ("b", 1.0)):
        add_run(tmp_path, loss, noise=NOISE, calibration=CALIBRATION, config={"recipe": {"clip_grad_norm": clip}})
    for text in texts_of(tmp_path):
        assert re.search(r"The recipe is not the same in all runs: clip\W*_grad\W*_norm=null in \W*a\W", text), text


def test_hyperparameters_of_losses_stand_on_every_page(tmp_path: Path) -> None:
    add_run(tmp_path, "a", noise=NOISE, config={"loss": {"smoothing": 0.1}})
    add_run(tmp_path, "b", noise=NOISE)
    runs = load_runs(tmp_path).runs
    (of_page,) = read_material(tmp_path, ["msp"]).sections
    says = "Hyperparameters of the losses: `a` smoothing=0.1; `b` smoothing=0."
    assert says in page_notes(of_page, main_table(of_page, ["msp"]))
    assert says.replace("`", "") in leaderboard(runs, {}, ["msp"])
    text = report([(runs[0], runs[1])], "msp", "msp", compare_runs([(runs[0], runs[1])], "msp", "msp"), [])
    assert re.search(r"^A: \S+ \(smoothing=0.1\), msp", text, re.MULTILINE), text


def test_other_normalisation_is_told(tmp_path: Path) -> None:
    for loss, mean in (("a", [0.4, 0.4, 0.4]), ("b", [0.5, 0.5, 0.5])):
        add_run(tmp_path, loss, config={"dataset": {"mean": mean, "std": [0.2, 0.2, 0.2]}})
    (note,) = [note for note in only_section(tmp_path).notes if "normalised by" in note]
    assert note.endswith("dataset.mean=[0.4, 0.4, 0.4] in `a`; dataset.mean=[0.5, 0.5, 0.5] in `b`.")


def test_settings_of_ood_sets_are_told(tmp_path: Path) -> None:
    how = {"_target_": "oodbench.data.cifar10c", "root": "data", "corruption": "fog", "severity": 3, "split": "test"}
    for loss in "ab":
        path = add_run(tmp_path, loss)
        alter_metrics(path, lambda content: content["provenance"].update(ood={"svhn": how, "cifar100": {"path": "x"}}))
    assert "OOD set svhn: corruption=fog, severity=3." in only_section(tmp_path).notes
    alter_metrics(path, lambda content: content["provenance"].update(ood={"svhn": how | {"severity": 5}}))
    told = "OOD set svhn: corruption=fog, severity=3 in `a`; corruption=fog, severity=5 in `b`."
    assert [note for note in only_section(tmp_path).notes if note.startswith("OOD set ")] == [told]
    add_run(tmp_path, "early")  # does not say
    assert [note for note in only_section(tmp_path).notes if note.startswith("OOD set ")] == [told]


def test_an_overlap_that_was_allowed_is_told(tmp_path: Path) -> None:
    add_run(tmp_path, "a")
    path = add_run(tmp_path, "b")
    with (path / "config.yaml").open("a") as file:
        file.write("allow_overlap: true\n")
    (note,) = [note for note in only_section(tmp_path).notes if "allow_overlap" in note]
    assert note.endswith("(allow_overlap=true): `b`.")


def test_what_chosen_hyperparameters_were_chosen_on_is_told(tmp_path: Path) -> None:
    sets: list[dict[str, Any]] = [
        {"_target_": "oodbench.data.textures", "split": "test"},
        {"path": "/data/mine.parquet"},
    ]
    for loss, ood, k in zip("ab", sets, (5, 50), strict=True):
        path = add_run(tmp_path, loss, ood={"svhn": {"knn_selected": 0.9}})
        detector = {"knn_selected": {"_target_": "oodbench.detectors.knn", "k": k}}
        validation = {"of": {"images": 5000, "ood": ood}, "ood": {}}
        change = {"validation": validation}
        alter_metrics(path, lambda content, c=change: content.update(c))
        alter_metrics(path, lambda content, d=detector: content["provenance"].update(detector=d))
    found = only_section(tmp_path, detectors=("knn_selected",)).notes
    assert (
        "Hyperparameters of knn_selected were chosen on held-out images and an OOD set: images=5000, ood=textures in "
        "`a`; images=5000, ood.path=mine.parquet in `b`."
    ) in found
    assert "knn_selected is set differently: k=5 in `a`; k=50 in `b`." in found
    assert not any("were chosen" in note for note in only_section(tmp_path, detectors=("msp",)).notes)


def test_a_key_that_has_a_column_is_no_caveat(tmp_path: Path) -> None:
    for loss, temperature in (("a", 1.0), ("b", 0.1)):
        folder = add_run(tmp_path, loss, ood={"svhn": {"energy": 0.9}})
        settings = {"energy": {"_target_": "oodbench.detectors.energy", "temperature": temperature}}
        alter_metrics(folder, lambda content, s=settings: content["provenance"].update(detector=s))
    runs, key = load_runs(tmp_path).runs, "detector.energy.temperature"
    assert any("set differently" in note for note in section(runs, "idpos", ["energy"], []).notes)
    assert not any("set differently" in note for note in section(runs, "idpos", ["energy"], [key]).notes)


def test_sets_of_other_images_are_named(tmp_path: Path) -> None:
    for seed, digest in enumerate(("s", "other", "s")):
        add_run(tmp_path, seed=seed, digests={"test": "t", "cifar100": "c", "svhn": digest})
    add_run(tmp_path, seed=3)  # does not say
    runs = load_runs(tmp_path).runs
    note = "Not the same images in all runs, by the digests of their files: svhn."
    assert note in section(runs, "idpos", ["ood_score"]).notes
    assert note in matrix_tables(runs, "idpos", ["ood_score"])[0].notes
    assert note not in section([runs[0], *runs[2:]], "idpos", ["ood_score"]).notes


def test_seeds_of_other_code_are_named(tmp_path: Path) -> None:
    for loss, digests in (("a", "xxx"), ("b", "xyx"), ("c", "x")):
        for seed, digest in enumerate(digests):
            path = add_run(tmp_path, loss, seed)
            code = {"loss": digest, "backbone": "same"}
            alter_metrics(path, lambda content, code=code: content["provenance"].update(code=code))
    add_run(tmp_path, "b", 3)  # of an earlier version, which did not say
    table = section(load_runs(tmp_path).runs, "idpos", ["ood_score"])
    assert [note for note in table.notes if "code" in note] == [
        "The code of the loss is not the same in all runs of `b`."
    ]


def test_all_kinds_of_tables_say_what_is_unlike(tmp_path: Path) -> None:
    paths = [add_run(tmp_path, seed=seed, noise=NOISE, calibration=CALIBRATION) for seed in range(2)]
    for path, digest in zip(paths, "xy", strict=True):
        code = {"code": {"loss": digest}, "metric_code": {"ece": digest}}
        alter_metrics(path, lambda content, code=code: content["provenance"].update(code))
        add_run(tmp_path, "other", seed=int(digest == "y"), noise=NOISE, calibration=CALIBRATION)
    for text in texts_of(tmp_path):
        assert re.search(r"The code of the loss is not the same in all runs of \W*plain", text), text
        assert re.search(r"The code of \W*ece\W* changed between runs", text), text


def test_rows_of_one_loss_are_of_one_code(tmp_path: Path) -> None:
    for lr, digest in ((0.1, "x"), (0.2, "y")):
        path = add_run(tmp_path, "a", config={"recipe": {"clip_grad_norm": lr}})
        alter_metrics(path, lambda content, d=digest: content["provenance"].update(code={"loss": d}))
    table = section(load_runs(tmp_path).runs, "idpos", ["ood_score"], ["recipe.clip_grad_norm"])
    assert len(table.rows) == 2
    rows = "`a` (recipe.clip_grad_norm=0.1), `a` (recipe.clip_grad_norm=0.2)"
    assert f"The code of the loss is not the same in all runs of {rows}." in table.notes


def test_a_detector_of_other_code_is_named(tmp_path: Path) -> None:
    for seed, digest in enumerate("xy"):
        path = add_run(tmp_path, seed=seed)
        alter_metrics(path, lambda content, d=digest: content["provenance"].update(detector_code={"ood_score": d}))
    add_run(tmp_path, seed=2)  # of an earlier version, which did not say
    says = "The code of `ood_score` changed between runs, score them again with `scripts/evaluate.py`."
    assert says in only_section(tmp_path).notes
    assert says not in only_section(tmp_path, detectors=("msp",)).notes


def test_a_metric_of_other_code_is_named(tmp_path: Path) -> None:
    for seed, digest in enumerate("xy"):
        path = add_run(tmp_path, seed=seed)
        digests = {"auroc": digest, "accuracy": "same", "autc": digest}  # the last of no number here
        alter_metrics(path, lambda content, of=digests: content["provenance"].update(metric_code=of))
    add_run(tmp_path, seed=2)  # of an earlier version, which did not say
    says = "The code of `auroc` changed between runs, score them again with `scripts/evaluate.py`."
    assert says in only_section(tmp_path).notes


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
