"""Sets of stimuli are told apart by their checksum."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stimuli.fingerprint import fingerprint
from stimuli.sets import exam_set
from stimuli.types import Stimulus, StimulusSet


def test_the_same_recipe_gives_the_same_checksum_and_another_seed_another() -> None:
    made = [fingerprint(exam_set(2, levels=(3,), seed=seed, measure=False)) for seed in (0, 0, 1)]
    assert made[0] == made[1] != made[2]
    assert made[0]["stimuli"] == made[0]["pixels_of"] == 16


@pytest.mark.parametrize("change", [{"id": "x"}, {"reference": "x"}, {"type": "blur"}, {"level": 5}, {"mos": 1.0}])
def test_every_label_counts(six: StimulusSet, change: dict) -> None:
    assert fingerprint([replace(six[0], **change), *six[1:]])["checksum"] != fingerprint(six)["checksum"]


def test_one_pixel_counts_and_so_does_the_order(six: StimulusSet) -> None:
    pixels = six[3].image.copy()
    pixels[5, 5, 0] ^= 1
    changed = [*six[:3], replace(six[3], pixels=pixels), *six[4:]]
    assert len({fingerprint(own)["checksum"] for own in (list(six), changed, list(six)[::-1])}) == 3


def test_of_a_large_set_some_images_are_looked_at_and_of_the_others_the_size(tmp_path: Path) -> None:
    def made(name: str, side: int, value: int) -> Stimulus:
        path = tmp_path / f"{name}-{side}-{value}.bmp"
        Image.fromarray(np.full((side, 8, 3), value, np.uint8)).save(path)
        return Stimulus(name, name, None, None, pixels=path)

    plain = [made(f"s{i}", 8, 7) for i in range(4)]
    looked = [*plain[:2], made("s2", 8, 9), plain[3]]  # of four, the first and the third are looked at
    unseen = [plain[0], made("s1", 8, 9), *plain[2:]]
    longer = [plain[0], made("s1", 9, 7), *plain[2:]]
    found = [fingerprint(own, looked_at=2) for own in (plain, looked, unseen, longer)]
    assert {one["pixels_of"] for one in found} == {2}
    assert found[0]["checksum"] == found[2]["checksum"], "neither looked at nor of another size: the limit that the docs tell"
    assert len({found[i]["checksum"] for i in (0, 1, 3)}) == 3


def test_a_file_that_is_gone_is_told_from_one_that_is_there(tmp_path: Path, six: StimulusSet) -> None:
    gone = replace(six[0], pixels=tmp_path / "gone.png")
    assert fingerprint([gone, *six[1:]])["checksum"] != fingerprint(six)["checksum"]


def test_numbers_of_numpy_are_numbers(six: StimulusSet) -> None:
    own, theirs = ([replace(six[0], level=level, mos=mos)] for level, mos in ((3, 0.5), (np.int64(3), np.float32(0.5))))
    assert fingerprint(own) == fingerprint(theirs)
