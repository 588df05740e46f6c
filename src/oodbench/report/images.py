"""Images of OOD sets, where they are there already: nothing is downloaded, and no path in a run's files is opened.

Decoded images lie in the cache under the digest of their source (`oodbench.data.cache`), and a run's record names the
digests of its sets. Sets that need no file are made again.
"""

import base64
import io
import re
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple, NoReturn

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image

from oodbench.data.cache import cached, directory
from oodbench.data.split import Split, spaced_rows
from oodbench.report.material import Run
from oodbench.report.summary import Wrong
from oodbench.shipped import conf_files
from oodbench.tables.kinds import Kind
from oodbench.targets import trusted

QUALITY = 90


class Sheet(NamedTuple):
    """The most confidently wrong images of one OOD set, side by side in one picture, and a text for each."""

    ood: str
    image: str  # a data URI, n images of the run's size from left to right
    texts: list[str]


def sheets_of(run: Run) -> list[Sheet]:
    """Return a contact sheet of every OOD set of a run whose images are there; none of shifted ID, which is no OOD."""
    if not run.summary:
        return []
    digests, configured = run.result.digests, run.provenance.get("ood", {})
    test = stored_images(digests.get("test", ""))
    sheets = []
    for ood, wrong in run.summary.wrong.items():
        if run.result.kind(ood) is Kind.SHIFTED:
            continue
        split = stored_images(digests.get(ood, ""), configured.get(ood) if isinstance(configured, dict) else None)
        scored, classes = run.result.ood_images[ood], test.classes if test else ()
        if split and (sheet := sheet_of(ood, wrong, split, scored, classes)):
            sheets.append(sheet)
    return sheets


def stored_images(digest: str, node: Any = None) -> Split | None:
    """Return the set whose source has this digest, from the cache; None where it is not there.

    node: the set's stored configuration, by which those that need no file are recognised.
    """
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        return None
    if shipped := next((each for each in computed_sets() if each == node), None):
        split: Split = trusted(shipped, "data")
        return split if split.digest == digest else None
    if not any(directory().glob(f"{digest}-*")):
        return None
    try:
        return cached(digest, _absent)
    except (FileNotFoundError, OSError):
        return None


@cache
def computed_sets() -> list[dict[str, Any]]:
    """Return the configurations of conf/ood that need no file; a run's own is untrusted, and has to be one of them."""
    nodes = [yaml.safe_load(file.read_text("utf-8")) for file in conf_files("ood").values()]
    return [node for node in nodes if not {"root", "path", "list"} & node.keys()]


def _absent() -> NoReturn:
    raise FileNotFoundError("not in the cache")


def sheet_of(ood: str, wrong: Sequence[Wrong], split: Split, scored: int, classes: Sequence[str]) -> Sheet | None:
    """Lay out the images at these places of a set; None for a set of fewer images than were scored.

    scored: how many images the run has outputs on; fewer than the set has are evenly spaced in file order.
    """
    if not wrong or scored > len(split.images):
        return None
    rows = spaced_rows(len(split.images), scored)
    strip = np.concatenate([split.images[rows[each.row]] for each in wrong], axis=1)
    names = dict(enumerate(classes))
    texts = [
        f"{names.get(each.predicted, f'class {each.predicted}')} {100 * each.confidence:.1f}\u202f%" for each in wrong
    ]
    return Sheet(ood, data_uri(strip), texts)


def data_uri(pixels: NDArray[np.uint8]) -> str:
    """(H, W, 3) -> a JPEG as a data URI, its colours not subsampled"""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=QUALITY, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
