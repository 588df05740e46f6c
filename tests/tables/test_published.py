"""Rows of other people's tables."""

import re
from pathlib import Path

import pytest
from helpers.config import ROOT
from helpers.made_up import FPR, add_run, column

from oodbench.tables import load_published, load_runs, tables_of, to_markdown

PUBLISHED = ROOT / "results" / "published.csv"


def test_published_rows_are_a_block_of_their_own(tmp_path: Path) -> None:
    add_run(tmp_path)
    ours, theirs = tables_of(load_runs(tmp_path).runs, load_published(PUBLISHED), "idpos", ["ood_score"])
    assert theirs.title == "Published rows"
    assert theirs.columns[2:] == [
        ("", "Accuracy ↑"),
        ("", "ECE ↓"),
        ("cifar100 (near)", "AUROC ↑"),
        ("cifar100 (near)", "FPR@95† ↓"),
        ("svhn (far)", "AUROC ↑"),
        ("svhn (far)", "FPR@95† ↓"),
    ]
    assert theirs.rows == [
        ["CCE+LS", "ResNet-18", "96.30", "7.98", "82.83", "48.94", "92.51", "22.08"],
        ["HALO", "ResNet-18", "96.53", "1.51", "91.72", "37.63", "98.08", "10.27"],
    ]
    assert any("https://www.pisoni.ai/posts/halo" in note for note in theirs.notes)
    assert any("convention not stated" in note for note in theirs.notes)
    assert not any("†" in name for _, name in ours.columns)


def test_published_numbers_are_the_sources_for_cifar100() -> None:
    rows = [row for row in load_published(PUBLISHED) if row.dataset == "cifar100"]
    assert [list(row.numbers.values()) for row in rows] == [
        [0.8094, 0.1102, 0.8101, 0.8100, 0.7975, 0.7677],
        [0.8080, 0.0283, 0.8691, 0.6370, 0.8100, 0.7538],
    ]


def test_a_published_fpr_stands_only_under_its_own_convention(tmp_path: Path) -> None:
    csv = tmp_path / "published.csv"
    header = "dataset,loss,backbone,near,source,protocol,note,svhn.fpr95_idpos,svhn.fpr95_oodpos"
    csv.write_text(f"{header}\ncifar10,x,net,,paper,,,0.1,\ncifar10,y,net,,paper,,,,0.2\n")
    add_run(tmp_path)
    runs = load_runs(tmp_path).runs
    idpos, oodpos = (tables_of(runs, load_published(csv), fpr, ["ood_score"])[1] for fpr in ("idpos", "oodpos"))
    assert column(idpos, "svhn (far)", FPR) == ["10.00", "—"]
    assert column(oodpos, "svhn (far)", "FPR@95 (95 % of OOD caught) ↓") == ["—", "20.00"]
    assert "20.00" not in to_markdown("cifar10", [idpos])


def test_a_dataset_without_published_rows_has_no_block(tmp_path: Path) -> None:
    add_run(tmp_path, config={"name": {"dataset": "digits"}})
    assert len(tables_of(load_runs(tmp_path).runs, load_published(PUBLISHED), "idpos", ["ood_score"])) == 1


@pytest.mark.parametrize("change", [("0.9630", "high"), ("near", "far")])
def test_a_damaged_published_file_is_named(tmp_path: Path, change: tuple[str, str]) -> None:
    (path := tmp_path / "published.csv").write_text(PUBLISHED.read_text().replace(*change))
    with pytest.raises(ValueError, match=re.escape(str(path))):
        load_published(path)
