"""Images of every kind become 32x32 RGB by the rules that oodbench.data.images states."""

import contextlib
import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.image_files import IMAGES, encoded, picture, write_parquet
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torchvision import transforms

from oodbench import data
from oodbench.data.images import Encoded, array_batches, decode, decode_batches, images_of, resize_and_crop, side

pytestmark = pytest.mark.usefixtures("cache_folder")


@pytest.mark.parametrize("size", [(64, 48), (48, 64), (33, 32), (32, 40), (20, 28), (500, 333), (32, 32)])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "1", "CMYK", "LA"])
def test_eight_bits_are_converted_as_imagefolder_does(mode: str, size: tuple[int, int]) -> None:
    image = picture(mode, *size)
    rule = transforms.Compose([transforms.Resize(32), transforms.CenterCrop(32)])
    assert np.array_equal(resize_and_crop(image), np.asarray(rule(image.convert("RGB"))))


def test_resize_and_crop_by_hand() -> None:
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


# --- the rules for other depths and kinds, on real files -------------------------------------------------------------

GREY = np.arange(1024).reshape(32, 32)
COLOUR = np.random.default_rng(5).integers(65536, size=(32, 32, 3)).astype(np.uint16)


def read(content: bytes) -> NDArray[np.uint8]:
    return decode(Encoded(content, -1, "here"))


def png(pixels: NDArray[np.uint16], colour_type: int) -> bytes:
    """Write a PNG of 16 bits per channel: Pillow writes none in colour, and only reads its upper bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(pixels: NDArray[Any], bits: int, sample_format: int = 1, photometric: int = 1) -> bytes:
    """Write an uncompressed grey TIFF of 32x32 values with these tags, of which Pillow writes few combinations."""
    raw = pixels.tobytes()
    tags = {256: 32, 257: 32, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: 32, 279: len(raw)}
    tags[339] = sample_format
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<I", 8 + len(raw)) + raw + struct.pack("<H", len(tags)) + entries + bytes(4)


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM", "JPEG2000"])
def test_sixteen_bit_grey_keeps_the_upper_eight(format: str) -> None:
    grey = (GREY * 64).astype(np.uint16)
    expected = np.repeat((grey // 256).astype(np.uint8)[..., None], 3, axis=2)
    assert np.array_equal(read(encoded(grey, format)), expected)


def test_sixteen_bit_colour_keeps_the_upper_eight() -> None:
    assert np.array_equal(read(png(COLOUR, 2)), COLOUR // 256)
    alpha = np.concatenate([COLOUR, COLOUR[..., :1]], axis=2)
    assert np.array_equal(read(png(alpha, 6)), COLOUR // 256)
    grey = np.repeat(COLOUR[..., :1], 3, axis=2)
    assert np.array_equal(read(png(COLOUR[..., :2], 4)), grey // 256)


def test_fewer_bits_are_scaled_to_255() -> None:
    grey = GREY % 16
    written = b"P5 32 32 15\n" + grey.astype(np.uint8).tobytes()
    assert np.array_equal(read(written)[..., 0], grey * 17)
    assert set(np.unique(read(encoded(picture("1", 32, 32))))) == {0, 255}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (tiff((GREY / 1023).astype("<f4"), 32, 3), "32 bits per channel"),
        (tiff((GREY // 4).astype("<i4"), 32, 2), "32 bits per channel"),
        (tiff((GREY // 4).astype("<u4"), 32, 1), "32 bits per channel"),
        (tiff((GREY * 32).astype("<i2"), 16, 2), "signed or floating-point"),
        (tiff(GREY.astype("i1"), 8, 2), "signed or floating-point"),
        (tiff(np.zeros(1536, np.uint8), 12), "12 bits per channel"),
        (tiff((GREY * 64).astype("<u2"), 16, 1, photometric=0), "zero is white"),
        (encoded((GREY / 1023).astype(np.float32), "TIFF"), "32 bits per channel"),
        (encoded((GREY // 4).astype(np.int32), "TIFF"), "32 bits per channel"),
        (encoded((GREY / 1023).astype(np.float32), "PPM"), "floating-point"),
    ],
)
def test_a_depth_without_a_stated_white_is_refused(content: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=f"here: the image does not decode .*{says}.*save it as RGB or grey"):
        read(content)


def test_eight_and_sixteen_bit_tiffs_are_read() -> None:
    """The writer above is right, so that what it writes is refused for its depth alone."""
    assert np.array_equal(read(tiff((GREY % 256).astype(np.uint8), 8))[..., 0], GREY % 256)
    assert np.array_equal(read(tiff((255 - GREY % 256).astype(np.uint8), 8, photometric=0))[..., 0], GREY % 256)
    assert np.array_equal(read(tiff((GREY * 64).astype("<u2"), 16))[..., 0], GREY * 64 // 256)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_dropped_and_not_blended(mode: str) -> None:
    image = picture("RGB", 32, 32).convert(mode)
    image.putalpha(0)  # invisible, and yet the colours stay
    assert np.array_equal(read(encoded(image)), np.asarray(picture("RGB", 32, 32).convert(mode[:-1]).convert("RGB")))


@pytest.mark.parametrize(("format", "transparency"), [("PNG", bytes([0, 128] * 8)), ("PNG", 3), ("GIF", 3)])
def test_transparent_palette_colours_stay(format: str, transparency: bytes | int) -> None:
    image = picture("RGB", 32, 32).quantize(16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Pillow warns of transparency that is given as bytes
        pixels = read(encoded(image, format, transparency=transparency))
    assert np.array_equal(pixels, np.asarray(image.convert("RGB")))


def test_cmyk_is_converted_by_pillow_s_formula() -> None:
    cmyk = np.random.default_rng(6).integers(256, size=(32, 32, 4)).astype(np.uint8)
    pixels = read(encoded(Image.fromarray(cmyk, "CMYK"), "TIFF")).astype(float)
    expected = (255 - cmyk[..., :3].astype(float)) * (255 - cmyk[..., 3:].astype(float)) / 255
    assert np.abs(pixels - expected).max() <= 1


@pytest.mark.parametrize(("format", "is_turned"), [("JPEG", False), ("PNG", False), ("WEBP", False), ("TIFF", True)])
def test_exif_orientation_is_ignored_but_for_tiff(format: str, is_turned: bool) -> None:
    image = picture("RGB", 32, 32)
    options: dict[str, Any] = {"lossless": True} if format == "WEBP" else {}
    plain = read(encoded(image, format, **options))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    expected = np.rot90(plain, -1) if is_turned else plain
    assert np.array_equal(read(encoded(image, format, exif=exif, **options)), expected)


@pytest.mark.parametrize("format", ["GIF", "TIFF", "WEBP", "PNG"])
def test_the_first_of_several_frames_is_read(format: str) -> None:
    first, second = picture("RGB", 32, 32), Image.new("RGB", (32, 32), (9, 9, 9))
    options: dict[str, Any] = {"lossless": True} if format == "WEBP" else {}
    content = encoded(first, format, save_all=True, append_images=[second], **options)
    assert Image.open(io.BytesIO(content)).n_frames == 2
    assert np.array_equal(read(content), read(encoded(first, format, **options)))


def test_a_header_that_announces_a_bomb_is_refused() -> None:
    bomb = png(np.zeros((1, 1), np.uint16), 0)
    for width, height in ((60_000, 60_000), (12_000, 10_000), (2**31 - 1, 2**31 - 1)):
        header = b"IHDR" + struct.pack(">II", width, height) + bomb[24:29]
        announced = bomb[:12] + header + struct.pack(">I", zlib.crc32(header)) + bomb[33:]
        with (
            warnings.catch_warnings(action="ignore"),
            pytest.raises(ValueError, match=r"here: .*(more than 89,478,485|decompression bomb)"),
        ):
            read(announced)


def test_a_narrow_image_that_would_grow_is_refused() -> None:
    """One row of 10 million pixels is a file of 1 kB and 30 GB when its shorter side is 32."""
    with pytest.raises(ValueError, match=r"10000000 x 1 pixels are more than .* with the shorter side resized to 32"):
        read(encoded(Image.new("1", (10_000_000, 1))))
    assert read(encoded(Image.new("L", (1000, 1)))).shape == (32, 32, 3)


@pytest.mark.parametrize("content", [b"", b"no image", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n"])
def test_what_is_no_image_of_a_known_kind_is_refused(content: bytes) -> None:
    """EPS is an image to Pillow, which runs Ghostscript on it."""
    with pytest.raises(ValueError, match=rf"here: .* \(its {len(content)} bytes are no image of a known kind: BMP"):
        read(content)


@pytest.mark.parametrize("format", ["BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP"])
@given(data=st.data())
@settings(max_examples=20, deadline=None)
@pytest.mark.filterwarnings("ignore")
def test_a_truncated_image_is_refused(format: str, data: st.DataObject) -> None:
    content = encoded(picture("RGB" if format != "GIF" else "P", 40, 36), format)
    kept = data.draw(st.integers(0, len(content) * 3 // 4))
    with pytest.raises(ValueError, match="here: the image does not decode"):
        read(content[:kept])


def test_jpeg_2000_is_read_up_to_its_own_end() -> None:
    """OpenJPEG makes pixels up where the code ends early, as that of these files would at 212 bytes."""
    bare, boxed = (encoded(picture("RGB", 40, 36), "JPEG2000", no_jp2=bare) for bare in (True, False))
    start = boxed.index(b"jp2c") - 4
    length = len(boxed) - start
    long = boxed[:start] + struct.pack(">I4sQ", 1, b"jp2c", length + 8) + boxed[start + 8 :]
    last = boxed[:start] + struct.pack(">I", 0) + boxed[start + 4 :]
    followed = boxed[:start] + struct.pack(">I", length) + boxed[start + 4 :] + struct.pack(">I4sI", 12, b"free", 0)
    assert all(np.array_equal(read(content), read(bare)) for content in (boxed, long, last, followed))
    for content in (bare, boxed, long, last):
        for kept in {212, 300, len(content) // 2, len(content) - 1, *range(0, len(content), 97)} - {len(content)}:
            with pytest.raises(ValueError, match="here: the image does not decode"):
                read(content[:kept])


@pytest.mark.parametrize("format", ["BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP"])
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
@pytest.mark.filterwarnings("ignore")
def test_damage_ends_in_pixels_or_a_value_error(format: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    content = bytearray(encoded(picture("RGB" if format != "GIF" else "P", 40, 36), format))
    for position in rng.integers(min(len(content), 200), size=4):
        content[position] = rng.integers(256)
    with contextlib.suppress(ValueError):
        assert read(bytes(content)).shape == (32, 32, 3)


# --- images of another size ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [encoded(picture("RGB", 50, 40)), encoded(picture("RGB", 700, 300))])
def test_images_of_a_run_have_its_size(content: bytes) -> None:
    """Small images are decoded in this thread, large ones in others."""
    rule = transforms.Compose([transforms.Resize(48), transforms.CenterCrop(48)])
    with images_of(48):
        ((images, _),) = decode_batches([Encoded(content, 0, "here")] * 3, 3, "set")
    assert np.array_equal(images[2], np.asarray(rule(Image.open(io.BytesIO(content)))))
    assert side() == 32


def test_arrays_become_images_of_the_runs_size() -> None:
    with images_of(40):
        batches = [images for images, _ in array_batches(IMAGES, np.arange(20))]
    expected = [Image.fromarray(image).resize((40, 40), Image.Resampling.BILINEAR) for image in IMAGES]
    assert np.array_equal(np.concatenate(batches), expected)


@pytest.mark.parametrize("size", [0, -8, 33, 1032, "64", 32.0, None, True])
def test_a_size_that_is_none_is_refused(size: Any) -> None:
    with pytest.raises(ValueError, match="a multiple of 8 from 8 to 1024 is needed"), images_of(size):
        pass


def test_an_error_ends_the_size_of_a_run() -> None:
    with pytest.raises(KeyError), images_of(64):
        raise KeyError
    assert side() == 32
