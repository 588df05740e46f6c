"""Published rows with ours beneath them, as the tables compare them, under the names of papers."""

from collections.abc import Sequence

from oodbench.report.material import Section
from oodbench.tables import CONVENTIONS
from oodbench.tables.labels import row_labels
from oodbench.tables.names import score_name, set_name
from oodbench.tables.published import Published
from oodbench.tables.published_table import published_table
from oodbench.tables.sections import Table


def published_tables(section: Section, published: Sequence[Published]) -> list[tuple[str, Table]]:
    """Return (convention, published rows of the section's protocol with ours beneath them), once where both agree."""
    found = {convention: published_table(section.measured, published, convention) for convention in CONVENTIONS}
    tables = [(convention, with_paper_names(table, section)) for convention, table in found.items() if table]
    same = len({str(table) for _, table in tables}) == 1
    return [("", tables[0][1])] if same else tables


def with_paper_names(table: Table, section: Section) -> Table:
    """Return the table with our rows, scores and sets named as papers write them."""
    labels = {label: section.labels[row] for row, label in row_labels(section.measured).items()}
    columns = []
    for group, name in table.columns:
        ood, bracket, kind = group.partition(" (")
        columns.append((f"{set_name(ood)}{bracket}{kind}", name))
    rows = [[labels.get(row[0], row[0]), _score(row[1]), *row[2:]] if row[2] == "ours" else row for row in table.rows]
    return table._replace(columns=columns, rows=rows)


def _score(name: str) -> str:
    """-> the name of a score, its hyperparameters in brackets behind it as they were"""
    detector, bracket, rest = name.partition(" (")
    return f"{score_name(detector)}{bracket}{rest}"
