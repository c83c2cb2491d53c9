"""Shares over stimuli: even attention is even, a region is where it is, and the table's numbers are those of the layers."""

import copy
from typing import Any

import numpy as np
import pytest
import torch

import analysis.attention_shares as module
from analysis.attention_shares import AttentionShares, attention_shares, ratios, region_rows
from analysis.choice import choice
from hooks.attention import SOURCES, Shares, attentions
from hooks.knockout import token_parts
from hooks.load import Mllm
from probes.intervals import group_bootstrap, least_p
from stimuli.errors import InputError
from stimuli.sets import exam_set
from stimuli.types import StimulusSet

QUIET: dict[str, Any] = {"progress": False, "n_boot": 100, "grid": 4}


@pytest.fixture(scope="module")
def local() -> StimulusSet:
    """Two distorted boxes in each of three references, and their clean images."""
    found = exam_set(references=3, levels=(5,), seed=0, region="box")
    kept = [s.id for r in found.references for s in [s for s in found if s.reference == r and s.mask is not None][:2]]
    return found.select(lambda s: s.type is None or s.id in kept)


def even(llava: Mllm) -> Mllm:
    """A copy whose heads look everywhere alike."""
    model = copy.deepcopy(llava.model)
    found = llava.with_model(model)
    for own in attentions(found).values():
        torch.nn.init.zeros_(own.q_proj.weight)
    return found


def test_even_attention_is_told_as_even(llava: Mllm, local: StimulusSet) -> None:
    mllm = even(llava)
    found = attention_shares(mllm, local, **QUIET)
    prompt = mllm.inputs([local[0].image], [choice().question.prompt])
    seen = int(token_parts(mllm, prompt).ends[0]) + 1
    heads = found.values["image"].shape[2]
    assert len(found.table) == len(attentions(mllm)) * (heads + 1)
    for row in found.table:
        assert row["image"] == pytest.approx(prompt.layout.image_tokens[0] / seen, abs=1e-5)
        assert row["itself"] == pytest.approx(1 / seen, abs=1e-5) and row["image"] == pytest.approx(row["image_low"], abs=1e-5)
        assert row["enrichment"] == pytest.approx(1, abs=1e-4) and row["clean_enrichment"] == pytest.approx(1, abs=1e-4)
        assert row["beyond"] == pytest.approx(0, abs=1e-4)
        assert (row["n"], row["references"], row["region_references"]) == (len(local), 3, 3)
        assert row["region_n"] == sum(s.type is not None for s in local)
    question = attention_shares(mllm, local[2:5], target="question", layers=[2], **QUIET)
    assert {row["layer"] for row in question.table} == {2} and question.target == "question"


def test_a_region_is_where_it_is(llava: Mllm) -> None:
    """The tokens of a tower with square patches stand in raster order: a quarter is its corner of them, in soft shares."""
    mask = np.zeros((64, 64), bool)
    mask[:32, 32:] = True
    found, none = region_rows(llava, [mask, None], "What is wrong?", 4)
    assert none is None and found is not None
    side = round(len(found) ** 0.5)
    wanted = torch.zeros(side, side)
    wanted[: side // 2, side // 2 :] = 1
    assert float((found.reshape(side, side) - wanted).abs().max()) < 0.1


def told(rows: np.ndarray, local: StimulusSet, monkeypatch: pytest.MonkeyPatch, llava: Mllm) -> AttentionShares:
    """The table of attention that is given: a number of the region's tokens per stimulus and head, (n, 1, heads)."""
    start = [0]

    def given(mllm: Mllm, batch: Any, parts: Any, target: str, *, layers: Any, check: bool) -> Shares:
        here = slice(start[0], start[0] + parts.n)
        start[0] += parts.n
        assert check is (here.start == 0), "proven once"
        region = torch.from_numpy(rows[here])
        values = dict.fromkeys(SOURCES, torch.full_like(region, 0.25)) | {"region": region}
        return Shares((7,), values)

    monkeypatch.setattr(module, "attention", given)
    return attention_shares(llava, local, batch_size=4, **QUIET)


def test_a_head_that_looks_at_the_distortion_is_told_from_one_that_looks_at_its_place(
    llava: Mllm, local: StimulusSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    masks = {s.reference: s.mask.mean() for s in local if s.mask is not None}
    share = np.array([masks[s.reference] for s in local])  # of the image; the tokens', up to the grid
    distorted = np.array([s.type is not None for s in local])
    rows = np.stack([0.25 * share * np.where(distorted, 2, 1), 0.25 * share * 2], 1)[:, None]
    found = told(rows, local, monkeypatch, llava)
    looks, place, mean = found.table
    assert (looks["layer"], looks["head"], mean["head"]) == (7, 0, None)
    assert looks["enrichment"] == pytest.approx(2, abs=0.1) and looks["clean_enrichment"] == pytest.approx(1, abs=0.05)
    assert place["enrichment"] == pytest.approx(2, abs=0.1) and place["beyond"] == pytest.approx(0, abs=1e-9)
    assert looks["beyond"] == pytest.approx(looks["enrichment"] - looks["clean_enrichment"])
    assert looks["beyond_low"] > 0.9 and looks["p"] == least_p(looks["region_references"]) and place["p"] == 1
    assert looks["p_holm"] == pytest.approx(2 * looks["p"]) and mean["p_holm"] == mean["p"], "means are apart"
    assert looks["region"] == pytest.approx(rows[distorted, 0, 0].mean())


def test_without_clean_images_or_regions_there_is_no_control(
    llava: Mllm, local: StimulusSet, six: StimulusSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = local.select(lambda s: s.type is not None)
    row = told(np.full((len(alone), 1, 1), 0.1), alone, monkeypatch, llava).table[0]
    assert row["enrichment"] > 0 and row["beyond"] is None and row["p_holm"] is None
    monkeypatch.undo()
    plain = attention_shares(llava, six, layers=[0], **QUIET).table[0]
    assert plain["region"] is None and plain["region_n"] == 0 and 0 < plain["image"] < 1


def test_one_reference_is_refused_at_once_and_one_region_is_left_out(llava: Mllm, local: StimulusSet) -> None:
    with pytest.raises(InputError, match="at least 2 of them, got 1"):
        attention_shares(llava, local[:3], **QUIET)
    one = local.select(lambda s: s.type is None or s.reference == local[0].reference)
    row = attention_shares(llava, one, layers=[0], **QUIET).table[0]
    assert row["references"] == 3 and row["region"] is None and row["region_n"] == 0


def test_a_ratio_of_ones_is_the_mean_with_the_same_draws() -> None:
    values, groups = np.random.default_rng(0).normal(size=20), [f"r{i // 4}" for i in range(20)]
    value, draws = ratios(values, np.ones(20), groups, 200, 3)
    own = group_bootstrap(values, groups, 200, 3)
    assert value == pytest.approx(own.value) and np.quantile(draws, 0.025) == pytest.approx(own.low)
    above, below = np.stack([values, values]), np.stack([np.ones(20), np.zeros(20)])
    both, _ = ratios(above.T, below.T, groups, 10, 0)
    assert both[0] == pytest.approx(value) and np.isnan(both[1]), "nothing is divided by zero"
    values[3] = np.nan
    assert ratios(values, np.ones(20), groups, 10, 0)[0] == pytest.approx(np.nanmean(values))
