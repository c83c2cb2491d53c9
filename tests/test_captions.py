"""Content and quality kept: what is scored, and against what."""

import pytest

from analysis import captions as module
from analysis.captions import captions_kept, token_f1
from hooks.load import Mllm
from stimuli.types import Stimulus, StimulusSet


def test_token_f1() -> None:
    assert token_f1("a red circle", "a red circle") == 1 and token_f1("", "") == 1
    assert token_f1("a red circle", "a blue square") == pytest.approx(1 / 3) and token_f1("x", "") == 0


def test_only_what_is_known_is_scored(llava: Mllm, monkeypatch: pytest.MonkeyPatch) -> None:
    content = {"colour": "red", "shape": "circle"}
    import numpy as np

    grey = np.zeros((8, 8, 3), np.uint8)
    shown = StimulusSet(
        [
            Stimulus("a", "r0", None, None, psnr=100.0, attributes=content, pixels=grey),
            Stimulus("b", "r1", "jpeg", 3, psnr=20.0, attributes=content, pixels=grey),
            Stimulus("c", "r2", "brighten", 5, psnr=9.0, attributes=content, pixels=grey),
            Stimulus("d", "r3", None, None, pixels=grey),
        ],
        "shown",
    )
    said = {"What does this image show?": ["a red circle", "a reddish circle", "a blue ring", "a photograph"],
            "How is the quality of this image?": ["excellent", "good", "bad", "fair"]}  # fmt: skip
    monkeypatch.setattr(module, "generate", lambda mllm, images, prompts, **_: said[prompts[0]])
    found = captions_kept(llava, shown, progress=False)
    assert found.colour is not None and found.colour.value == 0.5, "brightness changes colours, so c is left out"
    assert found.shape is not None and found.shape.value == pytest.approx(2 / 3)
    assert found.quality is not None and found.quality.value == pytest.approx(2 / 3), "d has no measured PSNR"
    assert found.agreement is None and found.as_dict()["agreement"] is None
    again = captions_kept(llava, shown, found, progress=False)
    assert again.agreement is not None and again.agreement.value == 1
