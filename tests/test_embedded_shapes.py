"""Two organisms of other shapes around the encoder of ``embedded``."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from hooks.answer import generate
from hooks.load import load
from snellen.embedded import architecture, data, healthy, language, resampler, shapes, training
from snellen.models import load as named

ROOT = Path(__file__).parent.parent
NAMES = ("wide", "resampler")
SHAPES = {shape.name: shape for shape in shapes.QUICK.shapes}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> data.Corpus:
    return data.corpus(tmp_path_factory.mktemp("corpus"), 4, 1)


@pytest.fixture(scope="module", params=NAMES)
def made(request: pytest.FixtureRequest) -> tuple[str, Any, Any, language.Sentences]:
    return (request.param, *shapes.untaught(SHAPES[request.param]))


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark_shapes", ROOT / "benchmarks" / "shapes.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def visible(name: str, model: Any, images: torch.Tensor) -> torch.Tensor:
    """The encoder's tokens as the projector gets them."""
    with torch.no_grad():
        tokens: torch.Tensor = shapes.tower(model)(images).last_hidden_state
    return tokens if name == "resampler" else tokens[:, 1:]


def test_the_encoder_is_that_of_embedded(made: tuple[str, Any, Any, Any]) -> None:
    images = torch.randn(2, 3, architecture.IMAGE_SIZE, architecture.IMAGE_SIZE)
    with torch.no_grad():
        own = shapes.tower(made[1])(images, output_hidden_states=True).hidden_states
        theirs = named("embedded").model.model.vision_tower(images, output_hidden_states=True).hidden_states
    assert len(own) == len(theirs) == 7
    assert all(torch.equal(a, b) for a, b in zip(own, theirs, strict=True))


def test_a_prompt_is_what_the_processor_makes_and_no_word_stands_for_the_image(made: tuple[str, Any, Any, Any]) -> None:
    name, model, processor, sentences = made
    tokenizer = processor.tokenizer
    assert len(tokenizer) <= architecture.VOCABULARY
    for word in (*data.CLASSES, *data.QUALITIES):
        assert len(tokenizer(f" {word}", add_special_tokens=False)["input_ids"]) == 1
    image = np.full((architecture.IMAGE_SIZE,) * 2 + (3,), 77, np.uint8)
    question = "Which distortion does this image have?"
    batch = processor(
        images=[image], text=[question if name == "resampler" else architecture.prompt(question)], return_tensors="pt"
    )
    assert batch["input_ids"][0].tolist() == sentences.prefixes["distortion"]
    assert torch.equal(batch["pixel_values"], architecture.pixel_values(image[None])), "the pixels must pass unresized"
    shown = slice(sentences.start, sentences.start + architecture.IMAGE_TOKENS)
    if name == "resampler":
        assert batch["image_embeds_position_mask"][0].nonzero()[:, 0].tolist() == list(range(shown.start, shown.stop))
        ids = batch["input_ids"][0, shown]
        assert len(resampler.tokenizer(data.sentences())) <= ids.min() and ids.max() < len(tokenizer)
    else:
        assert set(batch["input_ids"][0, shown].tolist()) == {model.config.image_token_id}


def test_losses_are_the_models_own(made: tuple[str, Any, Any, Any], corpus: data.Corpus) -> None:
    name, model, processor, sentences = made
    images = architecture.pixel_values(np.array(corpus.images[:3]))
    items = [language.Item(question, "blur", row) for row, question in enumerate(("describe", "quality", "distortion"))]
    with torch.no_grad():
        losses = language.item_losses(model, sentences, items, visible(name, model, images), np.random.default_rng(0), "cpu")
        for row, item in enumerate(items):
            ids, labels = sentences.batch([item])
            mask = torch.zeros_like(ids)
            mask[:, sentences.start : sentences.start + architecture.IMAGE_TOKENS] = 1
            named = {"image_embeds_position_mask": mask} if name == "resampler" else {}
            own = model(input_ids=ids, pixel_values=images[row : row + 1], **named).logits[:, :-1]
            expected = torch.nn.functional.cross_entropy(own.transpose(1, 2), labels[:, 1:], ignore_index=-100)
            assert losses[row] == pytest.approx(expected.item(), abs=1e-4)


@pytest.mark.heavy
def test_an_organism_is_taught_saved_and_examined_like_any_other(
    made: tuple[str, Any, Any, Any], corpus: data.Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its folder loads by plain transformers and by Snellen, every stage proven."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    monkeypatch.setattr(healthy, "corpus", lambda work, recipe: corpus)
    name, untaught, _, _ = made
    shown: list[torch.Tensor] = []
    teach = language.train_language

    def watched(*given: Any) -> None:
        shown.append(given[4])
        teach(*given)

    monkeypatch.setattr(language, "train_language", watched)
    folder = shapes.build(SHAPES[name], tmp_path, shapes.QUICK)
    seen = visible(name, untaught, architecture.pixel_values(np.array(corpus.images[:2])))
    assert torch.allclose(shown[0][:2].float(), seen, rtol=1e-3, atol=1e-2), "rounded to 16 bits"
    assert folder == tmp_path / name and not (tmp_path / f"language-{name}").exists()
    model, processor = AutoModelForImageTextToText.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    assert type(model) is type(untaught) and model.dtype == torch.float32
    taught = {
        key for key, value in model.state_dict().items() if not torch.equal(value, untaught.state_dict()[key].half().float())
    }
    assert taught and not any("vision" in key for key in taught), "the encoder is frozen"
    mllm = load(folder)
    assert type(mllm.processor) is type(processor)
    assert mllm.stages.proof is not None and mllm.stages.read_layer == "vision.5"
    blocks = 6 if name == "wide" else 4
    assert [site for site in mllm.stages.sites if site.startswith("llm")] == ["llm.embed", *(f"llm.{i}" for i in range(blocks))]
    assert mllm.stages.proof.firings["projector"].shape == (2, 64, 256 if name == "wide" else 160)
    assert all(firing.alive for firing in mllm.stages.proof.firings.values())
    assert len(generate(mllm, [np.array(corpus.images[0])] * 2, ["What does this image show?"] * 2, progress=False)) == 2
    monkeypatch.setattr(shapes, "untaught", None)
    assert shapes.build(SHAPES[name], tmp_path, shapes.QUICK) == folder, "a finished one is left as it is"


@pytest.mark.heavy
def test_the_queries_learn_to_tell_images_apart(corpus: data.Corpus, tmp_path: Path) -> None:
    """Four images, one of each answer; whoever sees no image is at chance, log(4) on the word and 0 on the end token."""
    model, _, sentences = shapes.untaught(SHAPES["resampler"])
    tokens = visible("resampler", model, architecture.pixel_values(np.array(corpus.images[::6])))
    items = [language.Item("describe", word, row) for row, word in enumerate(("red", "blue", "green", "white"))]

    def loss(rng: np.random.Generator) -> tuple[torch.Tensor, training.Parts]:
        return language.item_losses(model, sentences, items, tokens, rng, "cpu").mean(), {}

    training.fit(language.taught_parts(model).train(), loss, 6, tmp_path, seed=0, rate=1e-3)
    assert loss(np.random.default_rng(0))[0].item() < 0.5 * np.log(4) / 2


def test_the_section_replaces_itself_and_nothing_else(script: ModuleType) -> None:
    old, new = f"{script.BEGIN}\nold\n{script.END}", f"{script.BEGIN}\nnew\n{script.END}"
    assert script.replaced(f"# Page\n\n{old}\n\nby hand\n", new) == f"# Page\n\n{new}\n\nby hand\n"
    once = script.replaced("# Page\n\n## How to read it\nby hand\n", new)
    assert once == f"# Page\n\n## How to read it\nby hand\n\n{new}\n"
    assert script.replaced(once, new) == once
    assert script.replaced("", new) == f"{new}\n"
