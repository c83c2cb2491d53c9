"""Rows belong to the right stimulus: batched equals one by one, for LLaVA and for packed Qwen."""

import numpy as np
import pytest
import torch

from hooks.capture import capture
from hooks.load import Mllm
from stimuli.errors import InputError

SIZES = {"llava": [(128, 128)] * 3, "qwen": [(56, 84), (112, 56), (84, 84)]}


@pytest.mark.parametrize("family", ["llava", "qwen"])
def test_batched_rows_equal_those_of_one_stimulus_at_a_time(family: str, request: pytest.FixtureRequest) -> None:
    mllm: Mllm = request.getfixturevalue(family)
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (*size, 3), dtype=np.uint8) for size in SIZES[family]]
    prompts = ["What?", "What does this image show, please?", "Which?"]
    together = rows(mllm, images, prompts)
    for i in range(3):
        alone = rows(mllm, images[i : i + 1], prompts[i : i + 1])
        for site, values in alone.items():
            assert values[0].shape == together[site][i].shape, site
            assert torch.allclose(values[0], together[site][i], atol=1e-4), site


def rows(mllm: Mllm, images: list[np.ndarray], prompts: list[str]) -> dict[str, list[torch.Tensor]]:
    batch = mllm.inputs(images, prompts)
    with torch.no_grad(), capture(mllm.model, "all", mllm.stages) as seen:
        mllm.model(**batch.tensors)
    found = {site: batch.layout.rows(site, seen[site]) for site in seen}
    last = {f"last {site}": list(batch.layout.last(site, seen[site])) for site in seen if site.startswith("llm")}
    return found | last


def test_cls_is_left_out_of_the_patches(llava: Mllm) -> None:
    batch = llava.inputs([np.zeros((128, 128, 3), np.uint8)], ["What?"])
    with torch.no_grad(), capture(llava.model, ["vision.0", "projector"], llava.stages) as seen:
        llava.model(**batch.tensors)
    assert seen["vision.0"].shape[1] == 65 and len(batch.layout.rows("vision.0", seen["vision.0"])[0]) == 64
    assert torch.equal(batch.layout.cls_row("vision.0", seen["vision.0"])[0], seen["vision.0"][0, 0])
    with pytest.raises(InputError, match="'projector' has no CLS token"):
        batch.layout.cls_row("projector", seen["projector"])


def test_rows_that_do_not_fit_are_refused(llava: Mllm) -> None:
    batch = llava.inputs([np.zeros((128, 128, 3), np.uint8)], ["What?"])
    with pytest.raises(InputError, match=r"gave rows of shape \(2, 64, 8\), which does not fit a batch of 1 stimuli"):
        batch.layout.rows("projector", torch.zeros(2, 64, 8))
    with pytest.raises(InputError, match="reads the last prompt position, which 'projector' has not"):
        batch.layout.last("projector", torch.zeros(1, 64, 8))
