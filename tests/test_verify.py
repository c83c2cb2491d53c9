"""The self-test proves what holds and refuses what does not."""

from dataclasses import replace

import pytest
import torch

from benchmarks import tiny
from hooks.load import Mllm
from hooks.resolve import find_stages
from hooks.stages import Stages
from stimuli.errors import InputError


def proven(family: str) -> Stages:
    model = tiny.model(family)
    return find_stages(model).verify(model, tiny.inputs(family, model))


def test_a_proof_says_what_fired_and_where_the_image_stands(llava: Mllm) -> None:
    proof = llava.stages.proof
    assert proof is not None and list(proof.firings) == list(llava.stages.sites)
    assert {firing.times for firing in proof.firings.values()} == {1} and all(firing.alive for firing in proof.firings.values())
    assert proof.placeholders == proof.reached == (64, 64) and proof.seconds > 0 and proof.dead == ()
    assert llava.stages.image_token == llava.model.config.image_token_index


def test_a_block_that_nothing_reads_is_a_dead_end() -> None:
    stages = proven("llava")  # vision_feature_layer -2 of four blocks
    assert stages.proof is not None and stages.proof.dead == ("vision.3",) and stages.read_layer == "vision.2"


def test_the_layer_read_is_what_the_model_reads_not_what_was_guessed() -> None:
    model = tiny.model("llava")
    wrong = replace(find_stages(model), read_layer="vision.0")
    assert wrong.verify(model, tiny.inputs("llava", model)).read_layer == "vision.2"


def test_a_placeholder_that_the_config_does_not_name_is_found_by_where_the_image_goes() -> None:
    model = tiny.model("internvl")
    inputs, token = tiny.inputs("internvl", model), model.config.image_token_id
    stages = find_stages(model).verify(model, inputs)
    assert stages.image_token == token


def test_text_rows_of_a_q_former_are_not_the_image_s() -> None:
    assert proven("instructblip").live == {"projector.qformer": 6} and proven("blip-2").live == {}


def test_gated_cross_attention_comes_before_the_layer_it_feeds() -> None:
    sites = list(proven("idefics").sites)
    assert sites.index("llm.gated_cross_attn_layers.0") < sites.index("llm.0") < sites.index("llm.gated_cross_attn_layers.1")


def test_sites_that_stay_silent_are_named() -> None:
    model = tiny.model("janus")
    stages = find_stages(model)
    wrong = replace(stages, sites={**stages.sites, "projector": "model.generation_aligner"})
    with pytest.raises(InputError, match="projector did not fire in a forward pass with an image"):
        wrong.verify(model, tiny.inputs("janus", model))


def test_image_features_where_no_placeholder_stands_are_refused() -> None:
    model = tiny.model("llava")
    inputs = tiny.inputs("llava", model)
    stages = find_stages(model)
    from hooks.batch import bookkeeping
    from hooks.verify import verify

    layout = bookkeeping(model, stages, inputs)
    image = layout.image.clone()
    image[:, image.int().argmax(1)] = False
    with pytest.raises(InputError, match="image features reach .* positions that are no image placeholders"):
        verify(model, inputs, stages, replace(layout, image=image))


def test_the_model_is_left_as_it_was(llava: Mllm) -> None:
    batch = llava.inputs([torch.zeros(128, 128, 3, dtype=torch.uint8).numpy()], ["What?"])
    with torch.no_grad():
        before = llava.model(**batch.tensors).logits
    llava.stages.verify(llava.model, batch.tensors)
    with torch.no_grad():
        assert torch.equal(llava.model(**batch.tensors).logits, before)
    assert all(p.grad is None for p in llava.model.parameters())


def test_inference_mode_is_stepped_out_of_and_its_weights_are_run_without_gradients() -> None:
    with torch.inference_mode():
        model = tiny.model("llava")
        inputs = tiny.inputs("llava", model)
        stages = find_stages(model).verify(model, inputs)
        assert stages.proof is not None and {f.alive for f in stages.proof.firings.values()} == {None}
        assert stages.proof.reached == stages.proof.placeholders
    model = tiny.model("llava")
    with torch.inference_mode():
        proof = find_stages(model).verify(model, {k: v.clone() for k, v in tiny.inputs("llava", model).items()}).proof
    assert proof is not None and proof.dead == ("vision.3",)
    assert all(p.requires_grad for p in model.parameters())
