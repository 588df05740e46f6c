"""Tables as Markdown and LaTeX."""

import re
from pathlib import Path
from typing import Any

import pytest
from helpers.config import ROOT
from helpers.made_up import CALIBRATION, HALO_BLOG, add_run

from oodbench.tables.calibration import calibration_table
from oodbench.tables.load import load_runs
from oodbench.tables.matrix import matrix_tables
from oodbench.tables.published import load_published
from oodbench.tables.render import latex, to_latex, to_markdown
from oodbench.tables.sections import Table
from oodbench.tables.write import tables_of

PUBLISHED = ROOT / "results" / "published.yaml"


def test_markdown_has_as_many_cells_in_every_row(tmp_path: Path) -> None:
    add_run(tmp_path, config={"loss": {"form": "a|b"}}, follows=HALO_BLOG)
    add_run(tmp_path, config={"loss": {"form": "c"}}, follows=HALO_BLOG)
    text = to_markdown(
        "cifar10", tables_of(load_runs(tmp_path).runs, load_published(PUBLISHED), "idpos", ["ood_score", "msp"])
    )
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert [len({len(re.findall(r"(?<!\\)\|", line)) for line in block}) for block in blocks] == [1, 1]
    assert r"a\|b" in text


HOSTILE = "<img src=x onerror=alert(1)> \x1b]0;title\x07 \\input{/etc/passwd}"


@pytest.mark.parametrize("part", ["title", "columns", "rows", "notes"])
def test_foreign_words_are_neither_html_nor_control_characters(part: str) -> None:
    table = Table("title", [("", "Loss"), ("x", "AUROC")], [["a", "90"]], ["a note"], 1)
    evil: dict[str, Any] = {"title": HOSTILE, "columns": [("", "Loss"), (HOSTILE, "AUROC")]}
    evil |= {"rows": [[HOSTILE, "90"]], "notes": [HOSTILE]}
    table = table._replace(**{part: evil[part]})
    for text in (to_markdown("z", [table], "", [HOSTILE]), to_latex("z", [table], [HOSTILE])):
        assert all(c.isprintable() or c == "\n" for c in text)
        in_code = ("%", "- `")  # a comment of LaTeX, the reason for a run that is left out
        assert not [line for line in text.splitlines() if "<img" in line and not line.startswith(in_code)]


def test_latex_escapes() -> None:
    assert latex(r"a_b & 5 % {x} #1 $ ^ ~ \n") == (
        r"a\_b \& 5 \% \{x\} \#1 \$ \textasciicircum{} \textasciitilde{} \textbackslash{}n"
    )
    assert latex("**91.00 ± 0.10** `fpr95_idpos` ↑ †") == (
        r"\textbf{91.00 $\pm$ 0.10} \texttt{fpr95\_idpos} $\uparrow$ $^\dagger$"
    )
    assert latex("*90.00 ± 0.10* / **9.00**, 2*a*b * c") == r"\textit{90.00 $\pm$ 0.10} / \textbf{9.00}, 2*a*b * c"


def test_latex_is_balanced_ascii_with_equal_rows(tmp_path: Path) -> None:
    ood = {"tiny_imagenet": {"ood_score": 0.9}, "cifar100": {"ood_score": 0.8}}
    add_run(tmp_path, ood=ood, config={"loss": {"form": "odd_{name&"}}, follows=HALO_BLOG)
    add_run(tmp_path, config={"loss": {"form": "plain"}}, follows=HALO_BLOG)
    text = to_latex("cifar10", tables_of(load_runs(tmp_path).runs, load_published(PUBLISHED), "idpos", ["ood_score"]))
    assert text.isascii()
    bare = re.sub(r"\\[{}&%$#_\\]", "", re.sub("^%.*", "", text, flags=re.MULTILINE))
    depth = 0
    for brace in re.findall("[{}]", bare):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    assert depth == 0
    assert text.count("addlinespace") == 0  # a row a loss
    assert bare.count("$") % 2 == 0
    assert re.findall(r"\\begin{(.+?)}", text) == ["table*", "adjustbox", "tabular"] * 2
    assert re.findall(r"\\end{(.+?)}", text) == ["tabular", "adjustbox", "table*"] * 2
    labels = re.findall(r"\\label{(.+?)}", text)
    assert len(set(labels)) == 2
    for tabular in re.findall(r"\\begin{tabular}{([lr]+)}(.+?)\\end{tabular}", text, re.DOTALL):
        for line in tabular[1].splitlines():
            if line.endswith(r" \\"):
                spanned = sum(int(width) - 1 for width in re.findall(r"\\multicolumn{(\d+)}", line))
                assert len(re.findall(r"(?<!\\)&", line)) + 1 + spanned == len(tabular[0])


def test_a_caption_has_the_summary_and_footnotes(tmp_path: Path) -> None:
    """Other notes are comments above the table."""
    notes = ["Bold: 5 % ± 1.", "† of a mark.", "— `vim` no head.", "[1] A source.", "¹ a reason."]
    text = to_latex("cifar10", [Table("t", [("", "Loss")], [["a"]], notes, 1, "In percent.")])
    (caption,) = re.findall(r"\\caption{(.+)}\n", text)
    assert caption == (
        r"cifar10: t. In percent. $^\dagger$ of a mark. --- \texttt{vim} no head. [1] A source. "
        r"\textsuperscript{1} a reason."
    )
    assert "\n% Bold: 5 % +- 1.\n\\begin{table*}" in text


def test_captions_of_all_tables_are_short(tmp_path: Path) -> None:
    for loss, seed in (("a", 0), ("b", 0), ("b", 1)):
        add_run(tmp_path, loss, seed, calibration=CALIBRATION)
    runs = load_runs(tmp_path).runs
    tables = [*tables_of(runs, [], "idpos", ["ood_score", "msp"]), *matrix_tables(runs, "idpos", ["ood_score", "msp"])]
    calibration = calibration_table(runs)
    for table in (*tables, *[calibration] * bool(calibration)):
        (caption,) = re.findall(r"\\caption{(.+)}\n", to_latex("cifar10", [table]))
        assert table.summary
        assert len(caption.split()) < 75


@pytest.mark.parametrize("start", ["[64, 256]", "*"])
def test_a_row_is_no_argument_of_the_line_before(start: str) -> None:
    text = to_latex("cifar10", [Table("t", [("", "Loss")], [[start]], [])])
    assert f"\\midrule\n{{}}{start}" in text


def test_latex_separates_losses_of_several_rows() -> None:
    rows = [["a", "own"], ["a", "msp"], ["b", "own"], ["b", "msp"]]
    text = to_latex("cifar10", [Table("t", [("", "Loss"), ("", "Score")], rows, [])])
    assert text.count("addlinespace") == 1
