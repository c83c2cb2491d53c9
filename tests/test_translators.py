"""Translators translate, come back from disk as they were, and refuse models and references that are not theirs."""

from pathlib import Path

import pytest
import torch

from analysis.translators import FILE, RECORD, Translator, TunedLens
from hooks.checksum import weights_checksum
from hooks.load import Mllm
from stimuli.errors import InputError


def drawn(seed: int, d: int = 6, rank: int | None = None) -> Translator:
    draw = torch.Generator().manual_seed(seed)
    left = torch.randn(d, rank or d, generator=draw)
    return Translator(left, None if rank is None else torch.randn(rank, d, generator=draw), torch.randn(d, generator=draw))


def made(model: str = "abc") -> TunedLens:
    references = {"train": ["r1", "r2"], "validation": ["r3"], "test": ["r4"]}
    provenance = {"model": model, "name": "tiny", "references": references, "seed": 0}
    return TunedLens({"llm.embed": drawn(0), "llm.0": drawn(1, rank=2)}, [{"site": "llm.embed", "before": 1.5}], provenance)


def test_h_plus_a_h_plus_b() -> None:
    states = torch.randn(4, 3, 6)
    whole, thin = drawn(0), drawn(1, rank=2)
    expected = torch.einsum("de,nte->ntd", torch.eye(6) + whole.left, states) + whole.bias
    assert torch.allclose(whole(states), expected, atol=1e-5)
    assert thin.right is not None
    assert torch.allclose(thin(states), Translator(thin.left @ thin.right, None, thin.bias)(states), atol=1e-5)
    assert whole(states.bfloat16()).dtype == torch.float32
    nothing = Translator(torch.zeros(6, 6), None, torch.zeros(6))
    assert torch.equal(nothing(states), states)


def test_there_and_back(tmp_path: Path) -> None:
    own, states = made(), torch.randn(5, 6)
    again = TunedLens.load(own.save(tmp_path / "new" / "lens"))
    assert again.sites == own.sites and again.table == own.table and again.provenance == own.provenance
    for site in (*own.sites, "llm.7"):
        assert torch.equal(again(site, states), own(site, states))
    assert torch.equal(own("llm.7", states), states)


def test_half_a_lens_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no tuned lens"):
        TunedLens.load(tmp_path)
    made().save(tmp_path)
    TunedLens({"llm.embed": drawn(0)}, [], {}).save(tmp_path / "other")
    (tmp_path / "other" / FILE).replace(tmp_path / FILE)
    with pytest.raises(InputError, match="damaged tuned lens .KeyError: 'llm.0/left'.*Train anew"):
        TunedLens.load(tmp_path)
    (tmp_path / FILE).write_bytes(b"\x09")
    with pytest.raises(InputError, match="damaged tuned lens .*SafetensorError.*Train anew"):
        TunedLens.load(tmp_path)
    (tmp_path / RECORD).write_text('{"sites": [')
    with pytest.raises(InputError, match="cannot be used .*what TunedLens.save wrote"):
        TunedLens.load(tmp_path)


def test_another_model_and_known_references_are_refused(llava: Mllm) -> None:
    with pytest.raises(InputError, match="made for 'tiny', and the weights of 'llava.*' are others"):
        made().check(llava)
    own = made(weights_checksum(llava.model))
    own.check(llava, ["r4", "r9"])
    with pytest.raises(InputError, match=r"2 of the references to be read \(r2, r3\)"):
        own.check(llava, ["r2", "r3", "r4"])
