"""Every family of the library: resolved, run and exact; those with a processor go the whole way at any image size."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks import checkpoints, families, tiny
from hooks.answer import generate
from hooks.load import load

UNREAD = {
    "apertus1p5": "discrete codes",
    "chameleon": "discrete codes",
    "emu3": "discrete codes",
    "evolla": "proteins",
    "fuyu": "no vision encoder",
    "gemma3n": "timm",
    "gemma4_unified": "no vision encoder",
    "mistral4": "without an image encoder",
    "udop": "no vision encoder",
}
"""Families that are not resolved, with the reason."""
NOT_RUN = {"diffusion_gemma": "llm.embed", "llama4": "image_outputs"}
"""Families that are resolved but not proven, with the reason."""
UNCUT = ("deepseek_ocr2", "minicpm_ocr", "minicpmv4_6", "minicpmv4_7", "molmo2", "step3p7", "unlimited_ocr")
"""Families whose test inputs cannot be cut into single stimuli."""
UNEQUAL = ("glm5_next", "hunyuan_vl")
"""Families whose language model computes slightly different things of a padded batch, after equal inputs: its own doing."""
PARTIAL = ("idefics2",)
"""Towers that see patches at the border of a padded batch which they do not see alone: the model's own doing."""


SAMPLE = ("llava", "llava_next", "qwen2_vl", "qwen2_5_vl", "internvl", "blip-2", "mllama", "gemma3")
"""Families that every run of the tests tries; the others are heavy."""


def most_heavy(names: Iterable[str]) -> list[Any]:
    return [name if name in SAMPLE else pytest.param(name, marks=pytest.mark.heavy) for name in names]


@pytest.mark.slow
@pytest.mark.parametrize("family", most_heavy(tiny.families()))
def test_a_family_is_resolved_runs_and_is_exact_or_the_reason_is_known(family: str) -> None:
    outcome = families.measure(family)
    notes = "; ".join(outcome.notes)
    assert outcome.resolved is (family not in UNREAD), notes
    assert UNREAD.get(family, "") in notes
    assert outcome.runs is (family not in UNREAD and family not in NOT_RUN), notes
    assert NOT_RUN.get(family, "") in notes
    assert ("cannot be cut" in notes) is (family in UNCUT) and ("in the batch and alone differ" in notes) is (family in UNEQUAL)
    assert outcome.alone is (outcome.runs and family not in UNCUT + UNEQUAL), notes
    assert outcome.whole is (family in checkpoints.FAMILIES), notes


@cache
def loaded(family: str, folder: Path) -> Any:
    checkpoints.save(family, folder)
    return load(folder, device="cpu")


sizes = st.tuples(st.integers(30, 200), st.integers(30, 200))
words = st.lists(
    st.sampled_from(["What", "distortion", "blur", "noise", "does", "this", "image", "show"]), min_size=1, max_size=9
)


@pytest.mark.slow
@pytest.mark.parametrize("family", most_heavy(checkpoints.FAMILIES))
def test_every_row_is_its_stimulus_s_own_at_any_size(family: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = Path(tmp_path_factory.getbasetemp()) / f"family-{family}"

    @settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
    @given(st.lists(sizes, min_size=2, max_size=3), st.data(), st.booleans())
    def rows_are_own(shapes: list[tuple[int, int]], data: st.DataObject, left: bool) -> None:
        mllm = loaded(family, folder)
        if family in PARTIAL:
            shapes = [(56, 112), (112, 56), (84, 84)]
        prompts = [" ".join(data.draw(words)) for _ in shapes]
        images = families.pictures(shapes)
        assert families.apart(mllm, images, prompts, pad_left=left) < 1e-4
        check_positions(mllm, images, prompts, left)

    rows_are_own()


def check_positions(mllm: Any, images: list[np.ndarray], prompts: list[str], left: bool) -> None:
    """Image, prompt, padding and answer positions share out the sequence, and the answer's tokens are the answer."""
    answers = [" ".join(["blur"] * (i + 1)) for i in range(len(images))]
    batch, bare = mllm.inputs(images, prompts, answers, pad_left=left), mllm.inputs(images, prompts, pad_left=left)
    layout = batch.layout
    tokens = mllm.processor.tokenizer
    assert batch.labels is not None
    for i, answer in enumerate(answers):
        spoken = batch.labels[i][batch.labels[i] >= 0]
        wanted = tokens(f" {answer}", add_special_tokens=False)["input_ids"]
        assert spoken.tolist() == [*wanted, tokens.eos_token_id] or spoken.tolist() == [
            *tokens(answer, add_special_tokens=False)["input_ids"],
            tokens.eos_token_id,
        ]
    assert layout.image_tokens == bare.layout.image_tokens and not bool((layout.image & layout.padding).any())
    if not layout.encoder_decoder:
        assert not bool((layout.answer & (layout.image | layout.padding)).any())
        for i in range(len(images)):
            prompt = batch.tensors["input_ids"][i][~layout.padding[i] & ~layout.answer[i]]
            assert prompt.tolist() == bare.tensors["input_ids"][i][~bare.layout.padding[i]].tolist()
            after = layout.answer[i].nonzero()[0, 0]
            assert int(layout.last_prompt[i]) == int(after) - 1


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llava", "got_ocr2", "aria", "qwen2_5_vl"])
def test_half_precision_runs(family: str, tmp_path: Path) -> None:
    checkpoints.save(family, tmp_path)
    mllm = load(tmp_path, device="cpu", dtype="bfloat16")
    images = families.pictures(families.SIZES)
    assert len(generate(mllm, images, families.PROMPTS, max_new_tokens=2, progress=False)) == 3
    assert mllm.stages.proof is not None and mllm.provenance["dtype"] == "bfloat16"
    assert mllm.inputs(images, families.PROMPTS).tensors["pixel_values"].dtype.itemsize == 4  # the site "processed" stays exact
