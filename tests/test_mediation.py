"""Shares of the loss: where a second model's features bring the answers back, and what arms read of what reaches them."""

import copy
import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from analysis.mediation import ends_of, mediation
from analysis.mediation_shares import loss_by_arms, shares
from hooks.checksum import weights_checksum
from hooks.load import Mllm
from snellen.embedded import plants
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


@pytest.mark.parametrize("name", [pytest.param("llava", marks=pytest.mark.heavy), "qwen"])
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


def test_what_the_processor_removes_is_not_charged_to_the_encoder(llava: Mllm, six: StimulusSet) -> None:
    tries = (replace(llava, processor=plants.shrink(llava.processor, factor)) for factor in (8, 4, 16, 2))
    found = next(own for own in (mediation(one, llava, six, n_boot=50, progress=False) for one in tries)
                 if own.table[0]["share"] is not None)  # fmt: skip
    shown = {row["component"]: round(row["share"], 3) for row in found.table}
    assert shown == {"processor": 1.0, "vision": 0.0, "projector": 0.0, "llm": 0.0}
    assert found.row("processor")["site"] == "processed"


def test_a_donor_that_answers_worse_makes_nobody_the_patients_loss() -> None:
    low, gap = np.full(40, 0.2), np.full(40, 0.5)
    worse = shares(low + gap, low, {name: (-gap, -gap) for name in ("vision", "projector")}, ENDS, GROUPS, 100)
    assert worse.row("vision")["share"] == pytest.approx(1) and worse.component is None


def test_features_that_mean_nothing_to_the_other_name_nobody() -> None:
    low, gap = np.full(40, 0.2), np.full(40, 0.5)
    moved = {
        "vision": (0 * gap, 0 * gap),
        "projector": (-0.05 * gap, 1.1 * gap),
    }  # the patient's spoil, the donor's bring nothing back
    strange = shares(low, low + gap, moved, ENDS, GROUPS, 100)
    assert strange.row("projector")["beyond_next_low"] > 0 and strange.component is None
    near = {"vision": (0 * gap, 0 * gap), "projector": (0.7 * gap, 1.1 * gap)}
    assert shares(low, low + gap, near, ENDS, GROUPS, 100).component == "projector"


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
    sites = {site: name for site, name in llava.stages.sites.items() if site != "projector"}
    with pytest.raises(InputError, match="has no site at which the encoder or the projector ends"):
        ends_of(replace(llava, stages=replace(llava.stages, sites=sites)))


def test_donors_and_stimuli_that_do_not_fit_are_refused(llava: Mllm, six: StimulusSet) -> None:
    sites = {site: name for site, name in llava.stages.sites.items() if site != "projector"}
    bare = replace(llava, stages=replace(llava.stages, sites=sites))
    with pytest.raises(InputError, match="has no site projector, but .* Expected a model of the same architecture"):
        mediation(llava, bare, six, progress=False)
    one = [stimulus for stimulus in six if stimulus.reference == six[0].reference]
    with pytest.raises(InputError, match="of one reference. Expected at least 2 references"):
        mediation(llava, llava, one, progress=False)
    other = copy.deepcopy(llava.processor)
    other.tokenizer.chat_template = "Look. " + llava.processor.tokenizer.chat_template
    other.chat_template = other.tokenizer.chat_template
    with pytest.raises(InputError, match="shown to the two models as different tokens"):
        mediation(llava, replace(llava, processor=other), six, progress=False)


def bench() -> ModuleType:
    path = Path(__file__).parent.parent / "benchmarks" / "mediation.py"
    spec = importlib.util.spec_from_file_location("bench_mediation", path)
    assert spec is not None and spec.loader is not None
    module, before = importlib.util.module_from_spec(spec), list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = before
    return module


def test_the_benchmark_counts_wrong_names_and_reads_exams(tmp_path: Path) -> None:
    own = bench()
    rows = [{"truth": "llm", "named": name, "grade": "strong", "donor": "twin"} for name in ["llm"] * 19 + ["vision"]]
    line, met = own.summary(rows)
    assert met and "1 of 20 (5 %" in line
    assert not own.summary(rows[1:])[1] and own.outcome({"truth": "none", "named": "none"}) == "right"
    assert "| strong | 19 of 20" in own.told(rows, "twin")[-1] and own.told(rows, "tuned") == []
    tables = tmp_path / "embedded-3" / "tables"
    tables.mkdir(parents=True)
    for name, share in (("base", 0.0), ("llm", 0.0), ("vision+constraint", 1.0)):
        lines = [f"{i},{GROUPS[i]},{'ab'[i % 2]},{i < 40 * share}" for i in range(40)]
        (tables / f"answers_{name}.csv").write_text("\n".join(["id,reference,label,correct", *lines]))
    ((name, table),) = own.exams([tmp_path])
    assert name == "embedded-3" and {row["component"]: row["share"] for row in table} == {"vision": 1.0, "llm": 0.0}
    assert own.readers([own.reader_row(name, "vision", table)], tmp_path) == 0
