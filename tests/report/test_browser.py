"""The page in a real browser, without network: sorting, filters, the threshold, both schemes, a phone, print."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.made_up import alter_metrics, score
from helpers.report import SETS, add_full_run, add_hostile_run

from oodbench.report.material import Section, read_material
from oodbench.report.page.build import report_html
from oodbench.report.threshold import rates
from oodbench.runs.record import MAIN_SCORES

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no chromium here: apt-get install chromium"),
]
PHONE = {"width": 390, "height": 844}
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("results")
    for loss, auroc in (("ce", 0.8), ("halo", 0.9), ("logitnorm", 0.85)):
        for seed in (0, 1):
            path = add_full_run(results, loss, seed, auroc)
    alter_metrics(path, lambda content: content["ood"]["cifar100"].update(knn=score(0.7)))  # of one seed of two
    add_hostile_run(results)
    return results


@pytest.fixture(scope="module")
def section(results: Path) -> Section:
    return read_material(results, MAIN_SCORES).sections[0]


@pytest.fixture(scope="module")
def file(results: Path) -> Path:
    material = read_material(results, MAIN_SCORES)
    file = results / "report.html"
    file.write_text(report_html(material, MAIN_SCORES, [], "python scripts/report.py"), "utf-8")
    return file


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium: Any, file: Path) -> Iterator[Open]:
    """Open the page with the network off; in the end there was no error on its console and no request."""
    contexts, complaints = [], list[str]()

    def open_page(**options: Any) -> Any:
        context = chromium.new_context(offline=True, **{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.on(
            "request",
            lambda request: None if request.url.startswith(("file:", "data:")) else complaints.append(request.url),
        )
        page.goto(file.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def test_it_opens_without_network_and_errors(opened: Open) -> None:
    page = opened()
    assert page.locator("h1").inner_text() == "OOD detection and calibration"
    assert page.locator("svg.panel").count() > 20


def test_a_click_sorts_by_a_column(opened: Open) -> None:
    page = opened()
    body = page.locator("table.main tbody").first
    button = page.locator("table.main thead button", has_text="AUROC").first
    values = "rows => rows.map(row => row.querySelector('td.s0')?.dataset.v).filter(Boolean).map(Number)"
    button.click()
    falling = body.locator("tr").evaluate_all(values)
    button.click()
    rising = body.locator("tr").evaluate_all(values)
    assert falling == sorted(falling, reverse=True)
    assert rising == sorted(rising)
    assert len(set(rising)) > 1


def test_what_has_no_number_is_sorted_last(opened: Open) -> None:
    page = opened()
    button = page.locator("table.main thead button", has_text="AUROC").first
    for _ in range(2):
        button.click()
        last = page.locator("table.main tbody tr").last
        assert last.locator("td.s0").first.inner_text()


@pytest.mark.parametrize("with_script", [True, False])
def test_filters_hide_rows_and_columns(opened: Open, with_script: bool) -> None:
    page = opened(java_script_enabled=with_script)
    rows = page.locator("table.main tbody tr:visible")
    all_rows = rows.count()
    page.locator("summary", has_text="Losses").click()
    page.get_by_role("checkbox", name="HALO").uncheck()
    assert 0 < rows.count() < all_rows
    assert not page.locator("table.main tbody tr:visible", has_text="HALO").count()
    page.keyboard.press("Escape")
    page.locator("summary", has_text="OOD sets").click()
    page.get_by_role("checkbox", name="SVHN").uncheck()
    assert not page.locator("table.main th:visible", has_text="SVHN").count()
    assert page.locator("table.main th:visible", has_text="CIFAR-100").count()


@pytest.mark.parametrize("with_script", [True, False])
def test_the_switch_changes_the_convention(opened: Open, with_script: bool) -> None:
    page = opened(java_script_enabled=with_script)
    shown = "cells => cells.filter(cell => cell.offsetParent).map(cell => cell.className)"
    assert all("idpos" in each for each in page.locator("td.idpos, td.oodpos").evaluate_all(shown))
    page.get_by_text("95 % of OOD caught", exact=True).first.click()
    classes = page.locator("td.idpos, td.oodpos").evaluate_all(shown)
    assert classes
    assert all("oodpos" in each for each in classes)


@pytest.mark.parametrize("with_script", [True, False])
@pytest.mark.parametrize("hidden", [[], ["Accuracy"], ["AUROC"], ["FPR@95", "ECE"], ["AUROC", "FPR@95"]])
def test_columns_stand_under_their_groups(opened: Open, hidden: list[str], with_script: bool) -> None:
    page = opened(java_script_enabled=with_script)
    page.locator("summary", has_text="Columns").click()
    for name in hidden:
        page.get_by_role("checkbox", name=name, exact=True).uncheck()
    heads = page.locator("table.main thead tr:last-child th:visible").all_inner_texts()
    assert not set(hidden) & set(heads)
    assert len(heads) == page.locator("table.main tbody tr").first.locator("th:visible, td:visible").count()
    if {"AUROC", "FPR@95"} <= set(hidden):
        assert not page.locator("table.main tr.groups span:visible").count()
        return
    edges = "cells => cells.filter(c => c.offsetParent).map(c => c.getBoundingClientRect()).map(r => [r.left, r.right])"
    for i in range(len(SETS)):
        (group,) = page.locator(f"table.main tr.groups th.s{i}").evaluate_all(edges)
        heads = page.locator(f"table.main thead tr:last-child th.s{i}").evaluate_all(edges)
        assert np.isclose(group[0], heads[0][0], atol=1)
        assert np.isclose(group[1], heads[-1][1], atol=1)


def test_the_slider_gives_the_numbers_of_python(opened: Open, section: Section) -> None:
    page = opened()
    root = page.locator(".threshold")
    label = root.locator("select.run option:checked").inner_text()
    run = next(r for r in section.runs if f"{r.label}, seed {r.result.seed}" == label)
    assert run.summary
    ood = root.locator("select.set").input_value()
    histogram = run.summary.histograms[root.locator("select.score").input_value()]
    totals = int(histogram.ids.sum()), int(histogram.oods[ood].sum())
    accepted = np.cumsum(np.stack([histogram.ids, histogram.oods[ood]]), axis=1)[:, :-1]
    stops = [(int(a), int(b)) for a, b in accepted.T] + list(histogram.at[ood].values())
    slider = root.locator("input[type=range]")
    assert int(slider.get_attribute("max") or 0) == len(stops) - 1
    for place in (0, 17, 40, len(stops) - 1):
        slider.fill(str(place))
        ids, oods = sorted(stops, key=sum)[place]
        for convention, expected in rates((ids, oods), totals).items():
            for i, value in enumerate(expected):
                text = root.locator(f".{convention}-{i}").inner_text()
                assert text == "—" if np.isnan(value) else np.isclose(float(text), 100 * value, atol=0.00501)


def test_dragging_moves_the_threshold(opened: Open) -> None:
    page = opened()
    picture = page.locator(".threshold svg.histogram")
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    assert box
    accepted = []
    page.mouse.move(box["x"] + 40, box["y"] + 100)
    page.mouse.down()
    for share in (0.1, 0.5, 0.9):
        page.mouse.move(box["x"] + share * box["width"], box["y"] + 100)
        accepted.append(float(page.locator(".threshold .idpos-0").inner_text()))
    page.mouse.up()
    assert accepted == sorted(accepted)
    assert accepted[0] < accepted[-1]


def test_choosing_a_run_draws_its_scores(opened: Open) -> None:
    page = opened()
    root = page.locator(".threshold")
    before = root.locator("svg.histogram path").first.evaluate("path => path.parentNode.innerHTML")
    root.locator("select.run").select_option(index=3)
    assert root.locator("svg.histogram path").first.evaluate("path => path.parentNode.innerHTML") != before


def test_the_heat_map_shows_another_number(opened: Open) -> None:
    page = opened()
    cell = page.locator(".heatmap td").first
    before = cell.inner_text()
    assert not cell.locator("small").is_visible()
    page.locator(".heatmap select.metric").select_option("fpr95_idpos")
    after = cell.inner_text()
    assert np.isclose(float(before) + float(after), 100, atol=0.011)  # as the runs were made up
    (few,) = page.locator(".heatmap td", has_text="(n=").all_inner_texts()
    assert few == "30.00 (n=1)"
    page.locator(".heatmap .with-intervals").check()
    low, _, high = cell.locator("small").inner_text().partition("–")  # noqa: RUF001
    assert float(low) <= float(after) <= float(high)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_both_schemes(opened: Open, scheme: str) -> None:
    page = opened(color_scheme=scheme)
    colors = page.evaluate(
        "() => ['body', 'h1', 'table.main td', '.lead', 'figcaption'].map(s => {"
        " const style = getComputedStyle(document.querySelector(s));"
        " return [style.color, getComputedStyle(document.body).backgroundColor]; })"
    )
    for text, background in colors:
        assert contrast(text, background) >= 4.5


def contrast(a: str, b: str) -> float:
    """Return the contrast of two CSS colours, 1 to 21 (WCAG 2)"""

    def luminance(color: str) -> float:
        parts = np.array([float(part) for part in color.partition("(")[2].rstrip(")").split(",")[:3]]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_a_phone_does_not_scroll_sideways(opened: Open) -> None:
    page = opened(viewport=PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_without_a_script_tables_and_figures_are_there(opened: Open) -> None:
    page = opened(java_script_enabled=False)
    assert page.locator("table.main tbody tr:visible").count() >= 6
    assert page.locator(".threshold svg.histogram path").count() > 3
    assert not page.locator(".threshold input[type=range]").is_visible()
    assert page.locator(".heatmap td").count()


def test_it_prints(opened: Open, tmp_path: Path) -> None:
    page = opened(color_scheme="dark")
    pdf = page.pdf(path=tmp_path / "report.pdf", prefer_css_page_size=True)
    assert pdf.startswith(b"%PDF")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator(".controls").is_visible()
