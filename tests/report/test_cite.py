"""Citations of a run."""

from pathlib import Path

from helpers.made_up import add_run

from oodbench.report.cite import citations, is_behind, line
from oodbench.tables.results import load_run


def test_a_run_cites_its_loss_and_network(tmp_path: Path) -> None:
    run = load_run(add_run(tmp_path))._replace(loss="logitnorm", backbone="resnet18")
    text = "\n".join(citations(run))
    assert "oodbench" in text
    assert "Mitigating Neural Network Overconfidence with Logit Normalization" in text
    assert "Deep Residual Learning" in text
    assert "Circle Loss" not in text


def test_few_authors_are_named_and_many_are_not() -> None:
    few = {"authors": [{"family-names": "He"}, {"alias": "x"}], "title": "T", "year": 2020, "url": "u"}
    assert line(few) == "He, x (2020). T. u"
    assert line(few | {"authors": [{"family-names": "Sun"}] * 4}).startswith("Sun et al.")


def test_a_condition_on_a_value_is_met_or_not(tmp_path: Path) -> None:
    run = load_run(add_run(tmp_path))._replace(loss="ce_smooth", loss_settings={"label_smoothing": "0.1"})
    notes = "loss=ce with label_smoothing"
    assert is_behind(notes, run)
    assert not is_behind(notes, run._replace(loss_settings={"label_smoothing": "0"}))
    assert not is_behind(notes, run._replace(loss="center"))
    assert not is_behind("backbone=resnet18, and more", run._replace(backbone="resnet34"))
