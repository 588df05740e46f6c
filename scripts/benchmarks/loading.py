"""Loading a set: decoding every image anew, or once for all."""

import os
import shutil
import statistics
import tempfile
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from benchmarks import plain
from benchmarks.contest import Actions, contest, number, ratio
from benchmarks.network import data
from benchmarks.sections import Section, at_copys_rate, limits
from oodbench.data.parquet import parquet

SYNTHETIC = 10_000  # images, where no real set is


def the_set(root: str, folder: str) -> tuple[Path, str]:
    """CIFAR-10's test set below `root`; where it is not, as many images of noise, which are slower to decode."""
    path = Path(root, "cifar10", "test.parquet")
    if path.is_file():
        return path, "CIFAR-10's test set"
    images, labels = data(SYNTHETIC)
    path = Path(folder, "test.parquet")
    encoded = []
    for image in images:
        Image.fromarray(image).save(file := BytesIO(), "png")
        encoded.append({"bytes": file.getvalue()})
    pq.write_table(pa.table({"img": encoded, "label": labels}), path)
    return path, "noise"


def plain_loading(path: Path) -> Actions:
    return {"load": lambda: plain.decode(path)}


def our_loading(path: Path, folder: str) -> Actions:
    """Pixels are asked for: a map of a file alone would cost nothing."""
    cold, warm = f"{folder}/cold", f"{folder}/warm"

    def load(cache: str) -> None:
        os.environ["OODBENCH_CACHE"] = cache
        parquet(path).images.sum()

    def load_cold() -> None:
        shutil.rmtree(cold, ignore_errors=True)
        load(cold)

    load(warm)
    return {"cold": load_cold, "warm": lambda: load(warm)}


def section(root: str, repeats: int) -> Section:
    """(a)"""
    with tempfile.TemporaryDirectory() as folder:
        path, name = the_set(root, folder)
        ways = {"plain": (plain_loading, path), "ours": (our_loading, path, folder), "limit": (limits, "cpu")}
        turns = [("plain", "load"), ("ours", "cold"), ("ours", "warm"), ("limit", "copy")]
        spent = contest(ways, turns, repeats, warm=True)
        images = pq.read_metadata(path).num_rows
    limit = statistics.median(at_copys_rate(spent, images * 32 * 32 * 3))
    rows = []
    for how in ("cold", "warm"):
        seconds = [statistics.median(spent[turn]) for turn in (("plain", "load"), ("ours", how))]
        rows.append(
            [how, *map(number, seconds), str(ratio(spent["plain", "load"], spent["ours", how])), f"{limit:.4f}"]
        )
    return Section(
        "(a) Loading a set",
        f"{name}, {images:,} images from parquet to pixels that have been summed. Plain: every image is decoded by "
        "PIL, as in every pass of every score. Ours: the file's digest, then, cold, decoding into a cache that is "
        "flushed to disk; warm, a map of the cache. The limit is a copy of the pixels.",
        ["seconds", "plain", "ours", "ratio (range)", "copying them"],
        rows,
    )
