"""Images that are none, are too large, run something, or were good once."""

from __future__ import annotations

import os
import random
import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.reliability.mutate import checked, mutated
from benchmarks.reliability.watch import CANARY, Case, Parser, command

SIDE = 24


def read(path: Path, out: Path) -> None:
    """Look an image over, and read it."""
    from stimuli.images import inspect, read_image

    inspect([path])
    image = read_image(path)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise AssertionError(f"an image of {image.dtype} {image.shape}")


def read_bytes(path: Path, out: Path) -> None:
    """Read it as an image inside of another file."""
    from stimuli.encoded import from_bytes

    from_bytes(path.read_bytes(), "row 1")


def cases(count: int, seed: int = 0) -> Iterator[Case]:
    """Those made by hand, and so many that were good."""
    for name, make in {**_by_hand(), **_special()}.items():
        yield Case("images", name, _writer(name, make), read)
    yield Case("images", "a folder of all of them", _folder, _folder_read)
    rng, good = random.Random(seed), list(seeds().items())
    for i in range(count):
        name, content = good[i % len(good)]
        bad = mutated(content, rng)
        bad = checked(bad) if name.endswith(".png") and i % 3 else bad
        reading = read_bytes if i % 4 == 3 else read
        yield Case("images", f"{i}-{name}", _writer(rng.choice((name, "a.png", "a.jpg")), bad), reading)


def parsers() -> dict[str, Parser]:
    """What reads images, with good ones of every kind; a file's name says nothing of its kind."""
    return {"image": ("a.png", list(seeds().values()), read)}


def _writer(name: str, content: Any) -> Any:
    def write(folder: Path) -> Path:
        path = folder / name
        if callable(content):
            content(path)
        else:
            path.write_bytes(content)
        return path

    return write


def _folder(folder: Path) -> Path:
    for name, make in _by_hand().items():
        _writer(name, make)(folder)
    (folder / "good.png").write_bytes(seeds()["rgb.png"])
    return folder


def _folder_read(folder: Path, out: Path) -> None:
    command("stimuli", out / "set", "--images", folder, "--references", "100", "--levels", "3", "--no-progress")


def seeds() -> dict[str, bytes]:
    """One good file of each kind that is read."""
    from PIL import Image

    rng = np.random.default_rng(0)
    colour = Image.fromarray(rng.integers(0, 256, (SIDE, SIDE + 5, 3), dtype=np.uint8))
    alpha = Image.fromarray(rng.integers(0, 256, (SIDE, SIDE + 5, 4), dtype=np.uint8))
    deep = Image.fromarray(rng.integers(0, 65536, (SIDE, SIDE), dtype=np.uint16))
    turned = Image.Exif()
    turned[274] = 6
    frames = [colour.rotate(90 * i) for i in range(3)]
    plans: dict[str, tuple[Any, dict[str, Any]]] = {
        "rgb.png": (colour, {}), "rgba.png": (alpha, {}), "palette.png": (colour.quantize(16), {}), "grey.png": (colour.convert("L"), {}),
        "one.png": (colour.convert("1"), {}), "deep.png": (deep, {}), "keyed.png": (colour.convert("L"), {"transparency": 7}),
        "turned.png": (colour, {"exif": turned}), "moving.png": (frames[0], {"save_all": True, "append_images": frames[1:]}),
        "rgb.jpg": (colour, {}), "cmyk.jpg": (colour.convert("CMYK"), {}), "progressive.jpg": (colour, {"progressive": True}),
        "turned.jpg": (colour, {"exif": turned}), "grey.jpg": (colour.convert("L"), {}), "rgb.bmp": (colour, {}), "rgb.webp": (colour, {}),
        "palette.bmp": (colour.quantize(16), {}), "moving.webp": (frames[0], {"save_all": True, "append_images": frames[1:]}),
        "alpha.webp": (alpha, {"lossless": True}), "rgb.tif": (colour, {}), "lzw.tif": (colour, {"compression": "tiff_lzw"}),
        "jpeg.tif": (colour, {"compression": "jpeg"}), "deflated.tif": (alpha, {"compression": "tiff_adobe_deflate"}),
        "deep.tif": (deep, {}), "pages.tif": (frames[0], {"save_all": True, "append_images": frames[1:]}),
        "moving.gif": (frames[0], {"save_all": True, "append_images": frames[1:]}), "rgb.jp2": (colour, {}),
    }  # fmt: skip
    found = {}
    for name, (image, how) in plans.items():
        kept = BytesIO()
        image.save(
            kept, {"jpg": "JPEG", "tif": "TIFF", "jp2": "JPEG2000"}.get(name[-3:], name.rpartition(".")[2].upper()), **how
        )
        found[name] = kept.getvalue()
    return found


# ---- made by hand ----------------------------------------------------------------------------------------------------


def chunk(kind: bytes, data: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, colour: int, data: bytes, *more: bytes) -> bytes:
    """A PNG of these compressed data, whatever its header says."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width & 0xFFFFFFFF, height & 0xFFFFFFFF, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def _zeros(width: int, height: int, bits: int) -> bytes:
    """A compressed PNG image of zeros, row by row, a thousandth of its size."""
    packer, row = zlib.compressobj(9), bytes(1 + (width * bits + 7) // 8)
    return b"".join(packer.compress(row) for _ in range(height)) + packer.flush()


def _by_hand() -> dict[str, bytes]:
    good = seeds()
    text = zlib.compress(b"x" * 50_000_000, 9)
    return {
        "empty.png": b"",
        "header.png": good["rgb.png"][:33],
        "half.png": good["rgb.png"][: len(good["rgb.png"]) // 2],
        "half.jpg": good["rgb.jpg"][: len(good["rgb.jpg"]) // 2],
        "text.png": b"I am no image.\n",
        "page.jpg": b"<html><script>alert(1)</script></html>",
        "vector.png": b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        "jpeg-named.png": good["rgb.jpg"],
        "png-named.jpg": good["rgb.png"],
        "gif-named.png": good["moving.gif"],
        "zip.png": b"PK\3\4" + bytes(60),
        "two-in-one.png": good["rgb.png"] + b"PK\3\4" + bytes(60),
        "wide.png": png(2**31 - 1, 1, 8, 2, zlib.compress(b"\0")),
        "square.png": png(60_000, 60_000, 8, 2, zlib.compress(b"\0")),
        "beyond.png": png(2**32 - 1, 2**32 - 1, 16, 6, zlib.compress(b"\0")),
        "none.png": png(0, 0, 8, 2, zlib.compress(b"\0")),
        "bomb.png": png(20_000, 20_000, 1, 0, _zeros(20_000, 20_000, 1)),
        "below-the-bomb.png": png(13_000, 13_000, 1, 0, _zeros(13_000, 13_000, 1)),
        "clear-bomb.png": png(9_400, 9_400, 8, 6, _zeros(9_400, 9_400, 32)),
        "text-bomb.png": png(4, 4, 8, 2, zlib.compress(bytes(52)), chunk(b"zTXt", b"Comment\0\0" + text)),
        "profile-bomb.png": png(4, 4, 8, 2, zlib.compress(bytes(52)), chunk(b"iCCP", b"p\0\0" + text)),
        "more-pixels.png": png(4, 4, 8, 2, zlib.compress(bytes(10_000_000))),
        "fewer-pixels.png": png(400, 400, 8, 2, zlib.compress(bytes(10))),
        "palette-of-nothing.png": png(4, 4, 8, 3, zlib.compress(bytes(20))),
        "odd-depth.png": png(4, 4, 7, 9, zlib.compress(bytes(52))),
        "orientation-9.png": png(4, 4, 8, 2, zlib.compress(bytes(52)), chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\x09\0\0")),
        "exif-of-garbage.png": png(4, 4, 8, 2, zlib.compress(bytes(52)), chunk(b"eXIf", b"MM\0*\xff\xff\xff\xff")),
        "giant.bmp": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 100, 0, 0, 54, 40, 2**31 - 1, -(2**31), 1, 24, 0, 0, 0, 0, 0, 0),
        "giant.gif": b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b",\0\0\0\0\xff\xff\xff\xff\0\2\0;",
        "giant.jpg": good["rgb.jpg"].replace(struct.pack(">HH", SIDE, SIDE + 5), struct.pack(">HH", 65500, 65500), 1),
        "circle.tif": b"II*\0\x08\0\0\0" + struct.pack("<H", 0) + struct.pack("<I", 8),
        "many-tags.tif": b"II*\0\x08\0\0\0" + struct.pack("<H", 65535) + bytes(65535 * 12),
        "giant.tif": b"II*\0\x08\0\0\0" + struct.pack("<H", 3) + b"".join(
            struct.pack("<HHII", tag, 4, 1, value) for tag, value in ((256, 2**31), (257, 2**31), (273, 8))
        ) + bytes(4),
        "photo.psd": b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 30_000, 30_000, 8, 3) + bytes(40),
    }  # fmt: skip


def _special() -> dict[str, Any]:
    """What is no plain file, and what asks for another program."""
    return {
        "postscript.png": _postscript,
        "folder.png": lambda path: path.mkdir(),
        "pipe.png": lambda path: os.mkfifo(path),
        "zeros.png": lambda path: path.symlink_to("/dev/zero"),
        "circle.png": lambda path: path.symlink_to(path),
        "gone.png": lambda path: path.symlink_to(path.parent / "nowhere"),
        "passwd.png": lambda path: path.symlink_to("/etc/passwd"),
        f"{'long' * 60}.png": lambda path: path.write_bytes(seeds()["rgb.png"]),
    }


def _postscript(path: Path) -> None:
    """A drawing that Pillow would have Ghostscript draw; the ``gs`` that is found is ours, and tells."""
    tool = path.parent / "gs"
    tool.write_text(f'#!/bin/sh\ntouch "${CANARY}"\n')
    tool.chmod(0o755)
    os.environ["PATH"] = f"{path.parent}:{os.environ['PATH']}"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n%%EndComments\n0 0 moveto\nshowpage\n%%EOF\n")
