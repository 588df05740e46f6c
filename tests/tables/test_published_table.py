"""Published rows and ours of the same protocol."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.config import ROOT
from helpers.made_up import HALO_BLOG, add_run, alter_metrics, column, notes

from oodbench.tables.load import load_runs
from oodbench.tables.published import load_published
from oodbench.tables.published_table import follows, published_table
from oodbench.tables.render import to_latex
from oodbench.tables.sections import Table
from oodbench.tables.write import tables_of

PUBLISHED = ROOT / "results" / "published.yaml"
FPR_OF = {"idpos": "FPR@95 (95 % of ID accepted) ↓", "oodpos": "FPR@95 (95 % of OOD caught) ↓"}
OPENOOD = ("experiment=openood", "loss=ce")
WHOLE = {
    **{"cifar10": 10_000, "cifar100": 10_000, "svhn": 26032, "textures": 5640},
    **{"mnist": 10_000, "tiny_imagenet": 7_793, "places365": 36_500},  # Tiny ImageNet by OpenOOD's list
}
SETS = ("cifar100", "tiny_imagenet", "mnist", "svhn", "textures", "places365")


def add_halo(results: Path, *overrides: str, **more: Any) -> None:
    more = {"ood": {"cifar100": {"ood_score": 0.8}, "svhn": {"ood_score": 0.9}}, "images": WHOLE} | more
    add_run(results, follows=(*HALO_BLOG, *overrides), **more)


def add_openood(results: Path, *overrides: str, seed: int = 0, sets: tuple[str, ...] = SETS, **more: Any) -> None:
    values = {"cifar100": 0.87, "tiny_imagenet": 0.89}
    ood = {name: {"msp": values.get(name, 0.91) + 0.001 * seed, "vim": 0.9} for name in sets}
    noise = np.random.default_rng(seed).normal(0, 0.001, 1000)
    more = {"accuracy": 0.95 + 0.001 * seed, "noise": noise, "images": WHOLE} | more
    add_run(results, seed=seed, ood=ood, follows=(*OPENOOD, *overrides), **more)


def made(results: Path, fpr: str = "idpos") -> Table | None:
    return published_table(load_runs(results).runs, load_published(PUBLISHED), fpr)


def rows_of(table: Table | None, name: str, score: str) -> dict[str, str]:
    """{group and name of a column: the first cell} of the row with this loss and score"""
    assert table is not None
    row = next(row for row in table.rows if row[0] == name and row[1] == score)
    return {f"{group} {title}".strip(): cell for (group, title), cell in zip(table.columns, row, strict=True)}


def test_a_row_of_another_protocol_is_not_shown(tmp_path: Path) -> None:
    add_run(tmp_path)
    add_run(tmp_path, "halo", config={"name": {"backbone": "fast", "recipe": "fast"}})
    tables = tables_of(load_runs(tmp_path).runs, load_published(PUBLISHED), "idpos", ["msp"])
    assert len(tables) == 2  # one a protocol
    assert not any("Published" in table.title for table in tables)


@pytest.mark.parametrize(
    "other",
    [
        ("recipe.epochs=100",),
        ("dataset.limit=1000",),
        ("backbone=resnet34",),
        ("backbone.width=16",),
        ("recipe.optimizer.lr=0.5",),
        ("recipe.optimizer.weight_decay=0",),
        ("recipe.schedule.final=0.1",),
        ("recipe.batch_size=256",),
        ("recipe.flip=false",),
        ("recipe.batch_norm_images=1000",),
        ("dataset.limit_test=9000", "recipe=openood100"),  # as many images as OpenOOD's, but others
    ],
)
def test_one_other_setting_is_another_protocol(tmp_path: Path, other: tuple[str, ...]) -> None:
    add_halo(tmp_path)
    assert made(tmp_path) is not None
    add_halo(tmp_path / "other", *other)
    assert made(tmp_path / "other") is None


@pytest.mark.parametrize(
    "other",
    [
        "loss.variant=notes",
        "loss.embedding_dim=512",
        "loss.radial_weight=0",
        "loss.distill=false",
        "recipe.clip_grad_norm=null",
        "+recipe.optimizer.dampening=0.1",
        "dataset.mean=[0,0,0]",
    ],
)
def test_another_setting_of_a_loss_is_not_beside_it(tmp_path: Path, other: str) -> None:
    add_halo(tmp_path, other)
    table = made(tmp_path)
    assert table is not None
    assert [row[2] for row in table.rows] == ["[1]", "[1]"]
    add_halo(tmp_path)
    both = made(tmp_path)
    assert both is not None
    assert [row[2] for row in both.rows] == ["[1]", "[1]", "ours"]


def test_published_rows_stand_above_ours(tmp_path: Path) -> None:
    add_halo(tmp_path, accuracy=0.96, ood={"svhn": {"ood_score": 0.98}, "cifar100": {"ood_score": 0.92}})
    table = made(tmp_path)
    assert table is not None
    assert table.title.startswith("Published rows of protocol halo_blog beside resnet18 (width=64), recipe sgd200")
    assert table.columns[4:] == [
        ("", "Accuracy ↑"),
        ("", "ECE ↓"),
        ("cifar100 (near)", "AUROC ↑"),
        ("cifar100 (near)", "FPR@95† ↓"),
        ("svhn (far)", "AUROC ↑"),
        ("svhn (far)", "FPR@95† ↓"),
    ]
    assert table.rows == [
        ["CCE+LS", "not stated", "[1]", "", "96.30", "7.98", "82.83", "48.94", "92.51", "22.08"],
        ["HALO", "not stated", "[1]", "", "96.53", "1.51", "91.72", "37.63", "98.08", "10.27"],
        ["halo", "own", "ours", "1", "96.00; -0.53", "5.00; +3.49", "92.00; +0.28", "", "98.00; -0.08", ""],
    ]
    assert "[1] HALO, https://www.pisoni.ai/posts/halo." in notes(table)
    assert "convention not stated" in notes(table)


def test_inside_is_said_of_the_interval_over_images(tmp_path: Path) -> None:
    """Noise of +-.002: 95 % of it are within .0019."""
    noise = np.linspace(-0.002, 0.002, 1000)
    sets = {"svhn": {"ood_score": 0.9825}, "cifar100": {"ood_score": 0.9192}}
    add_halo(tmp_path, accuracy=0.9633, noise=noise, ood=sets)
    ours = rows_of(made(tmp_path), "halo", "own")
    assert ours["Accuracy ↑"] == "96.33 [96.1, 96.5]; -0.20, outside"  # 96.53 is .20 away
    assert ours["svhn (far) AUROC ↑"] == "98.25 [98.1, 98.4]; +0.17, inside"
    assert ours["cifar100 (near) AUROC ↑"] == "91.92 [91.7, 92.1]; +0.20, outside"


def test_the_population_deviation_stands_beside_ours(tmp_path: Path) -> None:
    for seed in range(3):
        add_openood(tmp_path, seed=seed)
    table = made(tmp_path)
    ours, theirs = rows_of(table, "ce", "msp"), rows_of(table, "CrossEntropy", "MSP")
    assert theirs["Accuracy ↑"] == "95.06 ± 0.30"
    assert ours["Accuracy ↑"] == "95.10 ± 0.10 (population 0.08); +0.04, inside"  # of .950, .951, .952
    assert theirs["near mean AUROC ↑"] == "88.03 ± 0.25"
    assert ours["near mean AUROC ↑"] == "88.10 ± 0.10 (population 0.08); +0.07, inside"
    assert "population: the deviation with divisor n" in notes(table) if table else False


def test_only_a_published_deviation_has_ours_beside_it(tmp_path: Path) -> None:
    for seed in range(2):
        add_openood(tmp_path, seed=seed)
        run = load_runs(tmp_path).runs[seed]
        alter_metrics(
            run.folder, lambda content: content["ood"]["cifar100"].update(fdbd=content["ood"]["cifar100"]["vim"])
        )
        alter_metrics(run.folder, lambda c: c["ood"]["tiny_imagenet"].update(fdbd=c["ood"]["tiny_imagenet"]["vim"]))
    assert rows_of(made(tmp_path), "ce", "fdbd")["near mean AUROC ↑"] == "90.00 ± 0.00; -0.42, outside"
    assert "population" in rows_of(made(tmp_path), "ce", "vim")["near mean AUROC ↑"]


def test_a_score_that_is_not_stated_has_two_rows_of_ours(tmp_path: Path) -> None:
    def ours(place: str, images: int = 26_032, **scores: float) -> list[list[str]]:
        add_halo(tmp_path / place, accuracy=0.96, ood={"svhn": scores}, images=images)
        table = made(tmp_path / place)
        assert table is not None
        return [row[1:6] + row[8:9] for row in table.rows[2:]]

    of_id = ["96.00; -0.53", "5.00; +3.49"]
    assert ours("two", ood_score=0.98, msp=0.97) == [
        ["own", "ours", "1", *of_id, "98.00; -0.08"],
        ["msp", "ours", "1", "", "", "97.00; -1.08"],
    ]
    assert ours("equal", ood_score=0.98, msp=0.98) == [["own = msp", "ours", "1", *of_id, "98.00; -0.08"]]
    none = ours("none", ood_score=0.98, msp=0.5, images=1_580)  # of a set that is not compared
    assert [row[0] for row in none] == ["own", "msp"]
    assert ours("one", msp=0.97) == [["msp", "ours", "1", *of_id, "97.00; -1.08"]]


def test_a_second_hand_number_gets_no_verdict(tmp_path: Path) -> None:
    for seed in range(2):
        add_openood(tmp_path, seed=seed)
    table = made(tmp_path)
    assert table is not None
    verdicts = {}
    for row, ours in pairwise(table.rows):
        if row[2] != "ours" == ours[2]:
            verdicts.setdefault(row[0].endswith("‡"), set()).add(any("side" in cell for cell in ours))
    assert verdicts == {True: {False}, False: {True}}


@pytest.mark.parametrize("images", [10_000, 8_950, 6_498])  # whole, without CIFAR-10's classes, the list for CIFAR-100
def test_another_tiny_imagenet_than_that_of_the_list_is_not_compared(images: int, tmp_path: Path) -> None:
    add_openood(tmp_path, images=WHOLE | {"tiny_imagenet": images})
    ours = rows_of(made(tmp_path), "ce", "msp")
    assert ours["near mean AUROC ↑"] == "—"
    assert ours["far mean AUROC ↑"].startswith("91.00 ")


def test_a_detector_is_compared_with_its_row(tmp_path: Path) -> None:
    add_openood(tmp_path)
    found = rows_of(made(tmp_path), "ce", "vim")
    assert found["near mean AUROC ↑"].startswith("90.00 ")
    assert "; +1.32" in found["near mean AUROC ↑"]  # 88.68
    assert found["Accuracy ↑"] == ""


def test_a_mean_of_other_sets_is_not_compared(tmp_path: Path) -> None:
    add_openood(tmp_path, sets=(*SETS, "noise"))
    assert rows_of(made(tmp_path), "ce", "msp")["far mean AUROC ↑"].startswith("91.00 ")  # noise takes no part
    sampled = tuple(name.replace("svhn", "svhn_sample") for name in SETS)
    add_openood(tmp_path / "other", sets=sampled)
    ours = rows_of(made(tmp_path / "other"), "ce", "msp")
    assert ours["far mean AUROC ↑"] == "—"
    assert ours["near mean AUROC ↑"].startswith("88.00 ")


def test_a_published_fpr_stands_only_under_its_own_convention(tmp_path: Path) -> None:
    add_openood(tmp_path)
    idpos, oodpos = made(tmp_path, "idpos"), made(tmp_path, "oodpos")
    assert idpos is not None
    assert oodpos is not None
    assert ("near mean", FPR_OF["oodpos"]) not in idpos.columns
    assert ("near mean", FPR_OF["idpos"]) not in oodpos.columns
    assert "58.47" not in to_latex("cifar10", [idpos])
    assert "48.17" in column(oodpos, "near mean", FPR_OF["oodpos"])


def test_second_hand_rows_are_marked(tmp_path: Path) -> None:
    add_openood(tmp_path)
    table = made(tmp_path, "oodpos")
    assert table is not None
    names = {row[0] for row in table.rows}
    assert {"CrossEntropy‡", "PALM (one run)", "OE (trained with outlier data)"} <= names
    assert "‡ second-hand" in notes(table)
    assert to_latex("cifar10", [table]).isascii()


def test_no_table_shows_a_row_without_a_protocol(tmp_path: Path) -> None:
    published = load_published(PUBLISHED)
    assert any(row.protocol is None for row in published)
    add_run(tmp_path)
    run = load_runs(tmp_path).runs[0]
    assert not any(row.protocol and follows(run, row.protocol.runs) for row in published)
    assert published_table([run], [row._replace(protocol=None) for row in published], "idpos") is None


def test_a_sample_of_a_set_is_not_compared(tmp_path: Path) -> None:
    add_halo(tmp_path, images=WHOLE | {"svhn": 1580})
    ours = rows_of(made(tmp_path), "halo", "own")
    assert ours["svhn (far) AUROC ↑"] == "—"
    assert ours["cifar100 (near) AUROC ↑"].startswith("80.00; ")
    add_openood(tmp_path, images=WHOLE | {"places365": 3000})
    assert rows_of(made(tmp_path), "ce", "msp")["far mean AUROC ↑"] == "—"


def test_seeds_of_other_images_are_not_averaged(tmp_path: Path) -> None:
    def numbers_of_seeds(place: str, of_seeds: list[dict[str, Any]]) -> list[str]:
        for seed, more in enumerate(of_seeds):
            add_halo(tmp_path / place, f"seed={seed}", seed=seed, **more)
        table = made(tmp_path / place)
        assert table is not None
        assert ("other images stand in a row" in notes(table)) == (len(table.rows) > 3)
        return [row[3] for row in table.rows[2:]]

    digests = [{"digests": {"test": digest, "svhn": "s", "cifar100": "c"}} for digest in "aba"]
    assert numbers_of_seeds("digests", digests) == ["2", "1"]
    scores = [{"ood": {"svhn": {"ood_score": 0.98, "msp": msp}}} for msp in (0.98, 0.5)]
    assert numbers_of_seeds("scores", [a | b for a, b in zip(scores, digests, strict=False)]) == ["1", "1", "1"]
    assert numbers_of_seeds("early", [{}, digests[0]]) == ["2"]  # which say nothing of their images
    assert numbers_of_seeds("sizes", [{}, {"images": WHOLE | {"cifar100": 50_000}}]) == ["1", "1"]
    sets = {"cifar100": {"ood_score": 0.8}, "svhn": {"ood_score": 0.9}, "textures": {"ood_score": 0.9}}
    assert numbers_of_seeds("further", [{}, {"ood": sets}]) == ["2"]  # no number compared is of textures


def test_every_run_of_a_table_is_asked_for_its_protocol(tmp_path: Path) -> None:
    """The recipe's values are no part of a table's title, so that the first of its runs may follow none."""
    add_halo(tmp_path)
    add_run(tmp_path, follows=("experiment=halo_blog", "loss=ce", "recipe.optimizer.lr=0.01"))
    runs = load_runs(tmp_path).runs
    for some in (runs, runs[::-1]):
        table = published_table(some, load_published(PUBLISHED), "idpos")
        assert table is not None
        assert [row[0] for row in table.rows if row[2] == "ours"] == ["halo"]


def test_the_title_names_the_part_of_the_test_set(tmp_path: Path) -> None:
    """Runs on 9,000 images of another choice are another table."""
    add_openood(tmp_path)
    add_openood(tmp_path, "dataset.test.split=openood_9000")
    tables = tables_of(load_runs(tmp_path).runs, load_published(PUBLISHED), "idpos", ["msp"])
    titles = [table.title for table in tables]
    assert [name for title in titles for name in ("own_9000", "openood_9000") if f", split {name}, " in title] == [
        "openood_9000",
        "openood_9000",
        "own_9000",
        "own_9000",
    ]
    assert all("9,000 test images of the split" in notes(table) for table in tables if "Published" not in table.title)


def test_our_score_has_its_hyperparameters(tmp_path: Path) -> None:
    add_openood(tmp_path)
    of = {"vim": {"_target_": "oodbench.detectors.vim", "_partial_": True, "dim": 300}}
    (run,) = load_runs(tmp_path).runs
    alter_metrics(run.folder, lambda content: content["provenance"].update(detector=of))
    table = made(tmp_path)
    assert table is not None
    assert {row[1] for row in table.rows if row[2] == "ours"} == {"msp", "vim (dim=300)"}
