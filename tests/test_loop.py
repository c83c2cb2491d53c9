"""Passes add up to a step, a stopped run goes on bit for bit, early stopping takes the best weights."""

from pathlib import Path
from typing import Any

import pytest
import torch

import tuning.loop
from hooks.load import Mllm
from stimuli.errors import InputError
from stimuli.sets import exam_set
from stimuli.types import StimulusSet
from tuning.tune import tune

OPTIONS: dict[str, Any] = {"steps": 4, "batch_size": 8, "replay_images": 2, "progress": False}


@pytest.fixture(scope="module")
def train() -> StimulusSet:
    return exam_set(3, levels=(2, 5), split="train", measure=False)


def weights(tuned: Any) -> dict[str, torch.Tensor]:
    return dict(tuned.mllm.model.state_dict())


def test_passes_of_a_step_add_up_to_the_step(llava: Mllm, train: StimulusSet) -> None:
    how = {**OPTIONS, "constraint": "align+keep+distill", "quality": 0.2}
    whole, cut = tune(llava, train, "projector", **how), tune(llava, train, "projector", micro_batch=3, **how)
    for one, other in zip(whole.history, cut.history, strict=True):
        for name in set(one) - {"seconds"}:
            assert other[name] == pytest.approx(one[name], rel=2e-4, abs=1e-6), name
    assert {"answer", "quality", "replay", "align", "keep", "distill"} <= set(whole.history[0])


class Killed(Exception):
    """What stops a run in the middle."""


@pytest.mark.slow
@pytest.mark.heavy
@pytest.mark.parametrize(("component", "how"), [("vision", {"constraint": "align+keep"}), ("llm", {"method": "lora"})])
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_a_stopped_run_goes_on_bit_for_bit(
    llava: Mllm, train: StimulusSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, component: str, how: Any
) -> None:
    how = {**OPTIONS, **how, "checkpoint_every": 1, "validation": 0.34, "evaluate_every": 2, "patience": 3}
    whole = tune(llava, train, component, out=tmp_path / "whole", **how)
    real = tuning.loop._step

    def cut(run: Any, optimizer: Any, state: Any) -> Any:
        if state.step == 3:
            raise Killed
        return real(run, optimizer, state)

    monkeypatch.setattr(tuning.loop, "_step", cut)
    with pytest.raises(Killed):
        tune(llava, train, component, out=tmp_path / "cut", **how)
    monkeypatch.setattr(tuning.loop, "_step", real)
    asked: list[int] = []
    again = tune(llava, train, component, out=tmp_path / "cut", replays=lambda: asked.append(1) or (), **how)  # type: ignore[func-returns-value]
    assert not asked, "what the untouched model said was kept"
    assert all(torch.equal(value, weights(again)[name]) for name, value in weights(whole).items())
    assert [row["loss"] for row in again.history] == [row["loss"] for row in whole.history]
    assert again.validation == whole.validation and len(whole.validation) == 2
    assert not (tmp_path / "cut" / "checkpoint.safetensors").exists()
    with pytest.raises(InputError, match="holds another tuning run"):
        tune(llava, train, component, out=tmp_path / "cut", **{**how, "seed": 1})


def test_early_stopping_takes_the_best_weights(llava: Mllm, train: StimulusSet, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = iter([3.0, 1.0, 2.0, 2.0, 0.0])
    monkeypatch.setattr(tuning.loop, "held_out_loss", lambda run: next(losses))
    how = {**OPTIONS, "steps": 9, "replay": 0.0, "validation": 0.34, "evaluate_every": 1}
    stopped = tune(llava, train, "projector", patience=2, **how)
    assert [row["loss"] for row in stopped.validation] == [3.0, 1.0, 2.0, 2.0] and len(stopped.history) == 4
    monkeypatch.undo()
    other = {**how, "evaluate_every": 100}
    two = tune(llava, train, "projector", **{**other, "steps": 9})
    assert len(two.history) == 9 and len(two.validation) == 1
    seen: list[dict[str, torch.Tensor]] = []
    real = tuning.loop._step

    def watched(run: Any, optimizer: Any, state: Any) -> Any:
        row = real(run, optimizer, state)
        seen.append({name: value.detach().clone() for name, value in run.parameters.items()})
        return row

    monkeypatch.setattr(tuning.loop, "_step", watched)
    tune(llava, train, "projector", **other)
    best = dict(stopped.mllm.model.named_parameters())
    assert all(torch.equal(best[name], value) for name, value in seen[1].items()), "the second evaluation was the best"


def test_a_gradient_that_is_not_a_number_ends_the_run_before_the_weights_are_spoilt(
    llava: Mllm, train: StimulusSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    how = {**OPTIONS, "checkpoint_every": 1, "replay": 0.0}
    real = torch.nn.utils.clip_grad_norm_
    calls: list[int] = []

    def third_is_not_a_number(parameters: Any, *given: Any, **named: Any) -> Any:
        calls.append(1)
        return torch.tensor(float("nan")) if len(calls) == 3 else real(parameters, *given, **named)

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", third_is_not_a_number)
    with pytest.raises(
        tuning.loop.Diverged, match="The norm of the gradient is nan at step 2 while tuning 'projector'. Lower lr"
    ):
        tune(llava, train, "projector", out=tmp_path, **how)
    again = tune(llava, train, "projector", out=tmp_path, **how)
    assert len(again.history) == 4 and all(torch.isfinite(value).all() for value in again.mllm.model.parameters())
    assert not any(value.grad is not None for value in again.mllm.model.parameters())


def test_an_evaluation_that_is_not_a_number_is_no_best_one() -> None:
    assert not tuning.loop._stalled([{"loss": float("nan")}, {"loss": 2.0}, {"loss": 1.0}], 2)
    assert tuning.loop._stalled([{"loss": 1.0}, {"loss": float("nan")}, {"loss": 2.0}], 2)


def test_wall_time_ends_a_run(llava: Mllm, train: StimulusSet) -> None:
    tuned = tune(llava, train, "projector", **{**OPTIONS, "steps": None, "replay": 0.0}, seconds=1e-6)
    assert len(tuned.history) == 1 and tuned.history[0]["seconds"] > 1e-6


@pytest.mark.heavy
def test_a_model_in_half_precision_is_trained_in_float32_and_stays_what_it_was(llava: Mllm, train: StimulusSet) -> None:
    import copy

    half = llava.with_model(copy.deepcopy(llava.model).to(torch.bfloat16))
    tuned = tune(half, train, "projector", **{**OPTIONS, "lr": 1e-6, "steps": 1})
    after, before = dict(tuned.mllm.model.named_parameters()), dict(half.model.named_parameters())
    assert all(value.dtype == torch.bfloat16 for value in after.values()) and tuned.audit.unchanged
    full = tune(llava, train, "projector", **{**OPTIONS, "steps": 1})
    autocast = tune(half, train, "projector", **{**OPTIONS, "steps": 1})
    assert autocast.history[0]["loss"] == pytest.approx(full.history[0]["loss"], rel=0.02)
    assert before.keys() == after.keys()
    with pytest.raises(InputError, match="precision='float32' for a model in torch.bfloat16"):
        tune(half, train, "projector", precision="float32", **OPTIONS)


@pytest.mark.heavy
def test_recomputed_blocks_change_nothing(llava: Mllm, train: StimulusSet) -> None:
    plain, again = (tune(llava, train, "vision.4-5", recompute=wanted, **OPTIONS) for wanted in (False, True))
    assert [row["loss"] for row in plain.history] == pytest.approx([row["loss"] for row in again.history], rel=1e-4)
