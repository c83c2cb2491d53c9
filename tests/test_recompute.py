"""Recomputed blocks keep less and give the same gradients."""

import pytest
import torch

from hooks.batch import run
from hooks.load import Mllm
from stimuli.types import StimulusSet
from tuning.recompute import recomputed


def gradients(llava: Mllm, six: StimulusSet, wanted: bool) -> tuple[dict[str, torch.Tensor], int]:
    """Gradients of one pass, and the bytes that it kept for them."""
    model, kept = llava.model, 0
    inputs = llava.inputs([s.image for s in six], ["What?"] * len(six), ["blur"] * len(six))

    def pack(value: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        kept += value.nbytes
        return value

    model.requires_grad_(True)
    model.zero_grad(set_to_none=True)  # the model is shared, and other tests may have left some
    try:
        with (
            recomputed(model, llava.stages, wanted) as blocks,
            torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value),
        ):
            assert blocks == (10 if wanted else 0)
            loss = run(model, inputs.tensors).logits.float().square().mean()
        with recomputed(model, llava.stages, wanted):
            loss.backward()
        found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    finally:
        model.zero_grad(set_to_none=True)
        model.requires_grad_(False)
    return found, kept


def test_gradients_are_the_same_and_less_is_kept(llava: Mllm, six: StimulusSet) -> None:
    plain, much = gradients(llava, six, False)
    again, little = gradients(llava, six, True)
    assert set(plain) == set(again)
    for name, own in plain.items():  # a product may be rounded otherwise where its operands lie elsewhere in memory
        assert (own - again[name]).abs().max() <= 1e-4 * own.abs().max() + 1e-9, name
    assert little < 0.6 * much


def test_blocks_are_as_before_afterwards_also_after_an_error(llava: Mllm) -> None:
    blocks = [llava.model.get_submodule(name) for site, name in llava.stages.sites.items() if site[-1].isdigit()]
    with pytest.raises(RuntimeError, match="stop"), recomputed(llava.model, llava.stages):
        assert all("forward" in vars(block) for block in blocks)
        raise RuntimeError("stop")
    assert not any("forward" in vars(block) for block in blocks)
