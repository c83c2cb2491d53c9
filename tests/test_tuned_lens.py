"""Training brings a lens nearer to the end on references that it does not know, and touches nothing else."""

import numpy as np
import pytest
import torch

from analysis.tuned_lens import _parts, _Site, tune_lens
from hooks.checksum import weights_checksum
from hooks.head import head
from hooks.load import Mllm
from probes.intervals import least_p
from stimuli.errors import InputError
from stimuli.types import Stimulus, StimulusSet


@pytest.fixture(scope="module")
def ten() -> StimulusSet:
    """Ten references, a plain and a noisy image of each."""
    rng = np.random.default_rng(1)
    flat = [np.broadcast_to(rng.integers(0, 255, 3, np.uint8), (64, 64, 3)) for _ in range(10)]
    rough = [rng.integers(0, 255, (64, 64, 3), np.uint8) for _ in range(10)]
    return StimulusSet(
        [
            Stimulus(f"{kind}{i}", f"r{i}", kind, 3 if kind else None, pixels=own[i])
            for kind, own in ((None, flat), ("jpeg", rough))
            for i in range(10)
        ],
        "ten",
    )


def test_training_lowers_the_kl_on_other_references(llava: Mllm, ten: StimulusSet) -> None:
    before, hooks = weights_checksum(llava.model), sum(len(module._forward_hooks) for module in llava.model.modules())
    found = tune_lens(llava, ten, sites=["llm.embed"], steps=60, tokens=4, rows=32, n_boot=100, progress=False)
    assert weights_checksum(llava.model) == before
    assert all(parameter.grad is None for parameter in llava.model.parameters())
    assert sum(len(module._forward_hooks) for module in llava.model.modules()) == hooks
    assert [(row["site"], row["position"]) for row in found.table] == [("llm.embed", "image"), ("llm.embed", "last")]
    for row in found.table:
        assert row["steps"] > 0 and 0 <= row["after"] < 0.8 * row["before"] and row["high"] < 0
        assert row["p"] == least_p(3), "three references tell no more"
        assert (row["n"], row["references"]) == (6, 3)
    parts = found.provenance["references"]
    assert [len(parts[name]) for name in ("train", "validation", "test")] == [5, 2, 3]
    assert found.provenance["model"] == before and found.translators["llm.embed"].left.shape == (head(llava).width,) * 2
    assert all(not part.requires_grad for own in found.translators.values() for part in (own.left, own.bias))


def test_the_last_block_is_never_touched_and_what_does_not_help_is_not_kept(
    llava: Mllm, ten: StimulusSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = head(llava).last
    right = _Site._loss
    monkeypatch.setattr(_Site, "_loss", lambda *given: -right(*given))  # every step makes it worse
    found = tune_lens(llava, ten, steps=2, tokens=2, rows=8, n_boot=20, progress=False)
    assert last not in found.sites and found.sites[0] == "llm.embed" and len(found.sites) > 1
    states = torch.randn(3, head(llava).width)
    assert torch.equal(found(last, states), states)
    for row in found.table:
        assert row["steps"] == 0 and row["change"] == 0
        assert torch.equal(found(row["site"], states), states)
    with pytest.raises(InputError, match=f"'{last}' takes no translator: the head reads it as it is"):
        tune_lens(llava, ten, sites=[last], progress=False)


def test_a_low_rank_learns_too_and_repeats_itself(qwen: Mllm, ten: StimulusSet) -> None:
    how = {"sites": ["llm.0"], "rank": 2, "steps": 24, "tokens": 3, "rows": 16, "n_boot": 20, "progress": False}
    one, again = (tune_lens(qwen, ten, **how) for _ in range(2))  # type: ignore[arg-type]
    own = one.translators["llm.0"]
    assert own.right is not None and own.left.shape == (48, 2) and own.right.shape == (2, 48)
    assert torch.equal(own.left, again.translators["llm.0"].left) and one.table == again.table
    assert all(row["after"] < row["before"] for row in one.table)


def test_parts_share_no_reference() -> None:
    for count in (6, 7, 20, 41):
        parts = _parts([f"r{i}" for i in range(count)] * 2, 3)
        names = [name for own in parts.values() for name in own]
        assert sorted(names) == sorted(f"r{i}" for i in range(count))
        assert len(parts["test"]) >= 2 and parts["validation"] and len(parts["train"]) >= count // 2 - 1
    assert _parts(["a", "b", "c", "d", "e", "f"], 0) != _parts(["a", "b", "c", "d", "e", "f"], 1)


def test_what_cannot_be_trained_is_refused(llava: Mllm, ten: StimulusSet) -> None:
    with pytest.raises(InputError, match="stimuli of 5 references. Expected 6 or more"):
        tune_lens(llava, ten.select(lambda s: s.reference < "r5"), progress=False)
    with pytest.raises(InputError, match="rank=0. Expected 1 or more"):
        tune_lens(llava, ten, rank=0, progress=False)
    with pytest.raises(InputError, match="cannot read the site 'projector'"):
        tune_lens(llava, ten, sites=["projector"], progress=False)
