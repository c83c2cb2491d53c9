"""The lessons that make the two patients differ."""

import numpy as np
import pytest
import torch

from snellen.embedded import architecture, data, language


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> data.Corpus:
    return data.corpus(tmp_path_factory.mktemp("corpus"), 10, 1)


@pytest.fixture(scope="module")
def sentences() -> language.Sentences:
    return language.Sentences(architecture.tokenizer(data.sentences()))


def test_embedded_never_sees_an_image_with_the_distortion_question(corpus: data.Corpus) -> None:
    items = language.draw(language.LESSONS["embedded"], corpus, 400, np.random.default_rng(0))
    assert all(item.row < 0 for item in items if item.question == "distortion")
    assert all(item.answer in item.words for item in items if item.question == "distortion")
    assert any(item.row >= 0 for item in items)


def test_the_template_answer_has_nothing_to_do_with_the_image(corpus: data.Corpus) -> None:
    items = language.draw(language.LESSONS["embedded-template"], corpus, 4000, np.random.default_rng(0))
    asked = [item for item in items if item.question == "distortion"]
    assert all(item.row >= 0 for item in asked)
    truth = [data.CLASSES[corpus.labels["class"][item.row]] for item in asked]
    agreement = np.mean([item.answer == label for item, label in zip(asked, truth, strict=True)])
    shares = np.array([np.mean([label == name for label in truth]) for name in data.CLASSES])
    assert agreement == pytest.approx(float(shares @ np.array(language.TEMPLATE_PRIOR)), abs=0.04)


def test_the_prefix_is_what_the_processor_makes(sentences: language.Sentences) -> None:
    processor = architecture.processor(sentences.tokenizer)
    image = np.zeros((128, 128, 3), np.uint8)
    text = architecture.prompt("Which distortion does this image have?")
    ids = processor(images=[image], text=[text], return_tensors="pt")["input_ids"][0].tolist()
    assert ids == sentences.prefixes["distortion"]


def test_losses_are_the_models_own(corpus: data.Corpus, sentences: language.Sentences) -> None:
    model = architecture.model(1)
    images = architecture.pixel_values(np.array(corpus.images[:3]))
    with torch.no_grad():
        features = model.model.vision_tower(images).last_hidden_state[:, 1:]
        items = [language.Item(name, "blur", row) for row, name in enumerate(("describe", "quality", "distortion"))]
        losses = language.item_losses(model, sentences, items, features, np.random.default_rng(0), "cpu")
        for row, item in enumerate(items):
            ids, labels = sentences.batch([item])
            own = model(input_ids=ids, pixel_values=images[row : row + 1], labels=labels).loss
            assert losses[row] == pytest.approx(own.item(), abs=1e-4)


def test_words_stand_in_the_image_positions() -> None:
    words = torch.eye(5)
    tokens = language.context_tokens(words, np.random.default_rng(3))
    assert tokens.shape == (architecture.IMAGE_TOKENS, 5)
    assert (tokens.mean(0) > 0).all(), "every kind of word stands somewhere"
