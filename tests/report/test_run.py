"""The page of one run."""

from html import unescape

import pytest
from helpers.cli import Finished

from oodbench.report.material import read_one
from oodbench.report.page.run import run_html
from oodbench.runs.record import MAIN_SCORES


@pytest.fixture(scope="module")
def html(finished: Finished) -> str:
    return run_html(read_one(finished.folder), MAIN_SCORES, "python scripts/report.py RUN")


def test_it_names_the_command(html: str) -> None:
    assert "python train.py dataset=digits backbone=resnet18 loss=halo recipe=smoke seed=3" in unescape(html)


def test_it_has_provenance_configuration_and_citation(html: str, finished: Finished) -> None:
    for title in ("Repeat it", "Cost", "Cite", "Provenance", "Configuration"):
        assert f"<h3>{title}</h3>" in html
    assert finished.metrics["provenance"]["train_digest"] in html
    assert "HALO-Loss" in html


def test_its_numbers_are_those_of_the_record(html: str, finished: Finished) -> None:
    assert f"{100 * finished.metrics['accuracy']:.2f}" in html
    for scores in finished.metrics["ood"].values():
        assert f"{100 * scores['ood_score']['auroc']:.2f}" in html


def test_its_figures_are_there(html: str) -> None:
    for name in ("scores", "roc", "reliability", "norms", "components", "training"):
        assert f'<figure class="figure-{name}">' in html
    assert "figure-cliques" not in html
