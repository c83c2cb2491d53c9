"""The head found is what the model does behind its last block, and what is no such head is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import checkpoints
from hooks.batch import run
from hooks.capture import capture
from hooks.checksum import weights_checksum
from hooks.head import Head, head
from hooks.load import Mllm, load
from hooks.quiet import quiet
from stimuli.errors import InputError

FAMILIES = ("qwen2_5_vl", "internvl", "idefics3", "gemma3", "blip-2", "kosmos-2", "aya_vision", "mllama", "qwen3_vl")


def both(mllm: Mllm, found: Head, side: int = 112) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of the head and of the model for two other images."""
    images = list(np.random.default_rng(3).integers(0, 256, (2, side, side, 3), dtype=np.uint8))
    with torch.no_grad(), capture(mllm, found.last) as seen:
        own = run(mllm.model, mllm.inputs(images, ["What?", "Which?"]).tensors).logits
        return found.logits(seen[found.last]), own


@pytest.mark.parametrize("name", ["llava", "qwen"])
def test_it_gives_the_models_own_logits(name: str, request: pytest.FixtureRequest) -> None:
    mllm: Mllm = request.getfixturevalue(name)
    before, hooks = weights_checksum(mllm.model), hooks_of(mllm)
    found = head(mllm)
    assert (weights_checksum(mllm.model), hooks_of(mllm)) == (before, hooks)
    assert found.norm is not None and found.norm.endswith("norm") and found.output == "lm_head"
    assert (found.before, found.scale, found.cap) == (1.0, 1.0, None)
    assert found.last == max(site for site in mllm.stages.sites if site.startswith("llm.") and site != "llm.embed")
    mine, own = both(mllm, found)
    assert mine.dtype == torch.float32 and mine.shape[-1] == found.vocabulary and torch.equal(mine, own)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["florence2", *(pytest.param(name, marks=pytest.mark.heavy) for name in FAMILIES)])
def test_of_every_kind_of_family(family: str, tmp_path: Path) -> None:
    with quiet():
        checkpoints.save(family, tmp_path)
        mllm = load(tmp_path, device="cpu")
    found = head(mllm)
    mine, own = both(mllm, found)
    assert torch.allclose(mine[:, -1], own[:, -1], atol=1e-5)
    assert (found.norm is None) == (family == "florence2")


@pytest.mark.slow
def test_a_cap_that_the_model_itself_has(tmp_path: Path) -> None:
    with quiet():
        checkpoints.save("gemma4", tmp_path)
        mllm = load(tmp_path, device="cpu")
    mllm.model.config.get_text_config().final_logit_softcapping = 1.5
    found = head(mllm)
    mine, own = both(mllm, found)
    assert found.cap == 1.5 and float(own.abs().max()) < 1.5 and torch.allclose(mine, own, atol=1e-5)


def hooks_of(mllm: Mllm) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in mllm.model.modules())


@pytest.fixture
def changed(llava: Mllm) -> Any:
    """Change logits, or what enters the output embeddings, for one test."""
    handles: list[Any] = []

    def logits(change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        def hook(module: Any, inputs: Any, output: Any) -> Any:
            output["logits"] = change(output.logits)
            return output

        handles.append(llava.model.register_forward_hook(hook))

    def entering(change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        inside: list[bool] = []  # the model changes what enters, the head called alone does not
        handles.append(llava.model.register_forward_pre_hook(lambda module, inputs: inside.append(True)))
        handles.append(llava.model.register_forward_hook(lambda module, inputs, output: inside.clear()))
        handles.append(llava.model.lm_head.register_forward_pre_hook(lambda m, x: (change(x[0]),) if inside else None))

    yield {"logits": logits, "entering": entering}
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize(
    ("name", "value", "change", "found"),
    [
        ("final_logit_softcapping", 0.7, lambda x: torch.tanh(x / 0.7) * 0.7, (1.0, 0.7)),
        ("logit_scale", 0.25, lambda x: x * 0.25, (0.25, None)),
        ("logits_scaling", 8.0, lambda x: x / 8, (0.125, None)),
    ],
)
def test_scale_and_cap_as_the_config_says(
    name: str, value: float, change: Any, found: Any, llava: Mllm, changed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed["logits"](change)
    with pytest.raises(InputError, match="logits are neither what its output embeddings give nor that scaled and capped"):
        head(llava)
    monkeypatch.setattr(llava.model.config.text_config, name, value, raising=False)
    own = head(llava)
    assert (own.scale, own.cap) == found
    assert torch.allclose(*both(llava, own), atol=1e-6)


def test_a_config_that_says_what_is_not_done(llava: Mllm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llava.model.config.text_config, "logit_scale", 0.25, raising=False)
    assert head(llava).scale == 1.0


def test_no_norm(llava: Mllm, monkeypatch: pytest.MonkeyPatch) -> None:
    language = llava.model.model.language_model
    monkeypatch.setitem(language._modules, "norm", torch.nn.Identity())
    assert head(llava).norm is None


def test_what_enters_is_scaled_down(llava: Mllm, changed: Any) -> None:
    width = llava.model.config.text_config.hidden_size
    changed["entering"](lambda x: x * width**-0.5)
    found = head(llava)
    assert found.before == width**-0.5 and found.norm is not None


def test_what_cannot_be_read_is_refused(llava: Mllm, changed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"states of shape \(2, 7\); expected \d+ features on the last axis, as 'llm.\d' has"):
        head(llava).logits(torch.zeros(2, 7))
    changed["entering"](lambda x: x + 1)
    with pytest.raises(InputError, match="no single module leads from its last block's output.*probes instead of lenses"):
        head(llava)
    monkeypatch.setattr(llava.model, "get_output_embeddings", lambda: None)
    with pytest.raises(InputError, match="declares no output embeddings.*language-model head"):
        head(llava)
