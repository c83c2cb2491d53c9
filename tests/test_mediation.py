"""Shares of the loss: where a second model's features bring the answers back, and what arms read of what reaches them."""

import copy
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from analysis.mediation import ends_of, mediation
from analysis.mediation_shares import loss_by_arms, shares
from hooks.checksum import weights_checksum
from hooks.load import Mllm
from stimuli.errors import InputError
from stimuli.types import StimulusSet

GROUPS = [f"r{i // 4}" for i in range(40)]
ENDS = {"vision": "vision.2", "projector": "projector"}


def test_shares_are_the_steps_of_the_way_back() -> None:
    rng = np.random.default_rng(0)
    low, gap = rng.uniform(0.1, 0.2, 40), rng.uniform(0.4, 0.6, 40)
    moved = {"vision": (0.7 * gap, 0.5 * gap), "projector": (0.8 * gap, 0.8 * gap)}
    found = shares(low, low + gap, moved, ENDS, GROUPS, 200)
    assert [row["component"] for row in found.table] == ["vision", "projector", "llm"]
    assert [row["share"] for row in found.table] == pytest.approx([0.6, 0.2, 0.2])
    assert sum(row["share"] for row in found.table) == pytest.approx(1)
    assert found.row("vision")["restored"] == pytest.approx(0.7) and found.row("vision")["spoilt"] == pytest.approx(0.5)
    assert found.row("llm")["restored"] == 1 and found.row("llm")["site"] is None
    assert found.component == "vision" and found.row("vision")["beyond_next"] == pytest.approx(0.4)
    assert found.total["difference"] == pytest.approx(gap.mean()) and found.total["references"] == 10


def test_alike_models_lose_nothing_and_ties_name_nobody() -> None:
    rng = np.random.default_rng(0)
    low, noise = rng.uniform(0.1, 0.9, 40), rng.normal(0, 0.05, 40)
    alike = shares(low, low + noise - noise.mean(), {"vision": (noise, noise), "projector": (noise, noise)}, ENDS, GROUPS, 200)
    assert alike.component is None and all(row["share"] is None and row["p"] is None for row in alike.table)
    gap = rng.uniform(0.2, 0.6, 40)
    half = rng.uniform(0.3, 0.7, 40) * gap
    tie = shares(low, low + gap, {"vision": (half, half), "projector": (half, half)}, ENDS, GROUPS, 200)
    assert tie.component is None and tie.row("projector")["share"] == 0


def other(mllm: Mllm, component: str, seed: int) -> Mllm:
    """A copy with other weights in one component."""
    twin = copy.deepcopy(mllm.model)
    torch.manual_seed(seed)
    with torch.no_grad():
        for value in mllm.stages.parameters(twin, component).values():
            value.add_(0.5 * value.std(correction=0) * torch.randn_like(value))
    return mllm.with_model(twin)


@pytest.mark.parametrize("name", ["llava", "qwen"])
def test_what_was_changed_in_one_component_is_lost_there(name: str, six: StimulusSet, request: Any) -> None:
    patient: Mllm = request.getfixturevalue(name)
    before = weights_checksum(patient.model)
    for component in ("vision", "projector", "llm"):
        found = next(one for one in (mediation(patient, other(patient, component, seed), six, n_boot=50, progress=False)
                                     for seed in range(20)) if one.table[0]["share"] is not None)  # fmt: skip
        assert {row["component"]: round(row["share"], 3) for row in found.table} == {
            own: float(own == component) for own in ("vision", "projector", "llm")
        }
    assert weights_checksum(patient.model) == before


def answers(hits: np.ndarray) -> Any:
    rows = [{"id": str(i), "reference": GROUPS[i], "label": "ab"[i % 2], "correct": bool(hit)} for i, hit in enumerate(hits)]
    return SimpleNamespace(table=rows)


def test_arms_are_readers_of_what_reaches_their_component() -> None:
    rng = np.random.default_rng(1)
    base, some, many = (answers(rng.random(40) < share) for share in (0.1, 0.4, 0.95))
    found = loss_by_arms(base, {"vision": [many, base], "projector": [base], "llm": [some]}, 300)
    by = {row["component"]: row for row in found}
    assert list(by) == ["vision", "projector", "llm"] and by["projector"]["share"] == 0
    hit = {
        name: np.mean([row["correct"] for row in one.table]) for name, one in (("base", base), ("some", some), ("many", many))
    }
    assert by["vision"]["accuracy"] == pytest.approx(hit["many"], abs=0.06)
    assert by["llm"]["share"] + by["vision"]["share"] == pytest.approx(1) and by["vision"]["share"] > by["llm"]["share"] > 0
    only = loss_by_arms(base, {"llm": [many], "vision": [base]}, 300)
    assert {row["component"]: row["share"] for row in only} == {"vision": 0.0, "llm": 1.0}
    none = loss_by_arms(many, {"llm": [base]}, 300)
    assert none[0]["share"] is None and none[0]["accuracy"] < 0.5
    with pytest.raises(InputError, match="other stimuli"):
        loss_by_arms(base, {"llm": [SimpleNamespace(table=base.table[1:])]})  # type: ignore[list-item]


def test_a_model_without_a_projector_is_refused(llava: Mllm) -> None:
    from dataclasses import replace

    sites = {site: name for site, name in llava.stages.sites.items() if site != "projector"}
    with pytest.raises(InputError, match="has no site at which the encoder or the projector ends"):
        ends_of(replace(llava, stages=replace(llava.stages, sites=sites)))
