"""What trains: every name stands for the parameters it says, in every family, and for nothing else."""

from functools import cache
from typing import Any

import pytest
import torch

from benchmarks import tiny
from hooks.load import Mllm
from hooks.resolve import find_stages
from hooks.stages import COMPONENTS, Stages
from stimuli.errors import InputError
from tuning.parts import Part, check_component, find_part, site_of

SAMPLE = ("llava", "qwen3_vl", "blip-2", "mllama", "florence2")


KINDS: list[Any] = [name if name in SAMPLE else pytest.param(name, marks=pytest.mark.heavy) for name in tiny.families()]


@cache
def mapped(family: str) -> tuple[Any, Stages]:
    try:
        model = tiny.model(family)
        return model, find_stages(model)
    except (InputError, tiny.Unbuildable) as error:
        pytest.skip(str(error).split("\n")[0])


def lists(stages: Stages) -> dict[str, list[int]]:
    """Each list of blocks with its numbers."""
    found: dict[str, list[int]] = {}
    for site in stages.sites:
        stem, _, index = site.rpartition(".")
        if index.isdigit():
            found.setdefault(stem, []).append(int(index))
    return found


@pytest.mark.parametrize("family", KINDS)
def test_parts_share_out_the_model(family: str) -> None:
    model, stages = mapped(family)
    have = [c for c in COMPONENTS if stages.parameters(model, c)]
    alone = [find_part(model, stages, c) for c in have]
    joined = find_part(model, stages, "+".join(reversed(have)))
    assert joined.name == "+".join(have) and joined.components == tuple(have) and joined.first == have[0]
    assert sorted(joined.parameters) == sorted(name for part in alone for name in part.parameters)
    for c, part in zip(have, alone, strict=True):
        assert set(part.parameters) == set(stages.parameters(model, c)) and part.components == (c,)
    named, owner = dict(model.named_parameters()), {n: p.first for p in alone for n in p.parameters}
    assert len({id(named[name]) for name in owner}) == len(owner)  # a tied tensor has one owner
    where = site_of(model, stages)
    assert {stages.component(site) for site in where.values()} <= set(have)
    assert all(owner[name] == stages.component(site) for name, site in where.items())


@pytest.mark.parametrize("family", KINDS)
def test_layers_are_disjoint_and_sum_to_their_list(family: str) -> None:
    model, stages = mapped(family)
    if family == "diffusion_gemma":
        pytest.skip("its encoder's and decoder's layers are the same tensors")
    taken: set[str] = set()
    for stem, numbers in lists(stages).items():
        whole = find_part(model, stages, f"{stem}.{min(numbers)}-{max(numbers)}")
        each = [find_part(model, stages, f"{stem}.{i}") for i in numbers]
        assert sum(len(part.parameters) for part in each) == len(whole.parameters)
        assert {name for part in each for name in part.parameters} == set(whole.parameters)
        assert not taken & set(whole.parameters) and whole.components == (stem.split(".")[0],)
        assert set(whole.parameters) <= set(stages.parameters(model, whole.first))
        taken |= set(whole.parameters)


@pytest.mark.parametrize("family", KINDS)
def test_norms_are_found_in_tower_and_language_model(family: str) -> None:
    model, stages = mapped(family)
    if family == "diffusion_gemma":
        pytest.skip("its layers belong to its encoder")
    named = dict(model.named_parameters())
    for component in ("vision", "llm"):
        part = find_part(model, stages, component, "norm")
        blocks = len(lists(stages)[component])
        assert len(part.parameters) >= blocks and set(part.parameters) < set(stages.parameters(model, component))
        assert part.name == f"{component}:norm" and part.only == "norm"
        sizes = sum(named[name].numel() for name in part.parameters)
        assert sizes < 0.1 * sum(p.numel() for p in stages.parameters(model, component).values())
        assert all(named[name].ndim == 1 for name in part.parameters)


def test_the_embedding_is_what_stands_in_front_of_the_first_block(llava: Mllm, qwen: Mllm) -> None:
    found = find_part(llava.model, llava.stages, "vision.embed").parameters
    tower = "model.vision_tower."
    assert {name.removeprefix(tower).split(".")[0] for name in found} == {"embeddings", "pre_layrnorm"}
    assert find_part(qwen.model, qwen.stages, "vision.embed").parameters == ("model.visual.patch_embed.proj.weight",)
    table = find_part(llava.model, llava.stages, "llm.embed").parameters
    assert table == ("model.language_model.embed_tokens.weight",)
    last = find_part(llava.model, llava.stages, "vision")
    assert f"{tower}post_layernorm.weight" in set(last.parameters) - set(found)


def test_a_tied_head_belongs_to_the_table_and_moves_with_it() -> None:
    model, stages = mapped("paligemma")
    assert model.lm_head.weight is model.get_input_embeddings().weight
    part = find_part(model, stages, "llm")
    tied = [n for n, p in model.named_parameters(remove_duplicate=False) if p is model.lm_head.weight]
    assert len(tied) == 2 and len(set(tied) & set(part.parameters)) == 1
    assert set(find_part(model, stages, "llm.embed").parameters) == set(tied) & set(part.parameters)


def test_names_are_normalised(llava: Mllm) -> None:
    def name(component: str) -> str:
        return find_part(llava.model, llava.stages, component).name

    assert name("projector + vision.4+vision.5") == "vision.4-5+projector"
    assert name("vision.2-2") == "vision.2"
    assert name("llm.1+llm.embed+llm.3") == "llm.embed+llm.1+llm.3"
    part = find_part(llava.model, llava.stages, "vision.5+projector", "bias")
    assert part.name == "vision.5+projector:bias" and part.components == ("vision", "projector")
    assert part.parameters and all(parameter.endswith("bias") for parameter in part.parameters)
    assert Part("llm", ("llm",), (), None).first == "llm"


def test_layers_do_not_take_their_neighbours_of_more_digits() -> None:
    from transformers import AutoModelForImageTextToText, CLIPVisionConfig, LlamaConfig, LlavaConfig

    vision = CLIPVisionConfig(hidden_size=8, intermediate_size=8, num_hidden_layers=12, num_attention_heads=2)
    text = LlamaConfig(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, vocab_size=40)
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(LlavaConfig(vision_config=vision, text_config=text))
    stages = find_stages(model)
    one, many = find_part(model, stages, "vision.1"), find_part(model, stages, "vision.10-11")
    assert not set(one.parameters) & set(many.parameters) and len(many.parameters) == 2 * len(one.parameters)
    assert find_part(model, stages, "vision.9+vision.10").name == "vision.9-10"


@pytest.mark.parametrize(
    ("component", "words"),
    [
        ("retina", r"Unknown component 'retina'. Expected one of vision, projector, llm, layers of one \(vision.18-23"),
        ("vision.", "Unknown component 'vision.'"),
        ("vision+", "Unknown component ''"),
        ("vision.5-2", "ends before it begins.*Write 'vision.2-5'"),
        ("vision+vision.3", "'vision' and 'vision.3' overlap"),
        ("llm+llm", "'llm' and 'llm' overlap"),
        ("vision.3-5+vision.5", "'vision.3-5' and 'vision.5' overlap"),
        ("llm.embed+llm", "'llm.embed' and 'llm' overlap"),
    ],
)
def test_a_name_that_no_model_has_is_refused_before_one_is_loaded(component: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        check_component(component)
    check_component("vision.18-23+projector+llm.embed", "norm")
    with pytest.raises(InputError, match="Unknown only='gates'. Expected norm or bias"):
        check_component("llm", "gates")


@pytest.mark.parametrize(
    ("component", "only", "words"),
    [
        ("vision.0-6", None, r"'vision.0-6' goes beyond the last layer .*: vision has 6 layers, 0 to 5"),
        ("llm.4", None, "llm has 4 layers, 0 to 3"),
        ("vision.extra.0", None, r"Unknown part 'vision.extra.0' .* Expected layers of vision, llm"),
        ("projector.embed", None, "Unknown part 'projector.embed'"),
        ("llm", "bias", "'llm' of LlavaForConditionalGeneration has no biases, so only='bias' leaves nothing"),
        ("projector", "norm", "has no normalisation layers with weights, so only='norm'"),
    ],
)
def test_a_part_that_this_model_has_not_is_refused(llava: Mllm, component: str, only: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        find_part(llava.model, llava.stages, component, only)


def test_a_family_without_a_projector_says_so() -> None:
    model, stages = mapped("blip")
    with pytest.raises(InputError, match="has no projector to tune: its language model reads the vision tower itself"):
        find_part(model, stages, "projector")
    assert find_part(model, stages, "vision.0+llm").components == ("vision", "llm")
