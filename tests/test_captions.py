"""Content and quality kept: what is scored, and against what."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis.captions import captions_kept, token_f1
from hooks.load import Mllm
from snellen.embedded.architecture import MEAN, STD
from stimuli.types import Stimulus, StimulusSet
from tests.test_protocols import mouth

SAID = {
    1: ("a red circle", "Excellent"), 2: ("a reddish circle", "excellent"), 3: ("a blue ring", "bad"), 4: ("a photograph", "fair"),
}  # fmt: skip


def says(prompt: str, pixels: torch.Tensor | None, drawn: int) -> str:
    assert pixels is not None
    said = SAID[round(float(pixels.mean() * STD + MEAN) * 255 / 10)]
    return said["quality" in prompt]


def forgets(prompt: str, pixels: torch.Tensor | None, drawn: int) -> str:
    return "a red thing"


def images() -> StimulusSet:
    def grey(place: int) -> np.ndarray:
        return np.full((16, 16, 3), 10 * place, np.uint8)

    content = {"colour": "red", "shape": "circle"}
    return StimulusSet(
        [
            Stimulus("a", "r0", None, None, psnr=100.0, attributes=content, pixels=grey(1)),
            Stimulus("b", "r1", "jpeg", 3, psnr=20.0, attributes=content, pixels=grey(2)),
            Stimulus("c", "r2", "brighten", 5, psnr=9.0, attributes=content, pixels=grey(3)),
            Stimulus("d", "r3", None, None, pixels=grey(4)),
        ],
        "shown",
    )


def test_token_f1() -> None:
    assert token_f1("a red circle", "a red circle") == 1 and token_f1("", "") == 1
    assert token_f1("a red circle", "a blue square") == pytest.approx(1 / 3) and token_f1("x", "") == 0
    assert token_f1("a a b", "a b b c") == pytest.approx(2 * (2 / 3) * (2 / 4) / (2 / 3 + 2 / 4))


def test_only_what_is_known_is_scored(llava: Mllm) -> None:
    found = captions_kept(mouth(llava, says), images(), progress=False)
    assert [row["describe"] for row in found.table] == [said[0] for said in SAID.values()]
    assert found.colour is not None and found.colour.value == 0.5, "brightness changes colours, so c is left out"
    assert found.shape is not None and found.shape.value == pytest.approx(2 / 3)
    assert found.quality is not None and found.quality.value == pytest.approx(2 / 3), "b is poor; d has no measured PSNR"
    assert [row["quality"] for row in found.table] == [1, 0, 1, None]
    assert found.agreement is None and found.as_dict()["agreement"] is None
    entry = found.as_dict()
    assert entry["n"] == 4 and entry["colour"] == 0.5 and entry["colour_low"] == 0 and entry["colour_high"] == 1


def test_descriptions_are_read_to_their_end(llava: Mllm) -> None:
    long = "a photograph of " + 12 * "a thing and " + "a red circle"

    def rambles(prompt: str, pixels: torch.Tensor | None, drawn: int) -> str:
        return "fair" if "quality" in prompt else long

    found = captions_kept(mouth(llava, rambles), images(), progress=False)
    cut = captions_kept(mouth(llava, rambles), images(), max_new_tokens=16, progress=False)
    assert [row["describe"] for row in found.table] == [long] * 4
    assert found.colour is not None and found.colour.value == 1
    assert cut.colour is not None and cut.colour.value == 0 and long.startswith(cut.table[0]["describe"])


def test_a_tuned_model_is_compared_with_the_untuned_ones_words(llava: Mllm) -> None:
    before = captions_kept(mouth(llava, says), images(), progress=False)
    same = captions_kept(mouth(llava, says), images(), before, progress=False)
    assert same.agreement is not None and same.agreement.value == same.agreement.low == 1
    after = captions_kept(mouth(llava, forgets), images(), before, progress=False)
    assert [row["agreement"] for row in after.table] == pytest.approx([2 / 3, 1 / 3, 1 / 3, 2 / 5])
    assert after.agreement is not None and after.agreement.value == pytest.approx((2 / 3 + 1 / 3 + 1 / 3 + 2 / 5) / 4)
    assert after.quality is not None and after.quality.value == 0


def test_answers_are_kept_and_images_that_cannot_be_read_have_no_row(llava: Mllm, tmp_path: Path) -> None:
    broken = [replace(s, pixels=tmp_path / "none.png") if s.id == "b" else s for s in images()]
    base = captions_kept(mouth(llava, says), images(), progress=False)
    found = captions_kept(mouth(llava, says), broken, base, out=tmp_path / "answers", progress=False)
    assert [row["id"] for row in found.table] == ["a", "c", "d"]
    assert [row["describe"] for row in found.table] == ["a red circle", "a blue ring", "a photograph"]
    assert found.agreement is not None and found.agreement.value == 1, "each is compared with itself"

    def never(prompt: str, pixels: torch.Tensor | None, drawn: int) -> str:
        raise AssertionError("it was asked again")

    again = captions_kept(mouth(llava, never), broken, base, out=tmp_path / "answers", progress=False)
    assert again.table == found.table
