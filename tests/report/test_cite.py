"""Citations of a run."""

from pathlib import Path

import pytest
from helpers.made_up import add_run

from oodbench.report.cite import citations, is_behind, line
from oodbench.shipped import CONF
from oodbench.tables.load import load_run


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
    run = load_run(add_run(tmp_path))._replace(loss="ce_smooth", settings={"loss.label_smoothing": "0.1"})
    notes = "loss=ce with label_smoothing"
    assert is_behind(notes, run)
    assert not is_behind(notes, run._replace(settings={"loss.label_smoothing": "0"}))
    assert not is_behind(notes, run._replace(loss="center"))
    assert not is_behind("backbone=resnet18, and more", run._replace(backbone="resnet34"))


FILES = [path for part in ("loss", "backbone") for path in sorted((CONF / part).glob("*.yaml"))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}={path.stem}")
def test_every_loss_and_backbone_has_a_reference(tmp_path: Path, path: Path) -> None:
    settings = {"loss.label_smoothing": "0.1" if path.stem == "ce_smooth" else "0"}
    run = load_run(add_run(tmp_path))._replace(backbone="mine", settings=settings)
    cited = citations(run._replace(**{path.parent.name: path.stem}))
    assert (len(cited) > 1) == (path.stem not in ("ce", "timm"))  # of no one paper
