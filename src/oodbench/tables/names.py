"""Names as papers write them: the words with which the comment at the top of a file of conf/ begins."""

import re
from collections import Counter
from collections.abc import Mapping
from functools import cache

from oodbench.runs.record import OWN_SCORE
from oodbench.shipped import CONF
from oodbench.tables.labels import Row

LONGEST = 24


@cache
def paper_name(group: str, key: str) -> str:
    """Return what papers call a loss, detector or set: "cifar10" -> "CIFAR-10".

    The key itself where conf/<group> has no such file, or its comment does not begin with a short name.
    """
    file = CONF / group / f"{key}.yaml"
    if not re.fullmatch(r"[\w.+-]+", key) or not file.is_file():
        return key
    lines = (line for line in file.read_text("utf-8").splitlines() if not line.startswith("# @package"))
    comment = re.match(r"# ?(.+?)(?=, | \(|: |\. |$)", next(lines, ""))
    return comment[1] if comment and len(comment[1]) <= LONGEST else key


def set_name(key: str) -> str:
    """Return the name of a data set, ID or OOD; of a part of a known one its name and the rest: "SVHN sample"."""
    known, _, rest = key, "", ""
    while known:
        for group in ("ood", "dataset"):
            if (name := paper_name(group, known)) != known:
                return f"{name} {rest}".strip()
        known, _, last = known.rpartition("_")
        rest = f"{last} {rest}".strip()
    return key


def licence(key: str) -> str:
    """Return the licence of a data set, from a comment of its file in conf/; "" where none is stated there."""
    files = [CONF / group / f"{key}.yaml" for group in ("dataset", "ood")] if re.fullmatch(r"[\w.+-]+", key) else []
    texts = (file.read_text("utf-8") for file in files if file.is_file())
    found = (re.search(r"^# Licence: (.+)$", text, re.MULTILINE) for text in texts)
    return next((each[1] for each in found if each), "")


def score_name(key: str) -> str:
    """Return the name of a detector; the loss's own OOD score is "own", as in the tables."""
    names = (paper_name(group, key) for group in ("detector", "image_detector"))
    return "own" if key == OWN_SCORE else next((name for name in names if name != key), key)


def row_name(loss: str, label: str) -> str:
    """Return a row's label, "<loss> (gamma=1)", with the loss's name as papers write it."""
    return paper_name("loss", loss) + label.removeprefix(loss)


def row_names(labels: Mapping[Row, str]) -> dict[Row, str]:
    """Return {row: its name as `row_name` has it; its label, which is unique, where two would have that name}."""
    names = {row: row_name(row.loss, label) for row, label in labels.items()}
    times = Counter([*names.values(), *(label for row, label in labels.items() if label != names[row])])
    return {row: name if times[name] == 1 else labels[row] for row, name in names.items()}
