"""A block's parts are found where they are, and add up to what the block does."""

from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks import checkpoints
from hooks.capture import Stop, capture
from hooks.edit import ablate, edit
from hooks.inside import inside, with_parts
from hooks.load import Mllm, load
from stimuli.errors import InputError
from stimuli.types import StimulusSet


def test_the_parts_are_what_a_block_adds_to_the_stream(llava: Mllm, six: StimulusSet) -> None:
    mllm = with_parts(llava)
    batch = mllm.inputs([s.image for s in six], ["What is wrong?"] * 6)
    with torch.inference_mode(), capture(mllm, "all") as seen:
        mllm.model(**batch.tensors)
    for before, block in (("llm.0", "llm.1"), ("vision.0", "vision.1")):
        added = seen[f"{block}.attention"] + seen[f"{block}.mlp"]
        assert torch.allclose(seen[before] + added, seen[block], atol=1e-5)
        assert seen[f"{block}.attention"].std() > 0 < seen[f"{block}.mlp"].std()
    names = list(mllm.stages.sites)
    assert names.index("llm.0.attention") < names.index("llm.0.mlp") < names.index("llm.0")
    assert set(llava.stages.sites) == set(names) - {name for name in names if name.endswith(("attention", "mlp"))}


def test_parts_are_edited_and_their_rows_are_told_like_those_of_a_site(llava: Mllm, qwen: Mllm, six: StimulusSet) -> None:
    for plain in (llava, qwen):
        mllm = with_parts(plain, ["mlp"])
        batch = mllm.inputs([s.image for s in six], ["What is wrong?"] * 6)
        assert not any(name.endswith("attention") for name in mllm.stages.sites)
        with (
            torch.inference_mode(),
            edit(mllm, {"vision.1.mlp": ablate()}),
            capture(mllm, ["vision.0", "vision.1.mlp"]) as seen,
        ):
            mllm.model(**batch.tensors)
        rows = batch.layout.rows("vision.1.mlp", seen["vision.1.mlp"])
        assert [row.shape for row in rows] == [row.shape for row in batch.layout.rows("vision.0", seen["vision.0"])]
        assert not any(bool(row.any()) for row in rows)
        with torch.inference_mode(), capture(mllm, ["vision.1.mlp"], stop=True) as seen, pytest.raises(Stop):
            mllm.model(**batch.tensors)
        assert seen["vision.1.mlp"].any()


def test_what_stands_beside_a_part_is_none() -> None:
    class SelfAttention(nn.Linear):
        pass

    class CrossAttention(nn.Linear):
        pass

    class MoeMLP(nn.Sequential):
        pass

    block = nn.ModuleDict({"self_attn_norm": nn.LayerNorm(2), "attn_drop": nn.Dropout(), "encoder_attn": CrossAttention(2, 2)})
    block["core"] = nn.ModuleDict({"self_attn": SelfAttention(2, 2)})
    block["moe"] = MoeMLP(nn.Linear(2, 2))
    assert inside(block, "layers.3") == {"attention": "layers.3.core.self_attn", "mlp": "layers.3.moe"}
    block["other"] = MoeMLP(nn.Linear(2, 2))
    assert inside(block) == {"attention": "core.self_attn"}, "two are not one"


def test_unknown_parts_are_named(llava: Mllm) -> None:
    with pytest.raises(InputError, match="Unknown parts heads.*attention, mlp"):
        with_parts(llava, ["heads"])


@pytest.mark.heavy
@pytest.mark.slow
@pytest.mark.parametrize("family", ["qwen2_5_vl", "internvl", "idefics3", "qwen3_5_moe", "qwen3_vl_moe"])
def test_every_block_of_a_family_has_both(family: str, tmp_path: Path) -> None:
    checkpoints.save(family, tmp_path)
    mllm = load(tmp_path, device="cpu", verify=False)
    blocks = [site for site in mllm.stages.sites if site[-1].isdigit() and not site.startswith("projector")]
    assert blocks and all({f"{site}.attention", f"{site}.mlp"} <= set(with_parts(mllm).stages.sites) for site in blocks)
