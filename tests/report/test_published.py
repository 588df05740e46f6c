"""Published rows on the page: the tables' own, with ours named as papers write them."""

from pathlib import Path

from helpers.config import ROOT
from helpers.made_up import HALO_BLOG, add_run, alter_metrics

from oodbench.report.material import Section, read_material
from oodbench.report.page.published import published_tables
from oodbench.runs.record import MAIN_SCORES
from oodbench.tables.load import load_runs
from oodbench.tables.published import load_published
from oodbench.tables.published_table import published_table
from oodbench.tables.write import CONVENTIONS

PUBLISHED = load_published(ROOT / "results" / "published.yaml")


def made(results: Path) -> Section:
    (section,) = read_material(results, MAIN_SCORES).sections
    return section


def test_numbers_are_those_of_the_tables_with_names_of_papers(tmp_path: Path) -> None:
    add_run(tmp_path, "halo", accuracy=0.9, follows=HALO_BLOG)
    shown = dict(published_tables(made(tmp_path), PUBLISHED))
    assert shown.keys() <= {"", *CONVENTIONS}
    for convention, table in shown.items():
        expected = published_table(load_runs(tmp_path).runs, PUBLISHED, convention or CONVENTIONS[0])
        assert expected is not None
        assert [row[2:] for row in table.rows] == [row[2:] for row in expected.rows]
        ours = [row[:2] for row in table.rows if row[2] == "ours"]
        assert ours
        assert {label for label, _ in ours} == {"HALO"}
        assert any("SVHN" in group for group, _ in table.columns)


def test_a_section_of_another_protocol_has_none(tmp_path: Path) -> None:
    add_run(tmp_path)
    assert published_tables(made(tmp_path), PUBLISHED) == []


def test_a_score_with_hyperparameters_is_named_like_the_others(tmp_path: Path) -> None:
    ood = {"svhn": {"ood_score": 0.9, "msp": 0.9, "energy": 0.9}}
    run = add_run(tmp_path, "ce", ood=ood, images=26_032, follows=("experiment=openood", "loss=ce"))
    of = {"energy": {"_target_": "oodbench.detectors.energy", "_partial_": True, "temperature": 1.0}}
    alter_metrics(run, lambda content: content["provenance"].update(detector=of))
    tables = [table for _, table in published_tables(made(tmp_path), PUBLISHED)]
    assert tables
    for table in tables:
        ours = {row[1] for row in table.rows if row[2] == "ours"}
        assert {"MSP", "Energy (temperature=1)"} <= ours
