"""Images, parquet files and archives of anybody: read, or refused in one line that names the file; nothing else."""

import io
import json
import os
import pickle
import resource
import signal
import struct
import tarfile
import traceback
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.attempts import Attempts
from helpers.image_files import IMAGES, encoded, pngs, write_parquet
from helpers.victim import HANG, lived
from PIL import Image

from oodbench import data

pytestmark = pytest.mark.slow
LARGEST = 1.5  # GB that reading small files may add to what a process has
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(evil) (w) file closefile\nshowpage\n"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
GOOD = encoded(IMAGES[0])
Written = dict[str, Callable[[Path], object]]  # {what: writes it to a path that does not exist}


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, *chunks: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


ZEROS = zlib.compress(bytes(100_000_000), 9)
REFUSED_IMAGES: dict[str, bytes] = {
    "nothing": b"",
    "text": b"GIF89a but no image",
    "EPS, which Pillow gives to Ghostscript": EPS,
    "SVG": SVG,
    "a page of HTML": b"<!DOCTYPE html><html>",
    "a pickle": pickle.dumps({"a": 1}),
    "half a PNG": GOOD[: len(GOOD) // 2],
    "half a JPEG": encoded(IMAGES[0], "JPEG")[:400],
    "half a WebP": encoded(IMAGES[0], "WEBP")[:100],
    "a PNG of 4e9 x 4e9 pixels": png(2**31 - 1, 2**31 - 1, chunk(b"IDAT", ZEROS)),
    "a PNG of no pixel": png(0, 0, chunk(b"IDAT", zlib.compress(b""))),
    "a PNG of 1 x 1,000,000 pixels": png(1, 1_000_000, chunk(b"IDAT", zlib.compress(bytes(4_000_000)))),
    "a PNG whose text is 100 MB": png(9, 9, chunk(b"zTXt", b"a\0\0" + ZEROS), chunk(b"IDAT", ZEROS)),
    "a BMP of 2e9 pixels": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 50_000, 50_000, 1, 24, *[0] * 6),
    "floating-point TIFF": encoded(Image.fromarray(np.ones((9, 9), np.float32)), "TIFF"),
    "TIFF of 32-bit integers": encoded(Image.fromarray(np.ones((9, 9), np.int32)), "TIFF"),
    "a TIFF whose pages are a ring": b"II*\0\x08\0\0\0\0\0\x08\0\0\0",
    "a pipe's name": b"| touch evil",
}
ODD_FILES: Written = {
    "a FIFO": os.mkfifo,
    "a link to /dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "a link to /proc/self/mem": lambda path: path.symlink_to("/proc/self/mem"),
    "a link to itself": lambda path: path.symlink_to(path),
    "a link to nothing": lambda path: path.symlink_to("nothing"),
    "a directory": Path.mkdir,
    "a link to its folder": lambda path: path.symlink_to(path.parent),
    "a link to the root": lambda path: path.symlink_to("/proc"),
    "a terabyte of holes": lambda path: (path.touch(), os.truncate(path, 2**40)),
}
ODD_NAMES = [
    b"\xff.png",
    b"a\nb.png",
    b"\x1b[2J.png",
    b"-rf.png",
    b" .png",
    b"%s.png",
    b"{0}.png",
    b"a" * 251 + b".png",
]
NUMBERED = {"info": {"features": {"label": {"names": 3}}}}
LABELS = pa.array([0] * 20)


def parquet(**options: Any) -> Callable[[Path], object]:
    return lambda path: write_parquet(path, **{"images": pngs(), "columns": {"label": LABELS}} | options)


def a_million_rows(path: Path) -> None:
    images = pa.repeat(pa.scalar(encoded(Image.new("RGB", (8, 8)))), 1_000_000)
    pq.write_table(pa.table({"img": pa.StructArray.from_arrays([images], ["bytes"])}), path)


def damaged(change: Callable[[bytearray], object]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        content = bytearray(write_parquet(path, pngs()).read_bytes())
        change(content)
        path.write_bytes(content)

    return write


def flip(at: float) -> Callable[[bytearray], None]:
    def change(content: bytearray) -> None:
        content[int(at * len(content))] ^= 0x55

    return change


PARQUET: Written = {
    "an empty file": Path.touch,
    "text": lambda path: path.write_text("PAR1 and no more PAR1"),
    "a footer longer than the file": lambda path: path.write_bytes(b"PAR1" + b"\xff" * 4 + b"PAR1"),
    "cut off": damaged(lambda content: content.__delitem__(slice(len(content) // 2, None))),
    "without its head": damaged(lambda content: content.__delitem__(slice(0, 100))),
    "a label of 2^64 - 1": parquet(columns={"label": pa.array([2**64 - 1] * 20, pa.uint64())}),
    "a label of -2": parquet(columns={"label": pa.array([-2] * 20)}),
    "no image": parquet(images=[None] * 20),
    "an EPS as an image": parquet(images=[*pngs()[:19], EPS]),
    "a bomb as an image": parquet(images=[REFUSED_IMAGES["a PNG of 4e9 x 4e9 pixels"]] * 20),
    "no row": parquet(images=[], columns={}),
    "values of 30 MB of zeros": parquet(images=[bytes(30_000_000)] * 4, columns={}, compression="zstd"),
    "a million rows of one image": a_million_rows,
    "metadata that is no JSON": parquet(metadata={"huggingface": "{"}),
    "metadata nested 100,000 deep": parquet(metadata={"huggingface": "[" * 100_000}),
    "class names that are numbers": parquet(
        metadata={"huggingface": '{"info": {"features": {"label": {"names": 3}}}}'}
    ),
    "class names that are not UTF-8": parquet(metadata={b"classes": b"\xff"}),
    **ODD_FILES,
    **{f"a byte flipped at {at:.2f}": damaged(flip(at)) for at in np.linspace(0, 0.999, 20)},
}


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("evil",)


def tar_of(path: Path, *names: str) -> None:
    with tarfile.open(path, "w:gz") as file:
        for name in names:
            content = pickle.dumps(Evil())
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))


def extracted(path: Path) -> None:
    folder = path.with_name("cifar-10-batches-py")
    folder.mkdir()
    for name in ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "batches.meta"):
        (folder / name).write_bytes(pickle.dumps(Evil()))


ARCHIVES: Written = {
    "a tar of pickles that run code": lambda path: tar_of(path, "cifar-10-batches-py/data_batch_1"),
    "a tar of absolute names and ..": lambda path: tar_of(path, "/tmp/evil", "../../evil", "a/../../evil"),
    "extracted pickles that run code": extracted,
    "no tar": lambda path: path.write_bytes(b"\x1f\x8b no gzip"),
    **ODD_FILES,
}


def read_each(log: str, cache: str, sets: list[tuple[str, str, list[str]]]) -> None:
    """Read each set; write how that ended, a line each."""
    os.environ |= {"OODBENCH_CACHE": cache, "OODBENCH_OFFLINE": "1"}
    signal.signal(signal.SIGALRM, late)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for what, reader, arguments in sets:
        signal.alarm(int(HANG))
        try:
            split = getattr(data, reader)(*arguments)
            end = f"read {len(split.images)}"
        except (ValueError, FileNotFoundError) as error:
            end = f"refused {error}"
        except BaseException:
            end = f"Traceback {traceback.format_exc()[-1500:]}"
        signal.alarm(0)
        gigabytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e6
        with Path(log).open("a") as file:
            file.write(json.dumps([what, end, gigabytes]) + "\n")


def late(*arguments: object) -> None:
    raise TimeoutError("hangs")


def ends_of(tmp: Path, sets: list[tuple[str, str, list[str]]]) -> dict[str, tuple[str, float]]:
    """Return {what: (how it ended, gigabytes that the process grew by until then)}."""
    work = (read_each, str(tmp / "ends"), str(tmp / "cache"), sets)
    end = lived(tmp / "log", *work, below=str(tmp), seconds=10 * HANG, alone=True)
    assert not end.problem, end.problem
    lines = [json.loads(line) for line in (tmp / "ends").read_text().splitlines()]
    assert [what for what, _, _ in lines] == [what for what, _, _ in sets]
    return {what: (how, gigabytes) for what, how, gigabytes in lines}


def is_refused(end: tuple[str, float], path: Path) -> None:
    """Assert that it was refused in a line that names the file, at the price of little memory."""
    how, gigabytes = end
    assert how.startswith("refused "), how
    assert path.parent.name in how, how
    assert "\n" not in how, how
    assert len(how) < 2000, how
    assert "\x1b" not in how, how
    assert gigabytes < LARGEST, gigabytes


def test_hostile_images_are_refused(tmp_path: Path, attempt: Attempts) -> None:
    files = {what: tmp_path / f"set{number}" / "evil.png" for number, what in enumerate(REFUSED_IMAGES)}
    for what, file in files.items():
        file.parent.mkdir()
        file.write_bytes(REFUSED_IMAGES[what])
        file.with_name("good.png").write_bytes(GOOD)
    ends = ends_of(tmp_path, [(what, "from_path", [str(file.parent)]) for what, file in files.items()])
    for what, file in files.items():
        with attempt("hostile images", what):
            is_refused(ends[what], file)


def test_odd_files_and_names_among_images(tmp_path: Path, attempt: Attempts) -> None:
    """The good image is read, or the odd file refused; nothing hangs and no image counts twice."""
    odd = {what: (tmp_path / f"set{number}", make) for number, (what, make) in enumerate(ODD_FILES.items())}
    for folder, make in odd.values():
        folder.mkdir()
        (folder / "good.png").write_bytes(GOOD)
        make(folder / "evil.png")
    named = {repr(name): tmp_path / f"name{number}" for number, name in enumerate(ODD_NAMES)}
    for name, folder in zip(ODD_NAMES, named.values(), strict=True):
        folder.mkdir()
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(GOOD)
    folders = {what: folder for what, (folder, _) in odd.items()} | named
    ends = ends_of(tmp_path, [(what, "from_path", [str(folder)]) for what, folder in folders.items()])
    for what, folder in folders.items():
        with attempt("FIFOs, links, devices and odd names among images", what):
            if ends[what][0] != "read 1":
                assert what in odd
                is_refused(ends[what], folder / "evil.png")


def test_hostile_parquet_files_are_refused(tmp_path: Path, attempt: Attempts) -> None:
    """A flipped byte may leave an image or a name that is another, which no file says of itself."""
    files = {what: tmp_path / f"set{number}" / "evil.parquet" for number, what in enumerate(PARQUET)}
    for what, file in files.items():
        file.parent.mkdir()
        PARQUET[what](file)
    ends = ends_of(tmp_path, [(what, "parquet", [str(file)]) for what, file in files.items()])
    for what, file in files.items():
        with attempt("hostile parquet files", what):
            if not (what.startswith("a byte") and ends[what][0] == "read 20"):
                is_refused(ends[what], file)


@pytest.mark.parametrize(("reader", "name"), [("cifar10", "cifar-10-python.tar.gz"), ("svhn", "test_32x32.mat")])
def test_hostile_archives_are_refused(reader: str, name: str, tmp_path: Path, attempt: Attempts) -> None:
    files = {what: tmp_path / f"root{number}" / name for number, what in enumerate(ARCHIVES)}
    for what, file in files.items():
        file.parent.mkdir()
        ARCHIVES[what](file)
    ends = ends_of(tmp_path, [(what, reader, [str(file.parent), "test"]) for what, file in files.items()])
    for what, file in files.items():
        with attempt("hostile archives", f"{reader}: {what}"):
            is_refused(ends[what], file)
    assert not Path("evil").exists()


def test_the_sets_would_be_read_if_they_were_not_hostile(tmp_path: Path) -> None:
    write_parquet(tmp_path / "good.parquet", pngs())
    (tmp_path / "good.png").write_bytes(GOOD)
    sets = [("parquet", "parquet", [str(tmp_path / "good.parquet")]), ("folder", "from_path", [str(tmp_path)])]
    ends = ends_of(tmp_path, sets)
    assert [how for how, _ in ends.values()] == ["read 20", "read 1"]
