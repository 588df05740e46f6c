"""Published rows with ours beneath them, as the tables compare them, under the names of papers."""

from collections.abc import Sequence

from oodbench.report.material import Section
from oodbench.tables.names import score_name, set_name
from oodbench.tables.published import Published
from oodbench.tables.published_table import Names, published_table
from oodbench.tables.sections import Table
from oodbench.tables.write import CONVENTIONS


def published_tables(section: Section, published: Sequence[Published]) -> list[tuple[str, Table]]:
    """Return (convention, published rows of the section's protocol with ours beneath them), once where both agree."""
    names = Names(section.labels, score_name, set_name)
    found = {convention: published_table(section.results, published, convention, names) for convention in CONVENTIONS}
    tables = [(convention, table) for convention, table in found.items() if table]
    same = len({str(table) for _, table in tables}) == 1
    return [("", tables[0][1])] if same else tables
