"""Capture sees what the model computed and leaves no trace."""

from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks import tiny
from hooks.capture import Stop, capture, entering, features, rebuilt
from hooks.load import Mllm, load
from hooks.resolve import find_stages
from stimuli.errors import InputError
from stimuli.types import StimulusSet


def count(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def test_values_are_the_models_own_hidden_states(llava: Mllm, six: StimulusSet) -> None:
    batch = llava.inputs([six[0].image], ["What?"])
    with torch.no_grad(), capture(llava.model, "all", llava.stages) as seen:
        out = llava.model(**batch.tensors, output_hidden_states=True)
    assert torch.equal(seen["llm.embed"], out.hidden_states[0])
    assert torch.equal(seen["llm.2"], out.hidden_states[3])
    assert torch.equal(llava.model.model.language_model.norm(seen["llm.3"]), out.hidden_states[4])
    own = out.image_hidden_states  # one tensor for all images in older releases, one for each in newer ones
    assert torch.equal(seen["projector"][0], own if isinstance(own, torch.Tensor) else torch.cat(list(own)))
    image = batch.layout.image[0]
    assert torch.allclose(seen["llm.embed"][0, image], seen["projector"][0])
    assert not seen["projector"].requires_grad


def test_hooks_are_undone_also_after_an_exception(llava: Mllm, six: StimulusSet) -> None:
    batch = llava.inputs([six[0].image], ["What?"])
    with torch.no_grad():
        llava.model(**batch.tensors)  # transformers leaves recorders of its own behind at the first pass
    before = count(llava.model)
    with capture(llava.model, ["vision.1", "llm.embed"], llava.stages):
        assert count(llava.model) == before + 2
    assert count(llava.model) == before
    with pytest.raises(RuntimeError, match="boom"), capture(llava.model, "all", llava.stages):
        raise RuntimeError("boom")
    assert count(llava.model) == before


def test_stop_ends_the_pass_after_the_last_site(llava: Mllm, six: StimulusSet) -> None:
    batch = llava.inputs([six[0].image], ["What?"])
    reached = []
    handle = llava.model.model.language_model.register_forward_hook(lambda *_: reached.append(1))
    with capture(llava.model, ["vision.0", "projector"], llava.stages, stop=True) as seen, pytest.raises(Stop):
        llava.model(**batch.tensors)
    handle.remove()
    assert seen["projector"].shape[1] == 64 and not reached


def test_every_firing_is_kept(llava: Mllm, six: StimulusSet) -> None:
    with torch.no_grad(), capture(llava.model, ["projector"], llava.stages) as seen:
        for stimulus in six[:2]:
            llava.model(**llava.inputs([stimulus.image], ["What?"]).tensors)
    assert len(seen.all("projector")) == 2 and torch.equal(seen["projector"], seen.all("projector")[1])


def test_unknown_and_silent_sites_are_said(llava: Mllm) -> None:
    with pytest.raises(InputError, match="Unknown site 'projektor'.*nearest sites of this model are projector"):
        with capture(llava.model, ["projektor"], llava.stages):
            pass
    with capture(llava.model, ["projector"], llava.stages) as seen:
        with pytest.raises(InputError, match="has not fired: no forward pass went through it"):
            seen["projector"]
    with pytest.raises(InputError, match="gave a dict, not a tensor"):
        features({}, "x")


def test_a_keyboard_interrupt_leaves_no_hook(llava: Mllm) -> None:
    before = count(llava.model)
    with pytest.raises(KeyboardInterrupt), capture(llava.model, "all", llava.stages):
        raise KeyboardInterrupt
    assert count(llava.model) == before


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing_enable.*:FutureWarning")
def test_gradient_checkpointing_fires_once_and_keeps_the_gradients(llava_folder: Path, six: StimulusSet) -> None:
    mllm = load(llava_folder, device="cpu")
    batch = mllm.inputs([six[0].image], ["What?"])

    def gradients() -> list[torch.Tensor]:
        mllm.model.zero_grad()
        mllm.model(**batch.tensors).logits.square().mean().backward()
        return [p.grad.clone() for p in mllm.model.parameters() if p.grad is not None]

    mllm.model.train()
    plain = gradients()
    mllm.model.gradient_checkpointing_enable()
    with capture(mllm.model, ["vision.0", "llm.embed", "llm.0"], mllm.stages) as seen:
        checkpointed = gradients()
    assert {len(seen.all(site)) for site in seen} == {1}
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(plain, checkpointed, strict=True))


@pytest.mark.parametrize("part", [False, True])
def test_a_compiled_model_is_refused(llava_folder: Path, part: bool) -> None:
    mllm = load(llava_folder, device="cpu")
    if part:
        mllm.model.model.vision_tower.compile(backend="eager")
        whole, named = mllm.model, "The part 'model.vision_tower' of the model"
    else:
        whole, named = torch.compile(mllm.model, backend="eager"), "The model"
    with pytest.raises(InputError, match=f"{named} is compiled by torch.compile.*give the original"):
        with capture(whole, "projector", mllm.stages):
            pass


def test_autocast_is_seen_as_it_is(llava: Mllm, six: StimulusSet) -> None:
    batch = llava.inputs([six[0].image], ["What?"])
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), capture(llava.model, ["projector"], llava.stages) as seen:
        llava.model(**batch.tensors)
    assert seen["projector"].dtype == torch.bfloat16


def test_features_of_tuples_lists_and_model_outputs() -> None:
    from transformers.modeling_outputs import BaseModelOutputWithPooling

    own, other = torch.ones(2, 3), torch.zeros(4, 3)
    output = BaseModelOutputWithPooling(last_hidden_state=own, pooler_output=other)
    assert features(output, "x") is own and features((None, own, other), "x") is own
    assert torch.equal(features([own, other], "x"), torch.cat([own, other]))
    again = rebuilt(output, other, "x")
    assert again.last_hidden_state is other and output.last_hidden_state is own
    assert rebuilt((None, own, 7), other, "x") == (None, other, 7)
    assert [len(part) for part in rebuilt([own, other], torch.zeros(6, 3), "x")] == [2, 4]
    assert entering((None,), {"mask": torch.ones(1), "hidden_states": own}, "x") == ("hidden_states", own)
    with pytest.raises(InputError, match="called without a tensor of features"):
        entering((torch.tensor([1]),), {}, "x")


def test_the_library_s_own_recorders_still_work_inside(llava: Mllm, six: StimulusSet) -> None:
    batch = llava.inputs([six[0].image], ["What?"])
    with torch.no_grad(), capture(llava.model, "all", llava.stages) as seen:
        first = llava.model(**batch.tensors, output_hidden_states=True).hidden_states
        second = llava.model(**batch.tensors, output_hidden_states=True).hidden_states
    assert len(first) == len(second) == 5 and all(map(torch.equal, first, second)) and len(seen.all("llm.0")) == 2


def test_a_loaded_model_brings_its_map_along_and_a_name_is_no_model(llava: Mllm, six: StimulusSet) -> None:
    with torch.no_grad(), capture(llava, "projector") as seen:
        llava.model(**llava.inputs([six[0].image], ["What?"]).tensors)
    assert seen["projector"].shape[1] == 64
    with pytest.raises(InputError, match="Got a str; expected a model .*sn.load"):
        with capture("embedded", "projector"):
            pass


@pytest.mark.parametrize(("family", "site", "times"), [("hunyuan_vl", "projector", 2), ("inkling2_loop", "llm.1", 3)])
def test_a_site_that_fires_several_times_is_not_cut_off_at_the_first(family: str, site: str, times: int) -> None:
    if family not in tiny.families():
        pytest.skip(f"this release of transformers has no {family}")
    model = tiny.model(family)
    inputs = tiny.inputs(family, model)
    stages = find_stages(model).verify(model, inputs)
    with torch.no_grad(), capture(model, site, stages, stop=True) as seen:
        model(**inputs)
    assert len(seen.all(site)) == times
