"""Images from anyone: no other program is run, no bomb goes off, nothing waits for ever, and every refusal says what to do."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.reliability.hostile_images import chunk, png, seeds
from benchmarks.reliability.mutate import checked, mutated
from stimuli import images
from stimuli.encoded import from_bytes
from stimuli.errors import LONGEST, InputError
from stimuli.images import inspect, read_image


def unreadable(path: Path) -> bool:
    return bool(inspect([path])["unreadable"]["count"])


def test_postscript_called_png_runs_no_ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawing = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n%%EndComments\nshowpage\n%%EOF\n"
    (tmp_path / "a.png").write_bytes(drawing)
    ran: list[object] = []
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: ran.append(a))
    monkeypatch.setattr(subprocess, "check_call", lambda *a, **k: ran.append(a))
    with pytest.raises(InputError, match="a.png cannot be read"):
        read_image(tmp_path / "a.png")
    with pytest.raises(InputError, match="row 1 cannot be read"):
        from_bytes(drawing, "row 1")
    assert unreadable(tmp_path / "a.png") and not ran


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
@pytest.mark.timeout(20)
def test_a_pipe_called_png_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    assert unreadable(tmp_path / "a.png")
    with pytest.raises(InputError, match="it is no plain file"):
        read_image(tmp_path / "a.png")


def test_a_size_is_looked_at_before_pixels_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import zlib

    (tmp_path / "a.png").write_bytes(png(9_000, 9_950, 1, 0, zlib.compress(b"")))  # 89.55 million pixels in a few bytes
    with (
        pytest.warns(Image.DecompressionBombWarning),
        pytest.raises(InputError, match="9000 × 9950 pixels are more than 89478485"),
    ):
        read_image(tmp_path / "a.png")
    monkeypatch.setattr(images, "PIXELS", 20)
    Image.new("RGB", (4, 5)).save(tmp_path / "b.png")
    Image.new("RGB", (3, 7)).save(tmp_path / "c.png")
    assert read_image(tmp_path / "b.png").shape == (5, 4, 3) and not unreadable(tmp_path / "b.png")
    assert unreadable(tmp_path / "c.png")


def test_text_in_an_image_that_unpacks_to_megabytes_is_refused(tmp_path: Path) -> None:
    import zlib

    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"x" * 5_000_000))
    (tmp_path / "a.png").write_bytes(png(4, 4, 8, 2, zlib.compress(bytes(52)), text))
    with pytest.raises(InputError, match="a.png cannot be read"):
        read_image(tmp_path / "a.png")


def test_over_white_every_colour_of_every_alpha_is_the_nearest_whole_number(tmp_path: Path) -> None:
    colour, alpha = np.meshgrid(np.arange(256), np.arange(256))
    pixels = np.stack([colour, 255 - colour, alpha, alpha], -1).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    exact = (pixels[..., :3] * alpha[..., None] + 255 * (255 - alpha[..., None])) / 255  # never half way: 255 is odd
    assert np.array_equal(read_image(tmp_path / "a.png"), np.floor(exact + 0.5))


def test_what_was_good_is_read_or_refused_whatever_is_wrong_with_it(tmp_path: Path) -> None:
    import random

    rng, refused = random.Random(5), 0
    for i, (name, content) in enumerate(list(seeds().items()) * 6):
        bad = mutated(content, rng)
        path = tmp_path / f"{i}-{name}"
        path.write_bytes(checked(bad) if name.endswith("png") else bad)
        inspect([path])
        try:
            assert read_image(path).shape[2:] == (3,)
        except InputError as error:
            refused += 1
            assert len(str(error)) <= LONGEST and "replace or remove it" in str(error)
    assert 40 < refused < 160
