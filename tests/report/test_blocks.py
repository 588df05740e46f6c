"""The blocks of a section: in their order, and none where there is nothing to show."""

from pathlib import Path

from helpers.made_up import add_run
from helpers.report import add_full_run

from oodbench.report.gallery import figures_of
from oodbench.report.heat import heat_of, printed
from oodbench.report.material import Section, read_material
from oodbench.report.page.blocks import NARROW, blocks, heat_block, plot_block, sheet_block
from oodbench.runs.record import MAIN_SCORES

ORDER = ["cliques", "accuracy", "heat", "scores", "threshold", "roc", "reliability", "norms", "components", "training"]


def made(results: Path) -> Section:
    (section,) = read_material(results, MAIN_SCORES).sections
    return section


def two_losses(results: Path) -> Section:
    for loss, auroc in (("a", 0.8), ("b", 0.9)):
        add_full_run(results, loss, 0, auroc)
    return made(results)


def test_blocks_stand_in_the_order_of_the_page(tmp_path: Path) -> None:
    found = [block for block in blocks(two_losses(tmp_path)) if block]
    assert [block.get("name", block["kind"]) for block in found] == ORDER


def test_a_figure_is_narrow_by_the_width_of_its_panels(tmp_path: Path) -> None:
    for plot in figures_of(two_losses(tmp_path)):
        block = plot_block(plot)
        assert len(block["panels"]) == len(plot.panels)
        assert all(str(panel).startswith("<svg") for panel in block["panels"])
        assert block["is_narrow"] == (sum(panel.width for panel in plot.panels) < NARROW)
        assert (block["title"], block["caption"]) == (plot.title, plot.caption)


def test_the_heat_map_prints_the_numbers_of_its_data(tmp_path: Path) -> None:
    section = two_losses(tmp_path)
    block, heat = heat_block(section), heat_of(section)
    assert block is not None
    first = heat.numbers[heat.choices[0][0], "auroc"]
    assert [cells for _, cells in block["rows"]] == [[printed(n, "auroc", 1) for n in row] for row in first]


def test_one_detector_has_no_heat_map(tmp_path: Path) -> None:
    add_run(tmp_path, ood={"svhn": {"ood_score": 0.9}})
    assert heat_block(made(tmp_path)) is None


def test_without_images_there_are_no_contact_sheets(tmp_path: Path) -> None:
    assert sheet_block(two_losses(tmp_path)) is None
