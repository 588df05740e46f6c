"""The readers on real files: made here in the layouts that users have, and the real sets where OODBENCH_DATA is set."""

import hashlib
import inspect
import io
import json
import logging
import multiprocessing
import os
import pickle
import resource
import runpy
import shutil
import signal
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.io
import torchvision.datasets
from hydra import compose, initialize_config_dir
from hydra.utils import get_method, instantiate
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from omegaconf import OmegaConf
from PIL import Image
from torchvision import transforms

from oodbench import data
from oodbench.data import cache
from oodbench.data.cache import Decoded, cached
from oodbench.data.images import resize_and_crop
from oodbench.data.split import Split

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"
IMAGES = np.random.default_rng(1).integers(256, size=(20, 32, 32, 3), dtype=np.uint8)
LABELS = np.arange(20) % 10
NAMES = tuple("abcdefghij")


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OODBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def real(name: str) -> Path:
    """The folder of real sets, where it holds this one."""
    root = os.environ.get("OODBENCH_DATA", "")
    if not root or not Path(root, name, "test.parquet").is_file():
        pytest.skip(f"OODBENCH_DATA names no folder with {name}/test.parquet")
    return Path(root)


def encoded(image: NDArray[np.uint8] | Image.Image, format: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, format, **options)
    return file.getvalue()


def write_parquet(
    path: Path,
    images: list[bytes | None],
    columns: dict[str, Any] | None = None,
    image: str = "img",
    metadata: dict[str, str] | None = None,
    **options: Any,
) -> Path:
    column = pa.array(
        [{"bytes": b, "path": None} for b in images], pa.struct({"bytes": pa.binary(), "path": pa.string()})
    )
    table = pa.table({image: column} | (columns or {})).replace_schema_metadata(metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **options)
    return path


def pngs(images: NDArray[np.uint8] = IMAGES) -> list[bytes | None]:
    return [encoded(image) for image in images]


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


# --- the real sets ---------------------------------------------------------------------------------------------------


def test_real_cifar10() -> None:
    root = real("cifar10")
    split = data.cifar10(root, "test")
    assert split.images.shape == (10_000, 32, 32, 3)
    assert np.bincount(split.labels).tolist() == [1000] * 10
    assert split.classes[3] == "cat"
    assert split.digest == hashlib.sha256((root / "cifar10/test.parquet").read_bytes()).hexdigest()
    row = pq.read_table(root / "cifar10/test.parquet")["img"][7]["bytes"].as_py()
    assert np.array_equal(split.images[7], np.asarray(Image.open(io.BytesIO(row)).convert("RGB")))


def test_real_cifar100_has_the_statistics_of_its_configuration() -> None:
    split = data.cifar100(real("cifar100"), "test")
    assert np.bincount(split.labels).tolist() == [100] * 100  # fine labels, not the 20 coarse ones
    config = OmegaConf.load(CONF / "dataset/cifar100.yaml")
    pixels = split.images.reshape(-1, 3) / 255  # of the test set: they agree with the training set's to 0.005
    assert pixels.mean(0) == pytest.approx(config.mean, abs=0.005)
    assert pixels.std(0) == pytest.approx(config.std, abs=0.005)


def test_real_grey_images() -> None:
    mnist = data.from_path(real("mnist") / "mnist/test.parquet")
    assert mnist.images.shape == (10_000, 32, 32, 3)
    assert np.array_equal(mnist.images[..., 0], mnist.images[..., 2])


def test_real_larger_images() -> None:
    tiny = data.parquet("tiny_imagenet/test.parquet", real("tiny_imagenet"))
    assert np.bincount(tiny.labels).tolist() == [50] * 200


# --- parquet ---------------------------------------------------------------------------------------------------------


def test_parquet_keeps_pixels_labels_and_names(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", pngs(), {"label": LABELS}, metadata={"classes": ",".join(NAMES)})
    for _ in range(2):  # decoded, then from the cache
        split = data.parquet(path)
        assert np.array_equal(split.images, IMAGES)
        assert np.array_equal(split.labels, LABELS)
        assert (split.images.dtype, split.labels.dtype) == (np.uint8, np.int64)
        assert split.classes == NAMES
        assert split.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert isinstance(split.images, np.memmap)
    assert not split.images.flags.writeable


def test_parquet_spans_batches_and_row_groups_in_order(tmp_path: Path) -> None:
    images = np.random.default_rng(2).integers(256, size=(1203, 32, 32, 3), dtype=np.uint8)
    path = write_parquet(tmp_path / "a.parquet", pngs(images), {"label": np.arange(1203)}, row_group_size=300)
    split = data.parquet(path)
    assert np.array_equal(split.images, images)
    assert np.array_equal(split.labels, np.arange(1203))


def test_parquet_finds_its_columns(tmp_path: Path) -> None:
    fine = write_parquet(tmp_path / "f", pngs(), {"coarse_label": LABELS // 5, "fine_label": LABELS, "label": -LABELS})
    assert np.array_equal(data.parquet(fine).labels, LABELS)
    without = write_parquet(tmp_path / "w", pngs(), {"note": ["x"] * 20}, image="picture")
    assert set(data.parquet(without).labels) == {data.UNKNOWN}
    partly = write_parquet(tmp_path / "p", pngs(), {"label": pa.array([None, *LABELS[1:]], pa.int64())})
    assert data.parquet(partly).labels.tolist() == [data.UNKNOWN, *LABELS[1:]]
    features = {"img": {"_type": "Image"}, "label": {"names": list(NAMES), "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    assert data.parquet(write_parquet(tmp_path / "h", pngs(), {"label": LABELS}, metadata=metadata)).classes == NAMES


def test_parquet_without_an_image_column(tmp_path: Path) -> None:
    pq.write_table(pa.table({"pixels": [1, 2], "label": [0, 1]}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet: no struct column .*\['pixels', 'label'\]"):
        data.parquet(tmp_path / "a.parquet")


def test_parquet_names_the_row_that_does_not_decode(tmp_path: Path, cache_folder: Path) -> None:
    whole = encoded(IMAGES[0])
    for broken in (whole[:200], b"not an image", None):
        path = write_parquet(tmp_path / "a.parquet", [whole] * 600 + [broken] + [whole] * 3)
        with pytest.raises(ValueError, match=r"a\.parquet, row 600: "):
            data.parquet(path)
        assert entries(cache_folder) == []


def test_parquet_truncated(tmp_path: Path, cache_folder: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", pngs())
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"a\.parquet \(\d+ bytes\) is not a whole parquet file: .*magic"):
        data.parquet(path)
    assert entries(cache_folder) == []


def test_parquet_with_a_damaged_page(tmp_path: Path, cache_folder: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", pngs(), compression="gzip")
    content = bytearray(path.read_bytes())
    content[200:3000] = bytes(2800)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.parquet"):
        data.parquet(path)
    assert entries(cache_folder) == []


@pytest.mark.parametrize("above", [0, 1, 2])
def test_parquet_must_agree_with_a_list_of_digests(tmp_path: Path, above: int) -> None:
    path = write_parquet(tmp_path / "x/y/a.parquet", pngs())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    folder = path.parents[above]
    name = path.relative_to(folder).as_posix()
    (folder / "SHA256SUMS").write_text(f"{'0' * 64}  other.parquet\n{digest}  {name}\n")
    assert data.parquet(path).digest == digest
    (folder / "SHA256SUMS").write_text(f"{'0' * 64} *./{name}\n")  # another form that sha256sum reads
    with pytest.raises(ValueError, match=rf"a\.parquet is altered .*{digest}.*SHA256SUMS lists 0{{64}}"):
        data.parquet(path)


def test_parquet_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no parquet file at .*none\.parquet"):
        data.from_path(tmp_path / "none.parquet")


# --- images of any kind ----------------------------------------------------------------------------------------------


def picture(mode: str, width: int, height: int) -> Image.Image:
    noise = np.random.default_rng(3).integers(256, size=(height, width, 4), dtype=np.uint8)
    return Image.fromarray(noise, "RGBA" if mode == "RGBA" else None).convert("RGB").convert(mode)


@pytest.mark.parametrize("size", [(64, 48), (48, 64), (33, 32), (32, 40), (20, 28), (500, 333), (32, 32)])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "1", "CMYK", "LA"])
def test_square_is_the_field_s_rule(mode: str, size: tuple[int, int]) -> None:
    image = picture(mode, *size)
    rule = transforms.Compose([transforms.Resize(32), transforms.CenterCrop(32)])
    assert np.array_equal(resize_and_crop(image), np.asarray(rule(image.convert("RGB"))))


def test_square_by_hand() -> None:
    image = picture("RGB", 64, 48)
    expected = image.resize((42, 32), Image.Resampling.BILINEAR).crop((5, 0, 37, 32))
    assert np.array_equal(resize_and_crop(image), np.asarray(expected))
    assert np.array_equal(resize_and_crop(Image.fromarray(IMAGES[0])), IMAGES[0])
    checkers = Image.fromarray(np.indices((320, 320)).sum(0).astype(np.uint8) % 2 * 255)
    assert (
        np.ptp(resize_and_crop(checkers)[2:-2, 2:-2]) < 16
    )  # antialiased: even grey, where sampling gives black or white


def test_sixteen_bit_grey_is_not_clipped_to_white() -> None:
    grey = np.arange(1024, dtype=np.uint16).reshape(32, 32) * 64
    assert np.array_equal(resize_and_crop(Image.fromarray(grey))[..., 1], (grey >> 8).astype(np.uint8))


def test_parquet_of_every_encoding(tmp_path: Path) -> None:
    kinds: list[tuple[Image.Image, str, dict[str, Any]]] = [
        (picture("L", 28, 28), "PNG", {}),
        (picture("RGB", 64, 48), "JPEG", {"quality": 90}),
        (picture("RGB", 32, 32), "WEBP", {"lossless": True}),
        (picture("RGBA", 50, 40), "PNG", {}),
        (picture("P", 40, 50), "GIF", {}),
        (picture("RGB", 640, 480), "PNG", {}),
    ]
    files = [encoded(image, format, **options) for image, format, options in kinds]
    split = data.parquet(write_parquet(tmp_path / "a.parquet", list(files)))
    for image, file in zip(split.images, files, strict=True):
        assert np.array_equal(image, resize_and_crop(Image.open(io.BytesIO(file))))
    assert np.array_equal(split.images[2], np.asarray(kinds[2][0]))


# --- folders ---------------------------------------------------------------------------------------------------------


def test_folder(tmp_path: Path, cache_folder: Path) -> None:
    root = tmp_path / "images"
    for name in ("b/2.png", "b/10.PNG", "a.png", "c/d/e.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / "b/2.png").write_bytes(encoded(IMAGES[2]))
    (root / "b/10.PNG").write_bytes(encoded(IMAGES[1]))
    (root / "a.png").write_bytes(encoded(IMAGES[0]))
    (root / "c/d/e.png").write_bytes(encoded(IMAGES[3]))
    (root / "notes.txt").write_text("not an image")
    (root / "b/._2.png").write_bytes(b"what some systems leave beside a file")
    split = data.from_path(root)
    assert np.array_equal(split.images, IMAGES[:4])
    assert split.labels.tolist() == [-1] * 4
    assert data.folder(root).digest == split.digest
    (root / "a.png").write_bytes(encoded(IMAGES[5]))
    altered = data.folder(root)
    assert altered.digest != split.digest
    assert np.array_equal(altered.images[0], IMAGES[5])
    (root / "a.png").rename(root / "z.png")
    assert data.folder(root).digest not in (split.digest, altered.digest)
    assert len(entries(cache_folder)) == 3


def test_folder_errors(tmp_path: Path, cache_folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no folder of images at .*none"):
        data.folder(tmp_path / "none")
    (tmp_path / "empty/sub").mkdir(parents=True)
    with pytest.raises(ValueError, match="empty: no image below this folder"):
        data.folder(tmp_path / "empty")
    (tmp_path / "empty/sub/a.png").write_bytes(encoded(IMAGES[0]))
    (tmp_path / "empty/sub/b.png").write_bytes(encoded(IMAGES[0])[:100])
    with pytest.raises(ValueError, match=r"sub/b\.png: the image does not decode"):
        data.folder(tmp_path / "empty")
    assert entries(cache_folder) == []


# --- the official archives -------------------------------------------------------------------------------------------


class Cifar:
    """A small set in the official layout, whose digests stand in for the published ones."""

    def __init__(self, name: str, source: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.name, self.source, self.monkeypatch = name, source, monkeypatch
        key = "labels" if name == "cifar10" else "fine_labels"
        rows = IMAGES.transpose(0, 3, 1, 2).reshape(20, -1)  # channel after channel, as published
        train = [part for part, _ in source.train_list]
        self.test = [part for part, _ in source.test_list]
        self.files = {
            part: pickle.dumps({"data": rows[chunk], key: LABELS[chunk].tolist(), "coarse_labels": [0] * len(chunk)})
            for part, chunk in zip(
                train + self.test, [*np.array_split(np.arange(16), len(train)), np.arange(16, 20)], strict=True
            )
        }
        self.files[source.meta["filename"]] = pickle.dumps({source.meta["key"]: list(NAMES)})
        self.vouch()

    def vouch(self) -> None:
        digests = {part: md5(content) for part, content in self.files.items()}
        for parts in ("train_list", "test_list"):
            listed = [[part, digests[part]] for part, _ in getattr(self.source, parts)]
            self.monkeypatch.setattr(self.source, parts, listed)
        meta = self.source.meta | {"md5": digests[self.source.meta["filename"]]}
        self.monkeypatch.setattr(self.source, "meta", meta)

    def archive(self, folder: Path, vouched: bool = True) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / self.source.filename
        with tarfile.open(path, "w:gz") as tar:
            for part, content in ({"readme.html": b"hello"} | self.files).items():
                member = tarfile.TarInfo(f"{self.source.base_folder}/{part}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        if vouched:
            self.monkeypatch.setattr(self.source, "tgz_md5", md5(path.read_bytes()))
        return path

    def extracted(self, folder: Path) -> Path:
        path = folder / self.source.base_folder
        path.mkdir(parents=True)
        for part, content in self.files.items():
            (path / part).write_bytes(content)
        return path

    def read(self, root: Path, split: str) -> Split:
        reader: Callable[[Path, str], Split] = getattr(data, self.name)
        return reader(root, split)

    def check(self, root: Path) -> None:
        for split, rows in (("train", slice(16)), ("test", slice(16, 20))):
            for _ in range(2):  # decoded, then from the cache
                read = self.read(root, split)
                assert np.array_equal(read.images, IMAGES[rows])
                assert np.array_equal(read.labels, LABELS[rows])
                assert read.classes == NAMES
        assert self.read(root, "train").digest != self.read(root, "test").digest


@pytest.fixture(params=["cifar10", "cifar100"])
def cifar(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Cifar:
    source = getattr(torchvision.datasets, request.param.upper())
    monkeypatch.setattr(source, "url", "file:///nowhere/at/all")
    return Cifar(request.param, source, monkeypatch)


@pytest.mark.parametrize("sub", ["", "own"])
@pytest.mark.parametrize("layout", ["archive", "extracted"])
def test_cifar_where_torchvision_puts_it(cifar: Cifar, tmp_path: Path, layout: str, sub: str) -> None:
    root = tmp_path / "root"
    getattr(cifar, layout)(root / cifar.name if sub else root)
    before = sorted(root.rglob("*"))
    cifar.check(root)
    assert sorted(root.rglob("*")) == before  # nothing extracted, nothing written


def test_cifar_parquet_comes_first(cifar: Cifar, tmp_path: Path) -> None:
    cifar.archive(tmp_path)
    path = write_parquet(tmp_path / cifar.name / "test.parquet", pngs(IMAGES[:3]), {"label": LABELS[:3]})
    assert cifar.read(tmp_path, "test").digest == cache.sha256(path)
    assert len(cifar.read(tmp_path, "train").images) == 16


def test_cifar_archive_truncated(cifar: Cifar, tmp_path: Path, cache_folder: Path) -> None:
    path = cifar.archive(tmp_path)
    expected = md5(path.read_bytes())
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ValueError, match=rf"tar\.gz \(\d+ bytes\) is altered .*{md5(path.read_bytes())}.*{expected}"):
        cifar.read(tmp_path, "train")
    assert entries(cache_folder) == []


@pytest.mark.parametrize("layout", ["archive", "extracted"])
def test_cifar_altered_member_is_never_unpickled(cifar: Cifar, tmp_path: Path, layout: str) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "executed",)

    expected, part = md5(cifar.files[cifar.test[0]]), cifar.test[0]
    cifar.files[part] = pickle.dumps(Harmful())
    getattr(cifar, layout)(tmp_path)
    with pytest.raises(ValueError, match=rf"{part} is altered: md5 {md5(cifar.files[part])}, expected {expected}"):
        cifar.read(tmp_path, "test")
    assert not (tmp_path / "executed").exists()
    pickle.loads(cifar.files[part])
    assert (tmp_path / "executed").exists()  # it would have been


@pytest.mark.parametrize("layout", ["archive", "extracted"])
def test_cifar_missing_member(cifar: Cifar, tmp_path: Path, layout: str) -> None:
    del cifar.files[cifar.test[0]]
    getattr(cifar, layout)(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=cifar.test[0]):
        cifar.read(tmp_path, "test")


def test_cifar_downloads(cifar: Cifar, tmp_path: Path) -> None:
    cifar.monkeypatch.setattr(cifar.source, "url", cifar.archive(tmp_path / "server").as_uri())
    cifar.check(tmp_path / "root")
    assert entries(tmp_path / "root" / cifar.name) == [cifar.source.filename]
    cifar.monkeypatch.setattr(cifar.source, "url", "file:///nowhere/at/all")
    cifar.check(tmp_path / "root")


def test_cifar_download_altered(cifar: Cifar, tmp_path: Path) -> None:
    path = cifar.archive(tmp_path / "server")
    cifar.monkeypatch.setattr(cifar.source, "url", path.as_uri())
    expected = md5(path.read_bytes())
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(FileNotFoundError, match=rf"arrived has md5 {md5(path.read_bytes())}, expected {expected}"):
        cifar.read(tmp_path / "root", "train")
    assert entries(tmp_path / "root" / cifar.name) == []


def test_cifar_found_nowhere(cifar: Cifar, tmp_path: Path) -> None:
    root = tmp_path / "root"
    with pytest.raises(FileNotFoundError) as raised:
        cifar.read(root, "test")
    message = str(raised.value)
    for place in (f"{cifar.name}/test.parquet", cifar.source.filename, f"{cifar.name}/{cifar.source.base_folder}"):
        assert str(root / place) in message
    assert "file:///nowhere/at/all" in message
    assert f"python scripts/prepare_data.py {cifar.name} --split test --data-root {root}" in message
    assert not root.exists()


@pytest.fixture
def svhn_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "server/test_32x32.mat"
    path.parent.mkdir()
    labels = np.where(LABELS == 0, 10, LABELS).astype(np.uint8)[:, None]
    scipy.io.savemat(path, {"X": IMAGES.transpose(1, 2, 3, 0), "y": labels}, do_compression=True)
    listed = {"test": [path.as_uri(), path.name, md5(path.read_bytes())]}
    monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", listed)
    return path


@pytest.mark.parametrize("place", ["root", "root/svhn", "download"])
def test_svhn(svhn_file: Path, tmp_path: Path, place: str) -> None:
    if place != "download":
        (tmp_path / place).mkdir(parents=True)
        svhn_file.rename(tmp_path / place / svhn_file.name)
    for _ in range(2):
        split = data.svhn(tmp_path / "root", "test")
        assert np.array_equal(split.images, IMAGES)
        assert np.array_equal(split.labels, LABELS)  # the digit 0 is stored as 10
    assert (tmp_path / "root/svhn" / svhn_file.name).exists() == (place != "root")


def test_svhn_altered(svhn_file: Path, tmp_path: Path) -> None:
    expected = md5(svhn_file.read_bytes())
    svhn_file.write_bytes(svhn_file.read_bytes()[:-1])
    with pytest.raises(ValueError, match=rf"{md5(svhn_file.read_bytes())}, expected {expected}"):
        data.svhn(svhn_file.parent, "test")


def test_prepare_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_parquet(tmp_path / "cifar10/test.parquet", pngs(), {"label": LABELS})
    command = ["prepare_data.py", "cifar10", "--split", "test", "--data-root", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", command)
    runpy.run_path(str(ROOT / "scripts/prepare_data.py"), run_name="__main__")
    assert capsys.readouterr().out.startswith(f"cifar10 test: 20 images, decoded in {tmp_path / 'cache'}, source ")
    assert entries(tmp_path / "cache") == [f"{cache.sha256(path)}-{cache.FORMAT}"]


# --- the cache -------------------------------------------------------------------------------------------------------


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


def test_cache_takes_nothing_from_a_source_that_fails(cache_folder: Path) -> None:
    def failing() -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
        yield IMAGES[:10], LABELS[:10]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached("d" * 64, lambda: Decoded(20, (), failing()))
    assert entries(cache_folder) == []
    short = Decoded(21, (), iter([(IMAGES, LABELS)]))
    with pytest.raises(ValueError, match=r"mmap|21 images"):
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


def test_a_killed_build_is_not_used_and_is_swept(cache_folder: Path) -> None:
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
    os.utime(left, (time.time() - 2 * cache.STALE,) * 2)
    cached("e" * 64, decoded)
    assert not left.exists()
    assert len(entries(cache_folder)) == 2


# --- embedded sets ---------------------------------------------------------------------------------------------------


def test_digits_split() -> None:
    train, test, unseen = data.digits("train"), data.digits("test"), data.unseen_digits()
    assert (len(train.images), len(test.images), len(unseen.images)) == (1010, 433, 354)
    shares = np.bincount(test.labels) / (np.bincount(train.labels) + np.bincount(test.labels))
    assert shares == pytest.approx(np.full(8, 0.3), abs=0.01)
    assert train.classes == tuple("01234567")
    sets = [{image.tobytes() for image in split.images} for split in (train, test, unseen)]
    assert len(set().union(*sets)) == sum(map(len, sets))
    assert data.digits("train").digest == train.digest != test.digest


def test_digits_pixels() -> None:
    from sklearn.datasets import load_digits

    source = load_digits()
    unseen = np.flatnonzero(source.target >= 8)
    grey = Image.fromarray(np.round(source.images[unseen[5]] * 255 / 16).astype(np.uint8))
    expected = np.asarray(grey.convert("RGB").resize((32, 32), Image.Resampling.BILINEAR))
    assert np.array_equal(data.unseen_digits().images[5], expected)


def test_digits_statistics_are_those_of_the_configuration() -> None:
    config = OmegaConf.load(CONF / "dataset/digits.yaml")
    pixels = data.digits("train").images.reshape(-1, 3) / 255
    assert pixels.mean(0) == pytest.approx(config.mean, abs=5e-5)
    assert pixels.std(0) == pytest.approx(config.std, abs=5e-5)


@pytest.mark.parametrize(("name", "size"), [("photo_patches", 320), ("noise", 500)])
def test_far_sets_are_the_same_every_time(name: str, size: int) -> None:
    first, second = getattr(data, name)(), getattr(data, name)()
    assert first.images.shape == (size, 32, 32, 3)
    assert len({image.tobytes() for image in first.images}) == size
    assert set(first.labels) == {data.UNKNOWN}
    assert first.digest == second.digest
    assert np.array_equal(first.images, second.images)


# --- the sets of a run -----------------------------------------------------------------------------------------------


def test_held_out_images_are_the_last_of_every_class_and_not_trained_on() -> None:
    train, test, far = split_of([0, 1, 0, 1, 1, 0, 0, 1]), split_of([0, 1] * 2), split_of([-1] * 6)
    sets = data.data_splits(train, test, {}, 2, None, 4, held_out=3, val_ood=far)
    assert rows_of(sets.validation["val"]) == [5, 6, 7]  # two of class 0, one of class 1
    assert rows_of(sets.train) == [0, 1, 2, 3, 4]
    assert rows_of(sets.validation["val_ood"]) == [0, 1, 3, 4]  # limit_test of 6, evenly spaced
    fewer = data.data_splits(train, test, {}, 2, 2, None, held_out=3, val_ood=far)
    assert rows_of(fewer.train) == [0, 1]
    assert rows_of(fewer.validation["val"]) == [5, 6, 7]  # whatever part of the rest is trained on
    assert data.data_splits(train, test, {}, 2, None, None).validation == {}


@pytest.mark.parametrize(
    ("held_out", "says"), [(1, "validation: a limit of 1"), (5, "validation: .*class 0"), (4, "train without the 4")]
)
def test_more_images_than_can_be_spared_are_not_held_out(held_out: int, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        data.data_splits(split_of([0, 1, 0, 1, 1]), split_of([0, 1]), {}, 2, None, None, held_out, split_of([-1]))


def test_a_reported_set_is_not_chosen_on_whatever_it_is_called() -> None:
    far = split_of([-1] * 6)
    train, test = split_of([0, 0, 1, 1]), split_of([0, 1])
    with pytest.raises(ValueError, match="far is reported, so nothing may be chosen on it"):
        data.data_splits(train, test, {"far": far}, 2, None, None, 2, far)
    other = far._replace(digest="another")
    assert set(data.data_splits(train, test, {"far": far}, 2, None, None, 2, other).validation) == {"val", "val_ood"}
    for name in ("val", "val_ood"):
        with pytest.raises(ValueError, match=f"cannot be called {name}"):
            data.data_splits(train, test, {name: far}, 2, None, None)


def split_of(labels: list[int]) -> Split:
    """Every image holds its row, so that a subset tells which rows it took."""
    images = np.zeros((len(labels), 32, 32, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(len(labels))
    return Split(images, np.array(labels, np.int64), "d", ())


def rows_of(split: Split) -> list[int]:
    return split.images[:, 0, 0, 0].tolist()


def test_limited_by_hand() -> None:
    split = split_of([2, 0, 0, 1, 2, 1, 0, 2, 1])
    assert rows_of(data.balanced_subset(split, 3, 3)) == [0, 1, 3]
    assert rows_of(data.balanced_subset(split, 5, 3)) == [
        0,
        1,
        2,
        3,
        5,
    ]  # two of class 0, two of class 1, one of class 2
    assert rows_of(data.balanced_subset(split, 9, 3)) == list(range(9))


@given(st.lists(st.integers(0, 3), min_size=40, max_size=120), st.integers(4, 24))
@settings(max_examples=50, deadline=None)
def test_limited_is_balanced_and_takes_the_first(labels: list[int], n: int) -> None:
    available = np.bincount(labels, minlength=4)
    shares = np.array([n // 4 + (k < n % 4) for k in range(4)])
    if (available < shares).any():
        with pytest.raises(ValueError, match=f"limit of {n} images"):
            data.balanced_subset(split_of(labels), n, 4)
        return
    part = data.balanced_subset(split_of(labels), n, 4)
    assert np.array_equal(np.bincount(part.labels, minlength=4), shares)
    for k, share in enumerate(shares):
        of_class = [row for row, label in enumerate(labels) if label == k]
        assert [row for row in rows_of(part) if labels[row] == k] == of_class[:share]
    assert rows_of(part) == sorted(rows_of(part))


def test_limited_says_the_numbers() -> None:
    with pytest.raises(ValueError, match=r"limit of 2 images .* 3 classes"):
        data.balanced_subset(split_of([0, 1, 2]), 2, 3)
    with pytest.raises(ValueError, match="limit of 5 images takes 2 of class 1, which has 1"):
        data.balanced_subset(split_of([0, 0, 0, 1, 2]), 5, 3)


def test_benchmark_applies_the_limits() -> None:
    train, test = split_of([0, 1] * 10), split_of([0, 1] * 5)
    ood = {"large": split_of([-1] * 10), "small": split_of([7] * 3)}
    sets = data.data_splits(train, test, ood, 2, 6, 4)
    assert (rows_of(sets.train), rows_of(sets.test)) == ([0, 1, 2, 3, 4, 5], [0, 1, 2, 3])
    assert rows_of(sets.ood["large"]) == [0, 2, 5, 7]
    assert rows_of(sets.ood["small"]) == [0, 1, 2]
    whole = data.data_splits(train, test, ood, 2, None, None)
    assert whole == (train, test, ood, {})


@pytest.mark.parametrize(
    ("train", "test", "ood", "message"),
    [
        ([0, 1, 2, 1], [0, 1], [-1], r"train: the label of row 2 is 2, outside the 2 classes 0\.\.1"),
        ([0, 1], [0, -1, 1], [-1], r"test: the label of row 1 is -1, outside"),
        ([0, 0], [0, 1], [-1], r"train: 1 of 2 classes have no image: \[1\]"),
        ([0, 1], [1], [-1], r"test: 1 of 2 classes have no image: \[0\]"),
        ([0, 1], [0, 1], [], "OOD set far has no image"),
    ],
)
def test_benchmark_checks_the_sets(train: list[int], test: list[int], ood: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        data.data_splits(split_of(train), split_of(test), {"far": split_of(ood)}, 2, None, None)


# --- configuration ---------------------------------------------------------------------------------------------------


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Compose with a primary config whose defaults name `ood` and `dataset`, in this order."""
    for group in ("dataset", "ood"):
        shutil.copytree(CONF / group, tmp_path / "conf" / group)
    (tmp_path / "conf/train.yaml").write_text(
        "defaults: [_self_, {ood: [svhn, cifar100]}, {ood@validation.ood: tiny_imagenet}, {dataset: cifar10}]\n"
        "data_root: ${oc.env:OODBENCH_DATA,data}\n"
    )
    monkeypatch.setenv("OODBENCH_DATA", "/the/data")
    with initialize_config_dir(str(tmp_path / "conf"), version_base="1.3"):
        yield lambda *overrides: compose("train", overrides=list(overrides))


def names(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def check_call(config: Any) -> None:
    """The target exists and takes exactly these arguments."""
    arguments = {key: value for key, value in config.items() if key != "_target_"}
    inspect.signature(get_method(config["_target_"])).bind(**arguments)


@pytest.mark.parametrize("name", names("ood"))
def test_every_ood_configuration(configured: Callable[..., Any], name: str) -> None:
    override = [f"ood.{name}.path=/a/b"] if name in ("parquet", "folder") else []
    config = OmegaConf.to_container(configured(f"ood=[{name}]", *override).ood, resolve=False)
    assert isinstance(config, dict)
    assert list(config) == [name]
    check_call(config[name])


@pytest.mark.parametrize("name", names("dataset"))
def test_every_dataset_configuration(configured: Callable[..., Any], name: str) -> None:
    config = configured(f"dataset={name}")
    check_call(OmegaConf.to_container(config.dataset.train, resolve=True))
    check_call(OmegaConf.to_container(config.dataset.test, resolve=True))
    assert config.dataset.train.split == "train"
    assert config.dataset.test.split == "test"
    assert len(config.dataset.mean) == len(config.dataset.std) == 3
    assert set(config.dataset.near) <= set(names("ood"))
    assert set(config.ood) & set(config.dataset.near)  # the default sets have a near one and a far one
    assert set(config.ood) - set(config.dataset.near)
    assert name not in config.ood


def test_ood_sets_are_chosen_on_the_command_line(configured: Callable[..., Any]) -> None:
    assert list(configured().ood) == ["svhn", "cifar100"]
    assert list(configured("dataset=cifar100").ood) == ["svhn", "cifar10"]
    assert list(configured("dataset=cifar100", "ood=[svhn,mnist]").ood) == ["svhn", "mnist"]
    mnist = configured("ood=[mnist]").ood.mnist
    assert (mnist.root, mnist.path) == ("/the/data", "mnist/test.parquet")
    assert configured("ood=[svhn,parquet]", "ood.parquet.path=/x.parquet").ood.parquet.path == "/x.parquet"


def test_ood_sets_of_one_s_own_have_names(configured: Callable[..., Any]) -> None:
    typed = configured("+ood@ood.leaves=folder", "ood.leaves.path=/leaves").ood
    assert list(typed) == ["svhn", "cifar100", "leaves"]
    assert typed.leaves == {"_target_": "oodbench.data.folder", "path": "/leaves"}
    short = configured("ood=[cifar100]", "+ood.leaves.path=/leaves", "+ood.svhn.path=/x.parquet").ood
    assert list(short) == ["cifar100", "leaves", "svhn"]
    assert (short.leaves, short.svhn) == ({"path": "/leaves"}, {"path": "/x.parquet"})
    assert list(configured("ood=[]", "+ood.leaves.path=/leaves").ood) == ["leaves"]


def test_digits_from_configuration_to_benchmark(configured: Callable[..., Any]) -> None:
    config = configured("dataset=digits", "dataset.limit=100", "dataset.limit_test=80")
    sets = data.data_splits(
        instantiate(config.dataset.train),
        instantiate(config.dataset.test),
        instantiate(config.ood),
        config.dataset.num_classes,
        config.dataset.limit,
        config.dataset.limit_test,
    )
    assert (len(sets.train.images), len(sets.test.images)) == (100, 80)
    assert {name: len(split.images) for name, split in sets.ood.items()} == {
        "unseen_digits": 80,
        "photo_patches": 80,
        "noise": 80,
    }
