"""Columns of tables: their order and headings."""

from pathlib import Path

from helpers.made_up import FPR, add_run, column, sections


def test_columns_are_near_sets_first_and_one_fpr_convention(tmp_path: Path) -> None:
    add_run(tmp_path, ood={"a_far": {"ood_score": 0.9}, "cifar100": {"ood_score": 0.8}})
    (table,) = sections(tmp_path, fpr="oodpos")
    assert table.columns[5:] == [
        ("cifar100 (near)", "AUROC ↑"),
        ("cifar100 (near)", "FPR@95 (95 % of OOD caught) ↓"),
        ("a_far (far)", "AUROC ↑"),
        ("a_far (far)", "FPR@95 (95 % of OOD caught) ↓"),
    ]
    assert column(table, "a_far (far)", "FPR@95 (95 % of OOD caught) ↓") == ["50.00"]
    (table,) = sections(tmp_path)
    assert column(table, "a_far (far)", FPR) == ["10.00"]


def test_ood_sets_of_different_size_are_different_columns(tmp_path: Path) -> None:
    add_run(tmp_path, seed=0, ood={"svhn": {"ood_score": 0.9}}, images=26_032)
    add_run(tmp_path, seed=1, ood={"svhn": {"ood_score": 0.5}}, images=1_580)
    (table,) = sections(tmp_path)
    assert column(table, "svhn (far), 26,032 images", "AUROC ↑") == ["90.00 (n=1)"]
    assert column(table, "svhn (far), 1,580 images", "AUROC ↑") == ["50.00 (n=1)"]
