"""Tables -> text: Markdown as GitHub shows it, LaTeX with booktabs."""

import re
from collections.abc import Iterable, Sequence
from itertools import groupby

from oodbench.evaluation.metric import MISSING
from oodbench.phrases import printable
from oodbench.tables.sections import Table

FOOTNOTES = (MISSING, *"¹²³⁴⁵⁶⁷⁸⁹†‡[")  # a note that begins so explains a mark in the table, or what one cites
BOLD = re.compile(r"\*\*(.+?)\*\*")
ITALICS = re.compile(r"(?<![\w*])\*(?=\S)([^*]+)(?<=\S)\*(?![\w*])")  # not the stars of a product
NARROWER = "Of all columns; python scripts/tables.py --style paper writes tables that fit a page."
NOT_READ = "Finished runs that cannot be read and are left out"
ESCAPED = str.maketrans(
    {
        **{character: f"\\{character}" for character in "{}$&%#_"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "|": r"\textbar{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "±": r"$\pm$",
        "↑": r"$\uparrow$",
        "↓": r"$\downarrow$",
        "†": r"$^\dagger$",
        "‡": r"$^\ddagger$",
        "—": "---",
        "‰": r"\textperthousand{}",
        **{digit: rf"\textsuperscript{{{i}}}" for i, digit in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
    }
)
IN_ASCII = str.maketrans({"±": "+-", "—": "--"})


def to_markdown(dataset: str, tables: Iterable[Table], options: str = "", left_out: Sequence[str] = ()) -> str:
    """Format one section per table, its notes beneath.

    options: those of the command that made it; left_out: one line for each run that no table has.
    """
    parts = [f"# {dataset}", f"Made from all finished runs by `python scripts/tables.py{options}`."]
    if left_out:
        reasons = (f"- `{printable(line).replace('`', '')}`" for line in left_out)
        parts.append("\n".join([f"{NOT_READ}:", "", *reasons]))
    for table in tables:
        columns = ([without_html(text) for text in column if text] for column in table.columns)
        rows = [[without_html(cell) for cell in row] for row in table.rows]
        parts.append(f"## {without_html(table.title)}")
        parts.append(markdown_table(["<br>".join(column) for column in columns], rows, table.words))
        parts.append("\n".join(f"- {without_html(note)}" for note in table.notes))
    return "\n\n".join(parts) + "\n"


def without_html(text: str) -> str:
    """Return a text that no browser takes for HTML: names, settings and reasons of a run are untrusted."""
    return printable(text).replace("<", "&lt;")


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]], words: int) -> str:
    """Format a table whose first `words` columns are words, the others numbers, set to the right."""
    rule = ["---" if i < words else "---:" for i in range(len(header))]
    return "\n".join(_markdown_row(row) for row in (header, rule, *rows))


def _markdown_row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def to_latex(dataset: str, tables: Iterable[Table], left_out: Sequence[str] = (), suffix: str = "") -> str:
    r"""Format one table* per table, its notes as comments; needs the packages named on the first line.

    \caption has the title, the table's summary and the notes that explain a mark; \label the suffix of the file's name.
    """
    not_read = [f"{NOT_READ}:", *left_out] if left_out else []
    head = comments([r"\usepackage{booktabs,adjustbox}", NARROWER, *not_read])
    return "\n".join([*head, ""]) + "".join(_latex_table(dataset, table, suffix) for table in tables)


def _latex_table(dataset: str, table: Table, suffix: str) -> str:
    groups: list[str] = []
    rules, start = "", 1
    for group, members in groupby(table.columns, key=lambda column: column[0]):
        width = len(list(members))
        groups += [rf"\multicolumn{{{width}}}{{c}}{{{latex(group)}}}"] if group else [""] * width
        rules += rf"\cmidrule(lr){{{start}-{start + width - 1}}}" if group else ""
        start += width
    blocks = [list(rows) for _, rows in groupby(table.rows, key=lambda row: row[0])]  # the rows of one loss
    space = "\n\\addlinespace\n" if len(blocks) < len(table.rows) else "\n"
    body = space.join("\n".join(latex_row(map(latex, row)) for row in block) for block in blocks)
    slug = re.sub(r"[^a-z0-9]+", "-", f"{dataset}{suffix} {table.title}".lower()).strip("-")
    footnotes = [note for note in table.notes if note.startswith(FOOTNOTES)]
    caption = " ".join(filter(None, [f"{dataset}: {table.title}.", table.summary, *footnotes]))
    lines = [
        "",
        *comments(note for note in table.notes if note not in footnotes),
        r"\begin{table*}[t]",
        r"\centering",
        rf"\caption{{{latex(caption)}}}",
        rf"\label{{tab:{slug}}}",
        r"\begin{adjustbox}{max width=\textwidth}",
        rf"\begin{{tabular}}{{{'l' * table.words}{'r' * (len(table.columns) - table.words)}}}",
        r"\toprule",
        *([latex_row(groups), rules] if rules else []),
        latex_row(latex(name) for _, name in table.columns),
        r"\midrule",
        body,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{adjustbox}",
        r"\end{table*}",
        "",
    ]
    return "\n".join(lines)


def comments(notes: Iterable[str]) -> list[str]:
    """Return notes as lines of comment in ASCII."""
    lines = (f"% {printable(' '.join(note.split()))}".translate(IN_ASCII) for note in notes)
    return [line.encode("ascii", "backslashreplace").decode() for line in lines]


def latex_row(cells: Iterable[str]) -> str:
    """Format a row of cells that are escaped. A [ or * at its start would be an argument of the line before."""
    row = " & ".join(cells)
    return "{}" * row.startswith(("[", "*")) + row + r" \\"


def latex(text: str) -> str:
    r"""Escape a text; **bold** becomes \textbf, *italics* \textit, `code` \texttt."""
    text = printable(text).translate(ESCAPED)
    text = ITALICS.sub(r"\\textit{\1}", BOLD.sub(r"\\textbf{\1}", text))
    return re.sub(r"`(.+?)`", r"\\texttt{\1}", text)
