"""Image files: read exactly, with the few conversions to 8-bit RGB named, and looked over by their headers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from stimuli.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".jp2")
"""How the names of image files end, in lower case."""

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "JPEG2000")
"""What is opened, whatever a file is called. Pillow knows more, some of which run other programs (PostScript runs Ghostscript)."""
PIXELS = 89_478_485
"""Most pixels of an image: from there on Pillow warns of a decompression bomb. Reading so many takes up to 1.5 GB."""

ROTATED = "rotated by EXIF"
DEEP = "16 bits: high byte kept"
CMYK = "CMYK"
ALPHA = "alpha"
ANIMATED = "animated: first frame"
GREY = "grey"
KINDS = (ROTATED, DEEP, CMYK, ALPHA, ANIMATED, GREY)
"""What ``read_image`` converts, as ``inspect`` counts it."""

FIRST = 20
"""How many names a report gives."""
THREADS = 8
ORIENTATION = 0x0112
"""The EXIF and TIFF tag; 1 is upright."""
BITS_PER_SAMPLE = 258
"""The TIFF tag."""
FLIPS = {1: (1, 1), 2: (1, -1), 3: (-1, -1), 4: (-1, 1), 5: (1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}
"""Per EXIF orientation, the steps down and across that set an image upright; from 5 on its axes are swapped before."""


def read_image(path: Path) -> np.ndarray:
    """Read an image file as uint8 RGB of shape (H, W, 3).

    8-bit RGB, palette and grey images come exactly as stored. What else a file may hold is converted by fixed rules:

    - an EXIF orientation is applied: pixels are permuted, none is computed;
    - an opaque alpha channel is dropped, a transparent image is laid over white;
    - CMYK and YCCK are converted by Pillow's formula, without the file's colour profile;
    - of 16 bits per channel the high byte is kept;
    - of an animation, or several pictures in one file, the first is read.

    Args:
        path: the file.

    Raises:
        InputError: the file is missing, truncated, empty, of more than ``PIXELS``, not an image, or of grey values whose
            range is not defined (32 bits, 12 bits).
    """
    try:
        _refuse_special(path)
        return decoded(path, PIXELS)
    except Exception as error:  # decoders raise many kinds for broken files
        raise InputError(
            f"The image {path} cannot be read ({error}). Expected a complete PNG, JPEG, BMP, WebP or TIFF file: "
            "replace or remove it; without --strict it is skipped and listed in the report."
        ) from error


def decoded(source: Path | IO[bytes], most: int) -> np.ndarray:
    """An image of at most so many pixels as uint8 (H, W, 3), as ``read_image`` tells; its size is looked at before it is decoded.

    Raises:
        Exception: whatever its decoder raises, and ValueError for too many pixels.
    """
    from PIL import Image

    with Image.open(source, formats=FORMATS) as handle:
        if handle.width * handle.height > most:
            raise ValueError(f"{handle.width} × {handle.height} pixels are more than {most}")
        handle.load()
        return _upright(_rgb(handle), _orientation(handle))


def _refuse_special(path: Path) -> None:
    """A pipe or a device may never end; what is not there, opening tells.

    Raises:
        ValueError: it is one.
    """
    if path.exists() and not path.is_file():
        raise ValueError("it is no plain file")


def _rgb(image: Picture) -> np.ndarray:
    """A decoded image as uint8 (H, W, 3)."""
    if image.mode == "F" or image.mode.startswith("I"):
        return _deep_grey(image)
    if image.has_transparency_data:
        image = _over_white(image if image.mode == "RGBA" else image.convert("RGBA"))
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _deep_grey(image: Picture) -> np.ndarray:
    """Grey of 16 bits, its high byte as uint8 (H, W, 3); Pillow's own conversion would clip at 255."""
    if not _has_known_range(image):
        raise ValueError(f"grey of an undefined range: mode {image.mode}, not 8 or 16 bits; save it as one of these")
    values = np.asarray(image).astype(np.uint32)
    grey = (values >> 8).astype(np.uint8)
    grey[values == image.info.get("transparency", -1)] = 255
    return np.repeat(grey[..., None], 3, axis=2)


def _has_known_range(image: Picture) -> bool:
    """Whether 0 is black and the largest value of 8 or 16 bits white. Before release 11, Pillow calls a 16-bit PNG mode I."""
    if image.mode.startswith("I;16"):
        return _bits(image) in ((), (16,))
    return image.mode not in ("I", "F") or (image.mode, image.format) == ("I", "PNG")


def _upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """Undo an EXIF orientation, 1 to 8 as numbered by the standard (CIPA DC-008, tag 274); a permutation of pixels."""
    if orientation >= 5:
        image = image.swapaxes(0, 1)
    down, across = FLIPS[orientation]
    return np.ascontiguousarray(image[::down, ::across])


def _over_white(rgba: Picture) -> Picture:
    """Composite over white, rounded: c·a + 255·(1 − a), alpha a from 0 to 1; exact where a is 0 or 1. An opaque image keeps its colours."""
    from PIL import Image

    if rgba.getchannel("A").getextrema()[0] == 255:
        return rgba.convert("RGB")
    made = Image.new("RGB", rgba.size, (255, 255, 255))
    made.paste(rgba, mask=rgba)
    return made


def inspect(paths: Sequence[Path], names: Sequence[str] | None = None, *, progress: bool = False) -> dict[str, Any]:
    """Look over image files by their headers alone, in threads: which are missing, unreadable or converted when read.

    A file that is cut off behind its header, and an orientation that a PNG gives behind its pixels, show only when it is read.

    Args:
        paths: the files.
        names: what to call them; by default their paths.
        progress: show a progress bar.

    Returns:
        ``images`` (how many), ``missing``, ``unreadable`` and ``converted`` (by kind, see ``KINDS``), each ``{"count": …,
        "first": [at most 20 names]}``.
    """
    from PIL import Image
    from tqdm.auto import tqdm

    Image.init()  # once, before threads need it
    shown = names if names is not None else [str(path) for path in paths]
    found: dict[str, list[str]] = {}
    with ThreadPoolExecutor(THREADS) as pool:
        seen = tqdm(pool.map(_kinds, paths, chunksize=64), desc="inspect images", total=len(paths), disable=not progress)
        for name, kinds in zip(shown, seen, strict=True):
            for kind in kinds:
                found.setdefault(kind, []).append(name)
    converted = {kind: tally(found[kind]) for kind in KINDS if kind in found}
    problems = {kind: tally(found.get(kind, [])) for kind in ("missing", "unreadable")}
    return {"images": len(paths), **problems, "converted": converted}


def tally(names: Sequence[str]) -> dict[str, Any]:
    """How many names, and the first ``FIRST``: ``{"count": …, "first": […]}``."""
    return {"count": len(names), "first": list(names[:FIRST])}


def _kinds(path: Path) -> tuple[str, ...]:
    """What a header says: ``missing``, ``unreadable``, or some of ``KINDS``."""
    from PIL import Image

    try:
        _refuse_special(path)
        with Image.open(path, formats=FORMATS) as image:
            fits = _has_known_range(image) and image.width * image.height <= PIXELS
            return tuple(_conversions(image)) if fits else ("unreadable",)
    except FileNotFoundError:
        return ("missing",)
    except Exception:  # decoders raise many kinds for broken files
        return ("unreadable",)


def _conversions(image: Picture) -> Iterator[str]:
    if _orientation(image) != 1:
        yield ROTATED
    if _is_deep(image):
        yield DEEP
    if image.mode == "CMYK":
        yield CMYK
    if image.has_transparency_data:
        yield ALPHA
    if getattr(image, "is_animated", False):
        yield ANIMATED
    if image.mode in ("1", "L", "LA") or image.mode.startswith("I"):
        yield GREY


def _orientation(image: Picture) -> int:
    """1 to 8; 1 for EXIF that cannot be read. A PNG is asked only if EXIF is known of: Pillow would decode all of it to look."""
    if image.format == "PNG" and not {"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"} & set(image.info):
        return 1
    try:
        turned = image.getexif().get(ORIENTATION, 1)
    except Exception:  # EXIF that is none
        return 1
    return turned if turned in FLIPS else 1


def _is_deep(image: Picture) -> bool:
    """Whether channels have 16 bits, as the mode, the TIFF's tag or the PNG's raw mode say."""
    return image.mode.startswith("I") or 16 in _bits(image) or any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))


def _bits(image: Picture) -> tuple[int, ...]:
    """Bits per sample of a TIFF; empty for other files."""
    return tuple(getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, ()))
