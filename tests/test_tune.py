"""Exactly the named component moves, reproducibly, and the given model stays as it was."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from hooks.checksum import weights_checksum
from hooks.load import Mllm
from stimuli.errors import InputError
from stimuli.sets import exam_set
from stimuli.types import StimulusSet
from tuning.tune import tune

OPTIONS: dict[str, Any] = {"steps": 2, "batch_size": 4, "replay_images": 2, "progress": False}


@pytest.fixture(scope="module")
def train() -> StimulusSet:
    return exam_set(2, levels=(5,), split="train", measure=False)


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize(("component", "constraint"), [("vision", "align+keep"), ("projector", "align"), ("llm", None)])
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_only_the_component_moves(llava: Mllm, train: StimulusSet, component: str, constraint: str | None, method: Any) -> None:
    untouched = weights_checksum(llava.model)
    tuned = tune(llava, train, component, method=method, constraint=constraint, **OPTIONS)
    assert weights_checksum(llava.model) == untouched
    own = llava.stages.parameters(llava.model, component)
    after = dict(tuned.mllm.model.named_parameters())
    assert set(after) == set(dict(llava.model.named_parameters()))
    for name, value in llava.model.named_parameters():
        assert name in own or torch.equal(value, after[name]), name
    moved = [name for name in own if not torch.equal(own[name], after[name])]
    assert moved and tuned.audit.unchanged and tuned.audit.component == component
    assert {name for name, norm in tuned.audit.moved.items() if norm > 0} == set(moved)
    parts = set(constraint.split("+")) if constraint else set()
    assert set(tuned.history[0]) == {"step", "loss", "answer", "replay", "rate", "gradient", "seconds", *parts}
    if "keep" in parts:
        assert tuned.history[0]["keep"] == 0 < tuned.history[1]["keep"]
    assert not any(p.requires_grad for p in after.values())


def test_the_audit_would_notice_a_stray_parameter(llava: Mllm, train: StimulusSet, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    module = importlib.import_module("tuning.tune")  # the package attribute of this name is the function
    real = module.learn

    def stray(run: Any, progress: bool) -> Any:
        norm = run.objective.student.get_submodule("model.vision_tower.post_layernorm")
        norm.bias = torch.nn.Parameter(norm.bias.detach() + 1e-3, requires_grad=False)  # the copy's own, not shared memory
        return real(run, progress)

    monkeypatch.setattr(module, "learn", stray)
    assert not module.tune(llava, train, "llm", **OPTIONS).audit.unchanged


def test_the_same_seed_gives_the_same_weights_and_another_does_not(llava: Mllm, train: StimulusSet) -> None:
    first, again, other = (tune(llava, train, "projector", seed=seed, **OPTIONS).mllm.model.state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.heavy
def test_tuning_learns_what_it_is_taught(llava: Mllm, train: StimulusSet) -> None:
    tuned = tune(llava, train, "llm", steps=30, batch_size=16, replay=0.0, lr=3e-3, progress=False)
    assert tuned.history[-1]["answer"] < 0.6 * tuned.history[0]["answer"]


def test_refusals_are_in_words(llava: Mllm, train: StimulusSet) -> None:
    with pytest.raises(InputError, match="Unknown component 'retina'. Expected one of vision, projector, llm"):
        tune(llava, train, "retina", **OPTIONS)
    with pytest.raises(InputError, match="Unknown method 'magic'. Expected one of full, lora"):
        tune(llava, train, "llm", method="magic", **OPTIONS)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="Unknown constraint 'tight'"):
        tune(llava, train, "vision", constraint="tight", **OPTIONS)
    with pytest.raises(InputError, match="shapes visual tokens, which tuning the llm does not change"):
        tune(llava, train, "llm", constraint="align", **OPTIONS)
    with pytest.raises(InputError, match="held out for the exam"):
        tune(llava, train, "llm", held_out=train.references[:1], **OPTIONS)
    with pytest.raises(InputError, match="held out for the exam"):
        learnt = [s for s in train if s.reference == train.references[0]]
        watched = [s for s in train if s.reference != train.references[0]]
        tune(llava, learnt, "llm", validation=watched, held_out=train.references[1:], **OPTIONS)
    with pytest.raises(InputError, match="The loss is .* while tuning 'llm'. Lower lr"):
        tune(llava, train, "llm", lr=float("inf"), **{**OPTIONS, "steps": 4})


def test_a_component_that_the_model_has_not_is_refused(llava: Mllm, train: StimulusSet) -> None:
    bare = replace(llava, stages=replace(llava.stages, components={**llava.stages.components, "projector": ()}))
    with pytest.raises(InputError, match="LlavaForConditionalGeneration has no projector to tune"):
        tune(bare, train, "projector", **OPTIONS)
