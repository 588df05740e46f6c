"""Encoded images of any size -> (S, S, 3) uint8 RGB, as torchvision's ImageFolder and OpenOOD convert them.

First to 8-bit RGB:
- 8 bits per channel stay as they are. Grey and palette images become RGB. Alpha and transparent colours are dropped,
  not blended. CMYK, YCbCr and HSV are converted by Pillow's formulas, without colour profiles.
- 1, 2 and 4 bits per channel are scaled to 0..255.
- 16 bits per channel (PNG, TIFF, PGM, PPM, JPEG 2000) keep the upper 8 bits: value // 256.
- Anything else is refused, because nothing says which value is white: floating point, 32-bit and signed integers,
  12-bit TIFF, 16-bit TIFF whose zero is white.
- The first frame or page is read.
- EXIF orientation is ignored, but TIFF's own orientation is applied, which Pillow does while it loads.

Then the shorter side to S pixels (bilinear with antialias), then the centre crop. S is 32, unless a run learns a set
of images of another size (`images_of`): then its OOD sets are of that size, too.
"""

import io
import struct
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.ExifTags import Base as Tag
from PIL.TiffImagePlugin import TiffImageFile
from tqdm import tqdm

SIDE = 32  # pixels: the field's size, and that of CIFAR and SVHN as they are published
SIDES = range(8, 1025, 8)  # that a run may ask for: each image is then a whole number of 64-bit words
BATCH = 500
# Threads pay only for large images: on two cores they decode 480x640 JPEG 2.0 times faster than one thread,
# but 32x32 WebP 1.6 times slower, because each image then mostly waits for the interpreter lock.
LARGE = 16 * 1024  # bytes of an encoded image
# No others: Pillow runs a foreign program for some (Ghostscript for EPS) and knows others by a guess.
FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
JP2 = b"\x00\x00\x00\x0cjP  "  # how JPEG 2000 in boxes begins
MAX_PIXELS = 89_478_485  # from here on Pillow warns of a decompression bomb
SAVE_AS = "save it as RGB or grey with 8 bits per channel"


class Encoded(NamedTuple):
    """An image as a file has it, not decoded yet."""

    data: bytes | Path | None  # a PNG, JPEG, WebP, ... file: its content, or its path
    label: int
    where: str  # for the error message: the file, and the row in it
    digest: str = ""  # sha256 that the file at the path must have


_side: ContextVar[int] = ContextVar("side", default=SIDE)


def side() -> int:
    """Return S, the side in pixels of the images that readers return here."""
    return _side.get()


@contextmanager
def images_of(size: int) -> Iterator[None]:
    """Make all readers return images of `size` pixels a side: the sets of one run are of one size.

    Raises ValueError unless the size is a multiple of 8 from 8 to 1,024.
    """
    if type(size) is not int or size not in SIDES:
        raise ValueError(f"images of {size!r} pixels a side: a multiple of 8 from 8 to {SIDES[-1]} is needed")
    token = _side.set(size)
    try:
        yield
    finally:
        _side.reset(token)


def resize_and_crop(image: Image.Image, size: int = SIDE) -> NDArray[np.uint8]:
    """Convert to RGB, resize the shorter side to S = size (bilinear with antialias), crop the centre: (S, S, 3).

    In OpenOOD's order: the conversion comes first, so that a palette is never interpolated. An image that is S x S
    keeps every pixel. Raises ValueError for a depth or a size that is refused.
    """
    _check_size(image, size)
    image = to_rgb(image)
    if image.size != (size, size):
        # Inside the function: it brings torch, which a report does without, as do cached sets and images of this size.
        from torchvision.transforms import InterpolationMode, functional

        image = functional.center_crop(functional.resize(image, size, InterpolationMode.BILINEAR), [size, size])
    return np.asarray(image)


def resized(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bring images that are published as arrays to the side of the run: (N, H, W, 3) or (N, H, W) -> (N, S, S, 3)."""
    if images.shape[1:] == (side(), side(), 3):
        return images
    return np.stack([resize_and_crop(Image.fromarray(image), side()) for image in images])


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert to 8-bit RGB by the rules at the top. Raises ValueError for a depth that is refused."""
    if isinstance(image, TiffImageFile):
        _check_tiff(image)
    # Pillow reads 16-bit grey as I;16, from PGM (older versions: also from PNG) as I, and convert() would clip it.
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode in ("I", "F"):
        kind = "32-bit integers" if image.mode == "I" else "floating-point numbers"
        raise ValueError(f"its pixels are {kind}, and nothing says which one is white; {SAVE_AS}")
    image.info.pop("transparency", None)  # dropped in any case; Pillow warns of it for palettes
    return image.convert("RGB")


def _check_tiff(image: TiffImageFile) -> None:
    bits = {int(n) for n in image.tag_v2.get(Tag.BitsPerSample, (1,))}
    if not bits <= {1, 2, 4, 8, 16}:
        raise ValueError(f"TIFF with {max(bits)} bits per channel, and nothing says which value is white; {SAVE_AS}")
    if {int(kind) for kind in image.tag_v2.get(Tag.SampleFormat, (1,))} != {1}:
        raise ValueError(f"TIFF of signed or floating-point numbers, and nothing says which one is white; {SAVE_AS}")
    if bits == {16} and image.tag_v2.get(Tag.PhotometricInterpretation) == 0:
        raise ValueError(f"TIFF with 16 bits per channel whose zero is white; {SAVE_AS}")


def _check_size(image: Image.Image, size: int) -> None:
    """Refuse what would fill the memory: large images, and narrow ones, which grow when the shorter side is resized."""
    shorter, longer = sorted(image.size)
    if longer * shorter > MAX_PIXELS or longer * size * size > MAX_PIXELS * shorter:
        raise ValueError(
            f"{image.width} x {image.height} pixels are more than {MAX_PIXELS:,}, as they are or with the shorter side "
            f"resized to {size}; make the image smaller or crop it"
        )


def _check_jpeg2000(content: bytes) -> None:
    """Refuse a file that lacks the end of its code: OpenJPEG may fill what is missing with made-up pixels.

    The code stands alone or in a box of its own, boxes being length, kind and content (ISO/IEC 15444-1, annex I).
    """
    at, kind, ends = 0, b"", len(content)
    while content.startswith(JP2) and kind != b"jp2c":
        length, kind = struct.unpack_from(">I4s", content, at)
        if length == 1:  # the length stands behind the kind, in 64 bits
            (length,) = struct.unpack_from(">Q", content, at + 8)
        at += length or len(content) - at  # 0: the last box, up to the end
        ends = at
    if ends > len(content) or content[ends - 2 : ends] != b"\xff\xd9":
        raise ValueError("JPEG 2000 without its end; the file is truncated")


def decode(encoded: Encoded, size: int = SIDE) -> NDArray[np.uint8]:
    """Decode one image: (S, S, 3), S = size. Raises ValueError, with the place, if it does not decode or is refused."""
    content = _content(encoded)
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.format == "JPEG2000":
                _check_jpeg2000(content)
            return resize_and_crop(image, size)
    except UnidentifiedImageError as error:  # its own text names an address in memory
        reason = f"its {len(content)} bytes are no image of a known kind: {', '.join(FORMATS)}"
        raise ValueError(f"{encoded.where}: the image does not decode ({reason})") from error
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, ...
        reason = str(error) or type(error).__name__
        raise ValueError(f"{encoded.where}: the image does not decode ({reason})") from error


def _content(encoded: Encoded) -> bytes:
    if encoded.data is None:
        raise ValueError(f"{encoded.where}: no image bytes; remove the row or fill it")
    if isinstance(encoded.data, bytes):
        return encoded.data
    content = encoded.data.read_bytes()
    if sha256(content).hexdigest() != encoded.digest:
        raise ValueError(f"{encoded.where}: the file changed while the set was read; start again")
    return content


def decode_batches(
    encoded: Iterable[Encoded], count: int, name: str
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """Yield batches of images (B, S, S, 3) and labels (B,), in order, with a progress bar of `count` images."""
    rows, decode_one = iter(encoded), partial(decode, size=side())  # threads would not see this context's side
    with ThreadPoolExecutor() as pool, tqdm(total=count, desc=f"decoding {name}", unit="img", disable=None) as bar:
        while batch := list(islice(rows, BATCH)):
            large = sum(map(_size, batch)) > LARGE * len(batch)
            images = np.stack(list((pool.map if large else map)(decode_one, batch)))
            yield images, np.array([row.label for row in batch], dtype=np.int64)
            bar.update(len(batch))


def array_batches(
    images: NDArray[np.uint8], labels: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """Yield batches as `decode_batches`, of images that are published as arrays."""
    for start in range(0, len(images), BATCH):
        yield resized(images[start : start + BATCH]), labels[start : start + BATCH]


def _size(encoded: Encoded) -> int:
    """Return the size of an encoded image in bytes."""
    return encoded.data.stat().st_size if isinstance(encoded.data, Path) else len(encoded.data or b"")
