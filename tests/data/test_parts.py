"""The parts of 1,000 and 9,000 test images, in small: two and eighteen of twenty."""

from pathlib import Path

import numpy as np
import pytest
from helpers.image_files import encoded, pngs, real, write_files, write_parquet
from numpy.typing import NDArray

from oodbench import data

pytestmark = pytest.mark.usefixtures("cache_folder")

IMAGES: NDArray[np.uint8] = np.random.default_rng(2).integers(256, size=(40, 32, 32, 3), dtype=np.uint8)
LABELS = np.arange(40) % 2


def pixels(images: NDArray[np.uint8]) -> list[bytes]:
    return sorted(image.tobytes() for image in images)


@pytest.fixture(params=["cifar10", "cifar100"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def stored(root: Path, name: str, order: NDArray[np.int64]) -> Path:
    write_parquet(root / name / "test.parquet", pngs(IMAGES[order]), {"label": LABELS[order]})
    return root


def test_our_own_parts_are_a_tenth_of_each_class_and_the_rest(tmp_path: Path, name: str) -> None:
    root, read = stored(tmp_path, name, np.arange(40)), getattr(data, name)
    whole, tenth, rest = (read(root, split) for split in ("test", "own_1000", "own_9000"))
    assert np.bincount(tenth.labels).tolist() == [2, 2]
    assert np.bincount(rest.labels).tolist() == [18, 18]
    assert pixels(np.concatenate([tenth.images, rest.images])) == pixels(IMAGES)
    assert len({whole.digest, tenth.digest, rest.digest}) == 3


def test_our_own_parts_do_not_depend_on_the_order(tmp_path: Path, name: str) -> None:
    orders = np.arange(40), np.random.default_rng(0).permutation(40)
    one, other = (
        getattr(data, name)(stored(tmp_path / str(i), name, order), "own_1000") for i, order in enumerate(orders)
    )
    assert pixels(one.images) == pixels(other.images)


def test_the_benchmarks_parts_are_those_of_its_lists(tmp_path: Path, name: str) -> None:
    write_files(tmp_path / "images_classic", {f"{name}/test/a/{i}.png": encoded(IMAGES[i]) for i in range(3)})
    lists = {
        f"{name}/val_{name}.txt": f"{name}/test/a/1.png 5\n".encode(),
        f"{name}/test_{name}.txt": f"{name}/test/a/2.png 0\n{name}/test/a/0.png 7\n".encode(),
    }
    write_files(tmp_path / "benchmark_imglist", lists)
    val, test = (getattr(data, name)(tmp_path, split) for split in ("openood_1000", "openood_9000"))
    assert np.array_equal(val.images, IMAGES[1:2])
    assert np.array_equal(test.images, IMAGES[[2, 0]])
    assert (val.labels.tolist(), test.labels.tolist()) == ([5], [0, 7])


def test_the_benchmarks_parts_without_its_lists_are_an_error(tmp_path: Path, name: str) -> None:
    root = stored(tmp_path, name, np.arange(40))
    with pytest.raises(FileNotFoundError, match=rf"no list of images at .*benchmark_imglist/{name}/test_{name}\.txt"):
        getattr(data, name)(root, "openood_9000")


def test_a_split_that_does_not_exist_names_the_parts(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="available: train, test, openood_1000, openood_9000, own_1000, own_9000"):
        getattr(data, name)(tmp_path, "own")


def test_real_parts_have_a_thousand_and_nine_thousand_images(name: str) -> None:
    root = real(name)
    for split, count in (("own_1000", 1000), ("own_9000", 9000)):
        labels = getattr(data, name)(root, split).labels
        assert len(labels) == count
        assert len(set(np.bincount(labels))) == 1
