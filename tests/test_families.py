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
from hooks.asks import Ask
from hooks.load import load
from hooks.respond import respond
from stimuli.errors import InputError
from stimuli.types import Stimulus
from stimuli.views import IMAGE, View, beside, view

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
ONE_IMAGE = ("blip-2", "florence2", "instructblip", "kosmos-2")
"""Families that take no two images in one question."""
WITHIN = ("instructblip", "paligemma")
"""Families to which the beginning of an answer is a part of the question: a Q-Former reads it, the processor puts more behind it."""
NEEDS_IMAGE = ("blip-2", "instructblip", "kosmos-2")
"""Families that take no question without an image."""


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


@pytest.mark.heavy
@pytest.mark.parametrize("family", ["llava", "got_ocr2", "aria", "qwen2_5_vl"])
def test_half_precision_runs(family: str, tmp_path: Path) -> None:
    checkpoints.save(family, tmp_path)
    mllm = load(tmp_path, device="cpu", dtype="bfloat16")
    images = families.pictures(families.SIZES)
    assert len(generate(mllm, images, families.PROMPTS, max_new_tokens=2, progress=False)) == 3
    assert mllm.stages.proof is not None and mllm.provenance["dtype"] == "bfloat16"
    assert mllm.inputs(images, families.PROMPTS).tensors["pixel_values"].dtype.itemsize == 4  # the site "processed" stays exact


SHOWN = [Stimulus(f"s{i}", f"r{i}", None, None, pixels=image) for i, image in enumerate(families.pictures(families.SIZES))]
OTHERS = [Stimulus(f"o{i}", f"r{i}", None, None, pixels=255 - one.image[::-1]) for i, one in enumerate(SHOWN)]
OPTIONS = ("white", "white noise", "blur")


def asked(mllm: Any, places: Iterable[int], how: View = IMAGE, **settings: Any) -> Any:
    """Likelihoods (stimuli, options), and greedy and drawn answers, of some stimuli asked together."""
    asks = [
        Ask("scored", "What is it?", options=OPTIONS, view=how, **settings),
        Ask("free", "What is it?", max_new_tokens=3, view=how, **settings),
        Ask("drawn", "What is it?", max_new_tokens=3, temperature=1.0, repeats=2, view=how, **settings),
    ]
    found = respond(mllm, [SHOWN[i] for i in places], asks, progress=False)
    assert not found["free"].skipped
    return found["scored"].loglik, found["free"].texts, found["drawn"].texts, found["drawn"].confidence


def check_rows_are_own(mllm: Any, how: View, **settings: Any) -> np.ndarray:
    """Each stimulus's answers in the batch are those it has alone; the likelihoods."""
    together = asked(mllm, range(3), how, **settings)
    for i in range(3):
        alone = asked(mllm, [i], how, **settings)
        assert np.allclose(alone[0][0], together[0][i], atol=1e-4) and np.allclose(
            alone[3][0], together[3][i], atol=1e-4, equal_nan=True
        )
        assert (alone[1][0], alone[2][0]) == (together[1][i], together[2][i])
    return np.asarray(together[0])


@pytest.mark.slow
@pytest.mark.parametrize("family", most_heavy(checkpoints.FAMILIES))
def test_one_image_two_and_none_are_asked_about_or_the_family_is_known_to_refuse(
    family: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    mllm = loaded(family, Path(tmp_path_factory.getbasetemp()) / f"family-{family}")
    one = check_rows_are_own(mllm, IMAGE)
    prefixed = check_rows_are_own(mllm, IMAGE, prefix="white")
    if not (mllm.model.config.is_encoder_decoder or family in WITHIN):
        assert np.allclose(one[:, 0] + loglik_behind(mllm, "white", "noise"), one[:, 1], atol=1e-3)
    assert not np.allclose(prefixed, one, atol=1e-3)
    if family in NEEDS_IMAGE:
        with pytest.raises(InputError, match="cannot answer 'scored', a question with no image.*Leave this question out"):
            asked(mllm, range(3), view("none"))
    else:
        nothing = check_rows_are_own(mllm, view("none"))
        assert np.allclose(nothing, nothing[:1], atol=1e-4) and not np.allclose(nothing, one, atol=1e-3)
    if family in ONE_IMAGE:
        with pytest.raises(InputError, match="None of the first 3 stimuli can be shown to the model .'first and second'"):
            asked(mllm, range(3), beside(SHOWN, OTHERS))
        return
    pair = check_rows_are_own(mllm, beside(SHOWN, OTHERS))
    for other in (beside(SHOWN, [*OTHERS[1:], OTHERS[0]]), beside(SHOWN, OTHERS, turned=True)):
        assert (np.abs(asked(mllm, range(3), other)[0] - pair).max(1) > 1e-3).all()
    assert (np.abs(one - pair).max(1) > 1e-3).all()


def loglik_behind(mllm: Any, prefix: str, option: str) -> np.ndarray:
    ask = Ask("rest", "What is it?", options=(option,), prefix=prefix)
    return np.asarray(respond(mllm, SHOWN, [ask], progress=False)["rest"].loglik[:, 0])
