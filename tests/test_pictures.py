"""Pictures for the report: within their room, as they are where they are said to be, none of what cannot be read."""

import base64
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from analysis.pictures import CUT, encoded, pictures
from stimuli.types import Stimulus


def shown(size: int = 300, references: int = 6) -> list[Stimulus]:
    rng = np.random.default_rng(0)
    kinds = [(None, None), ("jpeg", 1), ("jpeg", 5), ("white_noise", 3)]
    return [
        Stimulus(f"{r}-{kind}-{level}", f"r{r}", kind, level, pixels=rng.integers(0, 255, (size, size, 3), np.uint8))
        for r in range(references) for kind, level in kinds
    ]  # fmt: skip


def pixels(text: str) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(base64.b64decode(text))).convert("RGB"))


def test_pairs_are_the_pixels_of_reference_and_distorted_in_the_same_place() -> None:
    stimuli = shown(references=3)
    made = pictures(stimuli, pair_room=10_000_000)
    at = {s.id: s for s in stimuli}
    assert [(pair["type"], pair["level"]) for pair in made["pairs"]] == [("jpeg", 5), ("white_noise", 3), ("jpeg", 1)]
    for pair in made["pairs"]:
        edge = (300 - CUT) // 2
        part = np.s_[edge : edge + CUT, edge : edge + CUT]
        assert np.array_equal(pixels(pair["distorted"]), at[pair["id"]].image[part])
        assert np.array_equal(pixels(made["clean"][pair["clean"]]), at[f"{pair['reference'][1:]}-None-None"].image[part])
        assert pair["shown"] == "192 × 192 px of 300 × 300, not scaled" and pair["map"] is None
    assert len({pair["reference"] for pair in made["pairs"][:2]}) == 2, "references in turn"


def test_the_room_decides_how_they_are_reduced_and_at_last_how_many() -> None:
    stimuli = shown()
    sizes = {}
    for room in (10_000_000, 300_000, 12_000):
        made = pictures(stimuli, room, 0)
        assert sum(map(len, made["small"].values())) <= room and made["pairs"] == []
        sizes[room] = (made["form"], len(made["small"]))
    assert sizes[10_000_000] == ("at most 128 px, WebP without loss", 24) and sizes[300_000][1] == 24
    assert sizes[12_000][0] == "at most 48 px, WebP of quality 80" and 0 < sizes[12_000][1] < 24
    few = pictures(shown(size=16), 10_000_000, 0)
    assert pixels(few["small"]["0-jpeg-5"]).shape == (16, 16, 3), "nothing is enlarged"


def test_what_cannot_be_read_has_no_picture(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    broken = Stimulus("broken", "r0", "jpeg", 3, pixels=tmp_path / "broken.png")
    assert set(pictures([*shown(32, 1), broken])["small"]) == {"0-None-None", "0-jpeg-1", "0-jpeg-5", "0-white_noise-3"}
    assert pictures([broken])["small"] == {} and len(encoded(np.zeros((2, 2, 3), np.uint8), None)) > 0
