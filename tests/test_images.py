"""Image files: read exactly, converted by fixed rules, and looked over by their headers."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stimuli.errors import InputError
from stimuli.images import KINDS, inspect, read_image
from stimuli.types import read_image as read_from_types

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (5, 7, 3), dtype=np.uint16)


def deep_png(path: Path, values: np.ndarray, transparent: int | None = None) -> Path:
    """A 16-bit PNG, written by hand: grey (H, W), grey with alpha (H, W, 2) or colour (H, W, 3)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    kind = {1: 0, 2: 4, 3: 2}[1 if values.ndim == 2 else values.shape[2]]
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, kind, 0, 0, 0)
    key = b"" if transparent is None else chunk(b"tRNS", struct.pack(">H", transparent))
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    parts = (chunk(b"IHDR", header), key, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


def converted(path: Path) -> set[str]:
    found = inspect([path])
    assert not found["missing"]["count"] and not found["unreadable"]["count"]
    return set(found["converted"])


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[..., None], 3, axis=2)


def test_the_reader_is_the_one_that_stimuli_use() -> None:
    assert read_from_types is read_image


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.webp"])
def test_colour_of_8_bits_is_read_exactly_and_not_counted_as_converted(tmp_path: Path, name: str) -> None:
    Image.fromarray(COLOUR).save(tmp_path / name, **({"lossless": True} if name.endswith("webp") else {}))
    image = read_image(tmp_path / name)
    assert np.array_equal(image, COLOUR) and image.dtype == np.uint8 and not converted(tmp_path / name)


def test_palette_grey_and_bilevel_are_read_exactly(tmp_path: Path) -> None:
    Image.fromarray(COLOUR).quantize(8).save(tmp_path / "p.png")
    Image.fromarray(COLOUR[..., 0]).save(tmp_path / "l.png")
    Image.fromarray(COLOUR[..., 0] > 99).save(tmp_path / "1.png")
    palette = np.asarray(Image.open(tmp_path / "p.png").convert("RGB"))
    assert np.array_equal(read_image(tmp_path / "p.png"), palette) and not converted(tmp_path / "p.png")
    assert np.array_equal(read_image(tmp_path / "l.png"), grey(COLOUR[..., 0])) and converted(tmp_path / "l.png") == {"grey"}
    assert np.array_equal(read_image(tmp_path / "1.png"), grey(255 * (COLOUR[..., 0] > 99).astype(np.uint8)))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.tif"])
def test_an_orientation_permutes_pixels(tmp_path: Path, name: str, orientation: int) -> None:
    exif = Image.Exif()
    options = {"lossless": True} if name.endswith("webp") else {}
    Image.fromarray(COLOUR).save(tmp_path / f"upright-{name}", **options)
    exif[274] = orientation
    Image.fromarray(COLOUR).save(tmp_path / name, exif=exif, **options)
    stored = read_image(tmp_path / f"upright-{name}")
    turned = {
        1: stored, 2: np.fliplr(stored), 3: np.rot90(stored, 2), 4: np.flipud(stored), 5: stored.transpose(1, 0, 2),
        6: np.rot90(stored, -1), 7: np.rot90(stored, 2).transpose(1, 0, 2), 8: np.rot90(stored),
    }  # fmt: skip
    assert np.array_equal(read_image(tmp_path / name), turned[orientation])
    assert converted(tmp_path / name) == (set() if orientation == 1 else {"rotated by EXIF"})


def test_exif_that_cannot_be_read_turns_nothing(tmp_path: Path) -> None:
    Image.fromarray(COLOUR).save(tmp_path / "a.png", exif=b"Exif\0\0no such thing")
    assert np.array_equal(read_image(tmp_path / "a.png"), COLOUR) and not converted(tmp_path / "a.png")


def test_of_16_bits_the_high_byte_is_kept(tmp_path: Path) -> None:
    import tifffile

    high = "16 bits: high byte kept"
    assert np.array_equal(read_image(deep_png(tmp_path / "c.png", DEEP)), DEEP >> 8)
    assert converted(tmp_path / "c.png") == {high}
    assert np.array_equal(read_image(deep_png(tmp_path / "g.png", DEEP[..., 0])), grey(DEEP[..., 0] >> 8))
    assert converted(tmp_path / "g.png") == {high, "grey"}
    opaque = np.stack([DEEP[..., 0], np.full((5, 7), 65535, np.uint16)], -1)
    assert np.array_equal(read_image(deep_png(tmp_path / "la.png", opaque)), grey(DEEP[..., 0] >> 8))
    for order in "<>":
        tifffile.imwrite(tmp_path / "g.tif", DEEP[..., 0], byteorder=order)
        tifffile.imwrite(tmp_path / "c.tif", DEEP, byteorder=order, photometric="rgb")
        assert np.array_equal(read_image(tmp_path / "g.tif"), grey(DEEP[..., 0] >> 8))
        assert np.array_equal(read_image(tmp_path / "c.tif"), DEEP >> 8)
        assert converted(tmp_path / "g.tif") == {high, "grey"} and converted(tmp_path / "c.tif") == {high}


def test_a_transparent_grey_of_16_bits_becomes_white(tmp_path: Path) -> None:
    image = read_image(deep_png(tmp_path / "a.png", DEEP[..., 0], transparent=int(DEEP[2, 3, 0])))
    assert (image[2, 3] == 255).all() and np.array_equal(image[0], grey(DEEP[..., 0] >> 8)[0])


def test_alpha_is_dropped_where_opaque_and_laid_over_white_elsewhere(tmp_path: Path) -> None:
    opaque = np.dstack([COLOUR, np.full((5, 7), 255, np.uint8)])
    Image.fromarray(opaque).save(tmp_path / "o.png")
    assert np.array_equal(read_image(tmp_path / "o.png"), COLOUR) and converted(tmp_path / "o.png") == {"alpha"}
    alpha = np.full((5, 7), 255, np.uint8)
    alpha[0], alpha[1] = 0, 51
    Image.fromarray(np.dstack([COLOUR, alpha])).save(tmp_path / "t.png")
    seen = read_image(tmp_path / "t.png")
    assert (seen[0] == 255).all() and np.array_equal(seen[2:], COLOUR[2:])
    assert np.array_equal(seen[1], np.round(COLOUR[1] * 0.2 + 255 * 0.8))
    assert converted(tmp_path / "t.png") == {"alpha"}


def test_cmyk_is_converted_by_pillow(tmp_path: Path) -> None:
    Image.fromarray(COLOUR).convert("CMYK").save(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as handle:
        assert handle.mode == "CMYK" and np.array_equal(read_image(tmp_path / "a.jpg"), np.asarray(handle.convert("RGB")))
    assert converted(tmp_path / "a.jpg") == {"CMYK"}


def test_of_an_animation_the_first_frame_is_read(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 3), colour) for colour in ("red", "blue")]
    for name in ("a.gif", "a.webp", "a.tif"):
        frames[0].save(
            tmp_path / name, save_all=True, append_images=frames[1:], **({"lossless": True} if "webp" in name else {})
        )
        assert (read_image(tmp_path / name) == (255, 0, 0)).all()
        assert "animated: first frame" in converted(tmp_path / name)


def test_what_is_no_complete_image_is_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tifffile

    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("no image")
    tifffile.imwrite(tmp_path / "float.tif", DEEP[..., 0].astype(np.float32))
    tifffile.imwrite(tmp_path / "long.tif", DEEP[..., 0].astype(np.int32))
    for name in ("empty.png", "text.jpg", "float.tif", "long.tif"):
        with pytest.raises(
            InputError, match=rf"{name} cannot be read \(.*replace or remove it; without --strict it is skipped"
        ):
            read_image(tmp_path / name)
        assert inspect([tmp_path / name])["unreadable"] == {"count": 1, "first": [str(tmp_path / name)]}
    with pytest.raises(InputError, match="gone.png cannot be read"):
        read_image(tmp_path / "gone.png")
    Image.fromarray(np.repeat(COLOUR, 40, 1)).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:200])
    with pytest.raises(InputError, match="cut.png cannot be read"):
        read_image(tmp_path / "cut.png")
    Image.fromarray(COLOUR).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(InputError, match="bomb.png cannot be read .*decompression bomb"):
        read_image(tmp_path / "bomb.png")
    assert inspect([tmp_path / "bomb.png"])["unreadable"]["count"] == 1


def test_looking_over_names_twenty_and_counts_all(tmp_path: Path) -> None:
    Image.fromarray(COLOUR[..., 0]).save(tmp_path / "l.png")
    paths = [tmp_path / "l.png"] * 25 + [tmp_path / f"{i}.png" for i in range(30)]
    found = inspect(paths, [f"n{i}" for i in range(55)])
    assert found["images"] == 55 and set(found["converted"]) == {"grey"} <= set(KINDS)
    assert found["missing"] == {"count": 30, "first": [f"n{i}" for i in range(25, 45)]}
    assert found["converted"]["grey"] == {"count": 25, "first": [f"n{i}" for i in range(20)]}


def test_looking_over_decodes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import ImageFile

    for name in ("a.png", "a.jpg", "a.bmp", "a.tif"):
        Image.fromarray(COLOUR).save(tmp_path / name)

    def never(self: object) -> None:
        raise AssertionError("an image was decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", never)
    found = inspect(sorted(tmp_path.iterdir()))
    assert found["converted"] == {} and found["unreadable"]["count"] == 0
    with pytest.raises(InputError, match="an image was decoded"):
        read_image(tmp_path / "a.bmp")
