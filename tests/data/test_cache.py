"""The cache of decoded images: whole, verified, built once."""

import logging
import multiprocessing
import os
import resource
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.image_files import IMAGES, LABELS, NAMES, entries
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from oodbench.data import cache
from oodbench.data.cache import Decoded, cached
from oodbench.data.files import STALE
from oodbench.data.images import images_of

pytestmark = pytest.mark.usefixtures("cache_folder")


def decoded(images: NDArray[np.uint8] = IMAGES) -> Decoded:
    return Decoded(len(images), NAMES, ((images[i : i + 7], LABELS[i : i + 7]) for i in range(0, len(images), 7)))


def never() -> Decoded:
    raise AssertionError("decoded although the cache has it")


def test_cache_decodes_once() -> None:
    first, second = cached("d" * 64, decoded), cached("d" * 64, never)
    assert np.array_equal(first.images, second.images)
    assert np.array_equal(second.images, IMAGES)
    assert np.array_equal(second.labels, LABELS)
    assert (second.classes, second.digest) == (NAMES, "d" * 64)


def test_cache_of_another_format_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    cached("d" * 64, decoded)
    monkeypatch.setattr(cache, "FORMAT", cache.FORMAT + 1)
    with pytest.raises(AssertionError):
        cached("d" * 64, never)


def test_cache_of_another_size_is_not_used() -> None:
    large = np.repeat(IMAGES, 2, axis=1).repeat(2, axis=2)
    cached("d" * 64, decoded)
    for _ in range(2):
        with images_of(64):
            assert np.array_equal(cached("d" * 64, lambda: decoded(large)).images, large)
        assert np.array_equal(cached("d" * 64, never).images, IMAGES)


def test_cache_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OODBENCH_CACHE", "/a/b")
    assert cache.directory() == Path("/a/b")
    monkeypatch.delenv("OODBENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache.directory() == Path("/x/oodbench")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.directory() == Path.home() / ".cache/oodbench"


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def shorten(path: Path) -> None:
    np.save(path, np.load(path)[:-1])


def replace(path: Path, content: str) -> None:
    path.write_text(content)


def fold(path: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


DAMAGES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "images truncated": ("images.npy", truncate),
    "images too few": ("images.npy", shorten),
    "images empty": ("images.npy", partial(replace, content="")),
    "images missing": ("images.npy", Path.unlink),
    "labels truncated": ("labels.npy", truncate),
    "labels too few": ("labels.npy", shorten),
    "meta truncated": ("meta.json", truncate),
    "meta of another kind": ("meta.json", partial(replace, content="[]")),
    "meta without a key": ("meta.json", partial(replace, content="{}")),
    "checksums missing": ("crc32.json", Path.unlink),
    "checksums truncated": ("crc32.json", truncate),
    "checksums of another kind": ("crc32.json", partial(replace, content="[]")),
    "checksums without a file": ("crc32.json", partial(replace, content="{}")),
    "images a folder": ("images.npy", fold),
    "images a FIFO": ("images.npy", pipe),
    "labels a FIFO": ("labels.npy", pipe),
    "meta a link to itself": ("meta.json", loop),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_cache_rebuilds_what_is_damaged(damage: str, cache_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    cached("d" * 64, decoded)
    (entry,) = cache_folder.iterdir()
    file, spoil = DAMAGES[damage]
    spoil(entry / file)
    with caplog.at_level(logging.WARNING):
        assert np.array_equal(cached("d" * 64, decoded).images, IMAGES)
    assert len(caplog.messages) == 1
    assert str(entry) in caplog.text
    assert np.array_equal(cached("d" * 64, never).labels, LABELS)
    assert entries(cache_folder) == [entry.name]


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "meta.json"])
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_flipped_bit_is_noticed(name: str, cache_folder: Path, seed: int) -> None:
    cached("d" * 64, decoded)
    (entry,) = cache_folder.iterdir()
    content = bytearray((entry / name).read_bytes())
    position = int(np.random.default_rng(seed).integers(8 * len(content)))
    content[position // 8] ^= 1 << position % 8
    (entry / name).write_bytes(content)
    with pytest.raises(AssertionError, match="decoded although"):
        cached("d" * 64, never)
    split = cached("d" * 64, decoded)
    assert np.array_equal(split.images, IMAGES)
    assert np.array_equal(split.labels, LABELS)
    assert split.classes == NAMES


def test_entries_that_are_swapped_are_noticed(cache_folder: Path) -> None:
    cached("d" * 64, decoded)
    cached("e" * 64, lambda: decoded(IMAGES[::-1]))
    first, second = sorted(cache_folder.iterdir())
    shutil.copy(second / "images.npy", first / "images.npy")
    assert np.array_equal(cached("d" * 64, decoded).images, IMAGES)


@pytest.mark.parametrize("kind", ["file", "link to nothing", "link to itself"])
def test_an_entry_that_is_no_folder_is_replaced(kind: str, cache_folder: Path) -> None:
    cache_folder.mkdir()
    entry = cache_folder / f"{'d' * 64}-{cache.FORMAT}"
    if kind == "file":
        entry.write_text("no entry")
    else:
        entry.symlink_to(entry if kind == "link to itself" else cache_folder / "nothing")
    assert np.array_equal(cached("d" * 64, decoded).images, IMAGES)
    assert np.array_equal(cached("d" * 64, never).images, IMAGES)
    assert entries(cache_folder) == [entry.name]


def test_cache_takes_nothing_from_a_source_that_fails(cache_folder: Path) -> None:
    def failing() -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
        yield IMAGES[:10], LABELS[:10]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached("d" * 64, lambda: Decoded(20, (), failing()))
    assert entries(cache_folder) == []
    short = Decoded(21, (), iter([(IMAGES, LABELS)]))
    with pytest.raises(ValueError, match=r"announces 21 images and holds 20"):
        cached("d" * 64, lambda: short)
    assert entries(cache_folder) == []


def test_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("OODBENCH_CACHE", str(tmp_path / "file/cache"))
    with pytest.raises(OSError, match=r"file/cache, cannot be written .*set OODBENCH_CACHE"):
        cached("d" * 64, decoded)


def test_cache_on_a_full_disk(cache_folder: Path) -> None:
    """A limit on the size of a file stands in for the disk's end: writing fails in the same place."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"cannot be written .*set OODBENCH_CACHE") as raised:
            cached("d" * 64, decoded)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(cache_folder) in str(raised.value)
    assert entries(cache_folder) == []


def build_together(barrier: Any, results: Any) -> None:
    def batches() -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
        yield IMAGES[:10], LABELS[:10]
        barrier.wait(60)  # both processes are in the middle of building here
        yield IMAGES[10:], LABELS[10:]

    split = cached("d" * 64, lambda: Decoded(20, NAMES, batches()))
    results.put(np.array_equal(split.images, IMAGES) and np.array_equal(split.labels, LABELS))


def test_two_processes_build_at_once(cache_folder: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(2), context.Queue()
    both = [context.Process(target=build_together, args=(barrier, results)) for _ in range(2)]
    for process in both:
        process.start()
    assert [results.get(timeout=90) for _ in both] == [True, True]
    for process in both:
        process.join(60)
        assert process.exitcode == 0
    assert len(entries(cache_folder)) == 1
    assert np.array_equal(cached("d" * 64, never).images, IMAGES)


def build_and_hang(half: Any) -> None:
    def batches() -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
        yield IMAGES[:10], LABELS[:10]
        half.set()
        time.sleep(600)

    cached("d" * 64, lambda: Decoded(20, NAMES, batches()))


def test_a_killed_build_is_not_used_and_is_removed(cache_folder: Path) -> None:
    context = multiprocessing.get_context("fork")
    half = context.Event()
    process = context.Process(target=build_and_hang, args=(half,))
    process.start()
    assert half.wait(60)
    assert process.pid
    os.kill(process.pid, signal.SIGKILL)
    process.join(60)
    (left,) = cache_folder.iterdir()
    assert np.array_equal(cached("d" * 64, decoded).images, IMAGES)
    assert left.exists()  # it might be another process at work
    os.utime(left, (time.time() - 2 * STALE,) * 2)
    cached("e" * 64, decoded)
    assert not left.exists()
    assert len(entries(cache_folder)) == 2
