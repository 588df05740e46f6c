"""Vector files for papers."""

from pathlib import Path

import numpy as np
import pytest
from helpers.report import add_full_run

from oodbench.report.material import read_material
from oodbench.report.plot import Axis, Bars, Dots, Label, Line, Panel, Plot, Steps
from oodbench.report.vector import COLORS, COLUMN, PAGE, drawn, save, write_figures
from oodbench.runs.record import MAIN_SCORES

AXIS = Axis("a $ sign", 0, 1, [(0.5, "$x")])
MARKS = [
    Line([0, 1], [0, 1], "c0", dashed=True),
    Steps([0, 0.5, 1], [0.2, 0.8], "id", filled=True),
    Bars(np.array([0.1]), np.array([0.2]), np.array([0.0]), np.array([0.5]), "gap"),
    Dots([0.5], [0.5], "near", hollow=True),
    Label(0.5, 0.5, "$$", "ink", "middle"),
]
PANEL = Panel("CE", AXIS, AXIS, MARKS)


@pytest.mark.parametrize(("panels", "width"), [(1, COLUMN), (3, PAGE)])
def test_widths_are_those_of_two_column_papers(panels: int, width: float) -> None:
    assert drawn(Plot("p", "", [PANEL] * panels, "")).get_figwidth() == width


def test_pdf_embeds_type_42_fonts(tmp_path: Path) -> None:
    pdf, svg = save(Plot("p", "", [PANEL], ""), tmp_path / "p", ["pdf", "svg"])
    assert pdf.read_bytes().startswith(b"%PDF")
    assert b"/Type3" not in pdf.read_bytes()
    assert svg.read_text().startswith("<?xml")


def test_the_same_plot_is_the_same_file(tmp_path: Path) -> None:
    files = [save(Plot("p", "", [PANEL], ""), tmp_path / name, ["pdf", "svg"]) for name in ("a", "b")]
    assert [file.read_bytes() for file in files[0]] == [file.read_bytes() for file in files[1]]


def test_an_unknown_format_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no format gif; available: pdf, svg, png"):
        save(Plot("p", "", [PANEL], ""), tmp_path / "p", ["gif"])


def test_colours_of_series_differ_in_lightness_or_hue() -> None:
    series = [COLORS[f"c{i}"] for i in range(8)]
    assert len(set(series)) == 8


def test_every_figure_of_the_page_is_a_file(tmp_path: Path) -> None:
    for loss, auroc in (("ce", 0.8), ("halo", 0.9)):
        add_full_run(tmp_path, loss, 0, auroc)
    material = read_material(tmp_path, MAIN_SCORES)
    files = write_figures(material.sections, tmp_path / "figures", ["svg"])
    names = {file.stem for file in files}
    assert {f"cifar10-{name}" for name in ("cliques", "accuracy", "scores", "roc", "heat", "training")} <= names
    assert all(file.stat().st_size > 1000 for file in files)


def test_every_mark_is_drawn_at_its_values() -> None:
    marks = [
        Line([0, 2], [0, 5], "c0"),
        Bars(np.array([0.5]), np.array([1.0]), np.array([2.0]), np.array([4.0]), "gap"),
        Dots([0.5], [8], "near"),
        Steps([0, 1, 2], [3, 4], "id", base=1),
    ]
    axes = drawn(Plot("p", "", [Panel("", Axis("", 0, 2), Axis("", 0, 10), marks)], "")).axes[0]
    assert (axes.get_xlim(), axes.get_ylim()) == ((0, 2), (0, 10))
    assert axes.lines[0].get_xydata().tolist() == [[0, 0], [2, 5]]
    assert axes.collections[0].get_offsets().tolist() == [[0.5, 8]]
    bar, stairs = axes.patches[:2]
    assert (bar.get_x(), bar.get_y(), bar.get_width(), bar.get_height()) == (0.5, 2, 0.5, 2)
    assert stairs.get_data().values.tolist() == [4, 5]
    assert (stairs.get_data().edges.tolist(), stairs.get_data().baseline) == ([0, 1, 2], 1)
