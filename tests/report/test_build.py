"""The page: what is on it, and that nothing from a run can break it."""

import json
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import pytest
from helpers.config import ROOT
from helpers.made_up import HALO_BLOG, add_run, add_taus
from helpers.report import HOSTILE, add_full_run, add_garbage_run, add_hostile_run, add_odd_provenance

from oodbench.report.material import read_material
from oodbench.report.page.build import report_html
from oodbench.runs.record import MAIN_SCORES
from oodbench.tables.load import load_runs
from oodbench.tables.published import Published, load_published
from oodbench.tables.published_table import published_table

PUBLISHED = ROOT / "results" / "published.yaml"
LARGEST = 2_000_000  # bytes, of a page of 60 runs


def page_of(results: Path, published: Sequence[Published] = ()) -> str:
    return report_html(read_material(results, MAIN_SCORES), MAIN_SCORES, published, "python scripts/report.py")


class Elements(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> str:
    results = tmp_path_factory.mktemp("full")
    for loss, auroc in (("ce", 0.8), ("halo", 0.9)):
        for seed in (0, 1):
            add_full_run(results, loss, seed, auroc)
    return page_of(results)


def test_the_page_needs_nothing_else(full: str) -> None:
    found = Elements(full)
    links = [value for name, value in found.attributes if name in ("src", "href") and value]
    assert not [link for link in links if not link.startswith(("data:", "#"))]
    assert "@import" not in full
    assert "default-src 'none'" in full


def test_all_figures_are_there(full: str) -> None:
    for name in ("cliques", "accuracy", "scores", "roc", "reliability", "norms", "components", "training"):
        assert f'<figure class="figure-{name}">' in full
    assert 'class="threshold"' in full
    assert 'class="heatmap"' in full


def test_both_conventions_are_named(full: str) -> None:
    assert "95 % of ID accepted" in full
    assert "95 % of OOD caught" in full


def test_numbers_and_losses_are_on_the_page(full: str) -> None:
    text = Elements(full).text
    assert "HALO" in text
    assert "4 trained networks: 2 losses on CIFAR-10, 2 seeds, in 1 protocol." in text
    assert "90.00" in text


def test_outputs_that_disagree_are_told(full: str) -> None:
    assert "from the outputs" in full


def test_the_same_runs_give_the_same_page(tmp_path: Path) -> None:
    add_full_run(tmp_path, "ce", 0, 0.8)
    assert page_of(tmp_path) == page_of(tmp_path)


def test_data_for_the_script_is_json(full: str) -> None:
    blocks = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', full, re.DOTALL)
    assert blocks
    for block in blocks:
        json.loads(block)


def test_hostile_text_is_text(tmp_path: Path) -> None:
    add_hostile_run(tmp_path)
    add_run(tmp_path, "evil")
    html = page_of(tmp_path)
    found = Elements(html)
    assert "<script>alert" not in html
    assert "onerror" not in dict(found.attributes)
    assert HOSTILE in found.text


def test_runs_without_outputs_say_so(tmp_path: Path) -> None:
    add_full_run(tmp_path, "ce", 0, 0.8, with_outputs=False)
    html = page_of(tmp_path)
    assert "no stored outputs, in none of these runs" in html
    assert 'class="threshold"' not in html
    assert '<figure class="figure-training">' in html


def test_a_run_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    add_run(tmp_path)
    folder = add_garbage_run(tmp_path)
    text = Elements(page_of(tmp_path)).text
    assert "cannot be read and are left out" in text
    assert str(folder.relative_to(tmp_path)) in text


def test_odd_provenance_does_not_stop_the_page(tmp_path: Path) -> None:
    add_odd_provenance(add_run(tmp_path))
    assert "<table" in page_of(tmp_path)


def test_damaged_outputs_are_one_line(tmp_path: Path) -> None:
    folder = add_full_run(tmp_path, "ce", 0, 0.8)
    (folder / "outputs/test.safetensors").write_bytes(b"\0" * 64)
    assert "outputs/test.safetensors is damaged" in page_of(tmp_path)


def test_a_swept_hyperparameter_is_a_figure(tmp_path: Path) -> None:
    add_taus(tmp_path)
    assert "LogitNorm: loss.tau" in page_of(tmp_path)


def test_published_rows_stand_beneath_with_ours(tmp_path: Path) -> None:
    add_run(tmp_path, "halo", accuracy=0.9, follows=HALO_BLOG)
    rows = load_published(PUBLISHED)
    table = published_table(load_runs(tmp_path).runs, rows, "idpos")
    text = Elements(page_of(tmp_path, rows)).text
    assert "Published rows of this protocol" in text
    assert table
    for cell in {cell for row in table.rows for cell in row[2:]}:
        assert cell in text


def test_rows_of_another_protocol_are_not_shown(tmp_path: Path) -> None:
    add_run(tmp_path)
    assert "Published rows" not in page_of(tmp_path, load_published(PUBLISHED))


def test_protocols_are_sections(tmp_path: Path) -> None:
    add_run(tmp_path)
    add_run(tmp_path, config={"recipe": {"epochs": 100}})
    assert page_of(tmp_path).count("<section id=") == 2


@pytest.mark.slow
def test_sixty_runs_are_below_two_megabytes(tmp_path: Path) -> None:
    for i in range(20):
        for seed in range(3):
            folder = add_full_run(tmp_path, f"loss{i}", seed, 0.7 + i / 100)
            assert folder
    assert len(page_of(tmp_path).encode()) < LARGEST
