"""Rates at the movable threshold."""

from pathlib import Path

import numpy as np
import pytest
from helpers.cli import Finished
from helpers.made_up import add_run
from helpers.report import add_full_run

from oodbench.report.material import Section, read_material, read_one
from oodbench.report.summary import summarise
from oodbench.report.threshold import block, packed, rates
from oodbench.runs.record import MAIN_SCORES
from oodbench.tables.load import load_run


@pytest.fixture(scope="module")
def section(finished_ce: Finished) -> Section:
    return read_one(finished_ce.folder)


def test_rates_by_hand() -> None:
    found = rates((95, 20), (100, 50))
    assert found["idpos"] == (0.95, 0.4, 95 / 115)
    assert found["oodpos"] == (0.6, 0.05, 30 / 35)


def test_rates_where_nothing_is_flagged() -> None:
    assert np.isnan(rates((10, 10), (10, 10))["oodpos"].precision)
    assert np.isnan(rates((0, 0), (10, 10))["idpos"].precision)


def test_at_its_thresholds_stand_the_numbers_of_the_record(section: Section) -> None:
    (run,) = packed(section)
    numbers = section.runs[0].result.numbers
    checked = 0
    for detector, score in run["scores"].items():
        ids = sum(score["ids"])
        for ood, each in score["sets"].items():
            totals = ids, sum(each["counts"])
            for convention, (_, *accepted, _) in each["at"].items():
                found = rates((accepted[0], accepted[1]), totals)[convention]
                assert np.isclose(found.fpr, numbers[ood, detector, f"fpr95_{convention}"])
                assert found.tpr >= 0.95
                checked += 1
    assert checked


def test_without_a_script_the_first_threshold_is_printed(section: Section) -> None:
    found = block(section)
    assert found
    _, name, _, values = found["rates"][0]
    numbers = section.runs[0].result.numbers
    assert name == "ID positive"
    assert values[1] == f"{100 * numbers[section.sets[0], 'ood_score', 'fpr95_idpos']:.2f}"


def test_runs_without_outputs_have_no_threshold(section: Section) -> None:
    bare = section._replace(runs=[run._replace(summary=None) for run in section.runs])
    assert block(bare) is None
    assert packed(bare) == []


def test_stored_outputs_agree_with_the_record(finished_ce: Finished, tmp_path: Path) -> None:
    assert summarise(load_run(finished_ce.folder)).disagreements == []


def test_where_no_pictured_run_has_outputs_another_is_shown(tmp_path: Path) -> None:
    """Of a loss the row with most seeds is pictured, which has none here."""
    for seed in range(2):
        add_run(tmp_path, "ce", seed, config={"loss": {"smoothing": 0.1}})
    add_full_run(tmp_path, "ce", 0, 0.8)
    found = block(read_material(tmp_path, MAIN_SCORES).sections[0])
    assert found
    assert found["said"].startswith("CE (smoothing=0), seed 0")
