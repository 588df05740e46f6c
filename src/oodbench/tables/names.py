"""Names as papers write them: the words with which the comment at the top of a file of conf/ begins."""

import re
from functools import cache
from pathlib import Path

import oodbench

CONF = Path(oodbench.__file__).resolve().parents[2] / "conf"
LONGEST = 24


@cache
def paper_name(group: str, key: str) -> str:
    """Return what papers call a loss, detector or set: "logitnorm" -> "LogitNorm".

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


def score_name(key: str, own: str = "ood_score") -> str:
    """Return the name of a detector; the loss's own OOD score is "own", as in the tables."""
    names = (paper_name(group, key) for group in ("detector", "image_detector"))
    return "own" if key == own else next((name for name in names if name != key), key)


def row_name(loss: str, label: str) -> str:
    """Return a row's label with the loss's name as papers write it: "halo (gamma=1)" -> "HALO (gamma=1)"."""
    return paper_name("loss", loss) + label.removeprefix(loss)
