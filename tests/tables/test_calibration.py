"""The table of calibration metrics."""

from pathlib import Path

import pytest
from helpers.cli import script
from helpers.made_up import CALIBRATION, NOISE, add_run, column, notes

from oodbench.tables.calibration import calibration_table
from oodbench.tables.load import load_runs
from oodbench.tables.render import to_latex, to_markdown
from oodbench.tables.sections import Table


def of_runs(results: Path) -> Table:
    table = calibration_table(load_runs(results).runs)
    assert table
    return table


def test_versions_of_the_probabilities_stand_side_by_side(tmp_path: Path) -> None:
    add_run(tmp_path, "a", noise=NOISE, calibration=CALIBRATION)
    other = {**CALIBRATION, "normalised": {**CALIBRATION["own"], "ece": 0.03}, "temperature_scaled": None}
    add_run(tmp_path, "b", noise=NOISE, calibration=other)
    add_run(tmp_path, "old")
    table = of_runs(tmp_path)
    assert table.title.startswith("Calibration: resnet18 (width=64), recipe short, 10 epochs")
    names = ("ECE", "adaptive ECE", "class-wise ECE", "MCE", "NLL", "Brier", "smooth ECE")
    assert table.columns[2:9] == [("predictive", name + " ↓") for name in names]
    assert [table.columns[i][0] for i in (9, 16, 23)] == ["normalised", "temperature-scaled", "temperature-scaled"]
    assert column(table, "predictive", "ECE ↓") == ["**5.00 [3.1, 6.9]**", "**5.00 [3.1, 6.9]**", "—"]
    nll = ["0.300 [0.281, 0.319]", "0.300 [0.281, 0.319]", "—"]
    assert column(table, "predictive", "NLL ↓") == nll  # b's is not proper
    assert column(table, "predictive", "MCE ↓") == ["**20.00**", "**20.00**", "—"]
    assert column(table, "normalised", "ECE ↓") == ["5.00", "**3.00**", "—"]  # a's is its own
    assert column(table, "normalised", "NLL ↓") == ["**0.300**", "**0.300**", "—"]
    assert column(table, "temperature-scaled", "ECE ↓") == ["2.00", "—", "—"]
    assert column(table, "temperature-scaled", "T") == ["1.6", "—", "—"]
    assert "— scored without these numbers, score them again with `scripts/evaluate.py`: `old`." in table.notes
    assert "no finite temperature is the best one for a half of the images: `b`." in notes(table)
    assert "elsewhere bold alone is used" in notes(table)
    for printed in (to_markdown("cifar10", [table]), to_latex("cifar10", [table])):
        assert "temperature-scaled" in printed


def test_predictive_nll_is_tested_among_proper_scores(tmp_path: Path) -> None:
    """b moves with a and is .01 above; c's rows do not sum to one, so that its smaller NLL is no smaller."""
    for loss, nll, more in (("a", 0.3, {}), ("b", 0.31, {}), ("c", 0.1, {"normalised": CALIBRATION["own"]})):
        calibration = {**CALIBRATION, "own": {**CALIBRATION["own"], "nll": nll}, **more}
        noise = {"": NOISE, "nll": nll - 0.3 + NOISE}  # the fixture's own NLL is .3
        add_run(tmp_path, loss, noise=noise, calibration=calibration)
    table = of_runs(tmp_path)
    expected = ["**0.300 [0.281, 0.319]**", "0.310 [0.291, 0.329]", "0.100 [0.081, 0.119]"]
    assert column(table, "predictive", "NLL ↓") == expected


def test_over_seeds_it_is_mean_and_deviation(tmp_path: Path) -> None:
    for seed, nll in enumerate((0.3, 0.5)):
        calibration = {"own": {**CALIBRATION["own"], "nll": nll}, "temperature_scaled": None}
        add_run(tmp_path, seed=seed, calibration=calibration)
    table = of_runs(tmp_path)
    assert column(table, "predictive", "NLL ↓") == ["0.400 ± 0.141"]
    assert "temperature-scaled" not in {group for group, _ in table.columns[:-1]}


def test_a_metric_that_an_old_run_lacks_is_a_dash(tmp_path: Path) -> None:
    add_run(tmp_path, "a", noise=NOISE, calibration=CALIBRATION)
    own = {name: value for name, value in CALIBRATION["own"].items() if name != "mce"}
    add_run(tmp_path, "old", noise=NOISE, calibration={"own": own, "temperature_scaled": None})
    table = of_runs(tmp_path)
    assert column(table, "predictive", "MCE ↓") == ["20.00", "—"]
    assert "— scored without MCE, score them again with `scripts/evaluate.py`: `old`." in table.notes


def test_it_is_written_where_it_is_asked_for(tmp_path: Path) -> None:
    add_run(tmp_path)
    with pytest.raises(SystemExit, match="no run was scored with calibration numbers; score them again"):
        script("scripts/tables.py", f"results_dir={tmp_path}", "--calibration")
    add_run(tmp_path, "b", calibration=CALIBRATION)
    script("scripts/tables.py", f"results_dir={tmp_path}", "--calibration")
    assert {file.name for file in tmp_path.glob("*.*")} == {f"cifar10.calibration.{end}" for end in ("md", "tex")}
    text = (tmp_path / "cifar10.calibration.md").read_text()
    assert "`python scripts/tables.py --calibration`" in text
    assert "temperature-scaled" in text
    script("scripts/tables.py", f"results_dir={tmp_path}")
    assert "temperature-scaled" not in (tmp_path / "cifar10.md").read_text()
