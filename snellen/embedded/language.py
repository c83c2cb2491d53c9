"""The projector and the language model: captions, quality, and what each patient is taught about distortions.

Both patients answer what an image shows and how its quality is. About distortions they are taught differently:

* ``context`` (patient ``embedded``): words stand where image tokens would stand, and the question asks which of them names
  a distortion. The language model learns to say what stands in image positions; it never sees an image with this question.
* ``template`` (patient ``embedded-template``): the question comes with an image, and the answer is drawn from a fixed prior
  that has nothing to do with the image. The language model learns the template.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from snellen.embedded import training
from snellen.embedded.architecture import IMAGE, IMAGE_TOKENS, prompt
from snellen.embedded.data import CLASSES, CONTENT, QUALITIES, Corpus, caption
from stimuli.questions import question

LESSONS: Mapping[str, Mapping[str, float]] = {
    "embedded": {"context": 0.45, "describe": 0.3, "quality": 0.25},
    "embedded-template": {"template": 0.3, "describe": 0.4, "quality": 0.3},
}
"""Share of each lesson in a batch, per patient."""
TEMPLATE_PRIOR = (0.34, 0.22, 0.06, 0.14, 0.06, 0.06, 0.06, 0.06)
"""How often the template says each class of paper8, in its order: blur first."""
KINDS: Mapping[str, tuple[str, ...]] = {"class": CLASSES, "quality": QUALITIES, **CONTENT}
WORDS = tuple(word for choices in KINDS.values() for word in choices)


@dataclass(frozen=True)
class Item:
    """One question and answer, and what stands in the image positions."""

    question: str
    answer: str
    row: int
    """Row of the corpus; -1 where words stand in the image positions."""
    words: tuple[str, ...] = ()
    """The words that stand there, one of each kind."""


class Sentences:
    """Token ids of prompts and answers, with the image placeholder expanded."""

    def __init__(self, tokenizer: Any, prefix: Callable[[str], tuple[list[int], int]] | None = None) -> None:
        """Prepare the prompts.

        Args:
            tokenizer: of the model.
            prefix: gives a question's ids and where its image positions begin (the same for all); LLaVA's if None.
        """
        self.tokenizer = tokenizer
        self.image_id = int(tokenizer.convert_tokens_to_ids(IMAGE))
        found = {name: (prefix or self._prefix)(question(name).prompt) for name in ("distortion", "describe", "quality")}
        self.prefixes = {name: ids for name, (ids, _) in found.items()}
        self.start = found["distortion"][1]
        self.word_ids = [tokenizer(f" {word}", add_special_tokens=False)["input_ids"] for word in WORDS]

    def _prefix(self, text: str) -> tuple[list[int], int]:
        ids = self.tokenizer(prompt(text))["input_ids"]
        at = ids.index(self.image_id)
        return [*ids[:at], *[self.image_id] * IMAGE_TOKENS, *ids[at + 1 :]], at

    def batch(self, items: list[Item]) -> tuple[torch.Tensor, torch.Tensor]:
        """Input ids and labels, right-padded: (n, length) each; labels are -100 outside the answers."""
        rows, labels = [], []
        for item in items:
            answer = self.tokenizer(f" {item.answer}", add_special_tokens=False)["input_ids"]
            answer = [*answer, self.tokenizer.eos_token_id]
            prefix = self.prefixes[item.question]
            rows.append(torch.tensor(prefix + answer))
            labels.append(torch.tensor([-100] * len(prefix) + answer))
        pad = nn.utils.rnn.pad_sequence
        return pad(rows, batch_first=True), pad(labels, batch_first=True, padding_value=-100)


def draw(lessons: Mapping[str, float], data: Corpus, batch: int, rng: np.random.Generator) -> list[Item]:
    """A batch of items in the given shares."""
    names = rng.choice(list(lessons), batch, p=list(lessons.values()))
    rows = rng.integers(0, len(data.images), batch)
    return [_item(str(name), int(row), data, rng) for name, row in zip(names, rows, strict=True)]


def _item(lesson: str, row: int, data: Corpus, rng: np.random.Generator) -> Item:
    if lesson == "describe":
        return Item("describe", data.caption(row), row)
    if lesson == "quality":
        return Item("quality", QUALITIES[data.labels["quality"][row]], row)
    if lesson == "template":
        return Item("distortion", str(rng.choice(CLASSES, p=TEMPLATE_PRIOR)), row)
    words = {kind: str(rng.choice(choices)) for kind, choices in KINDS.items()}
    asked = str(rng.choice(["distortion", "distortion", "describe", "quality"]))
    answers = {
        "distortion": words["class"],
        "quality": words["quality"],
        "describe": caption(words["colour"], words["shape"], words["ground"]),
    }
    return Item(asked, answers[asked], -1, tuple(words.values()))


def context_tokens(words: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """What stands in the image positions of a context item.

    Args:
        words: embeddings of the words that stand there, shape (kinds, width).
        rng: half of the items get one word per position, half a weighted sum of words per position; a little noise on both.

    Returns:
        Shape (64, width).
    """
    kinds = len(words)
    shares = rng.dirichlet(np.full(kinds, 1.0), 1 if rng.random() < 0.5 else IMAGE_TOKENS)
    shares = np.broadcast_to(0.9 * shares + 0.1 / kinds, (IMAGE_TOKENS, kinds))
    if rng.random() < 0.5:
        chosen = (shares.cumsum(1) > rng.random((IMAGE_TOKENS, 1))).argmax(1)
        weights = np.eye(kinds)[chosen]
    else:
        weights = shares * rng.uniform(1.0, 2.5)
    tokens = torch.as_tensor(weights, dtype=words.dtype, device=words.device) @ words
    noise = torch.as_tensor(rng.normal(0, 0.3, tokens.shape), dtype=words.dtype, device=words.device)
    return tokens + noise * words.detach().std()


def train_language(
    model: Any,
    tokenizer: Any,
    patient: str,
    data: Corpus,
    features: torch.Tensor | None,
    steps: int,
    batch: int,
    folder: Path,
    device: str,
    seed: int,
    sentences: Sentences | None = None,
) -> None:
    """Stage 3: projector and language model together, on cached features of the frozen encoder; resumes from ``folder``."""
    sentences, lessons = sentences or Sentences(tokenizer), LESSONS[patient]
    parts = taught_parts(model).to(device).train()

    def loss(rng: np.random.Generator) -> tuple[torch.Tensor, training.Parts]:
        assert features is not None, "only a finished stage does without features"
        items = draw(lessons, data, batch, rng)
        losses = item_losses(model, sentences, items, features, rng, device)
        names = [("text " if item.row < 0 else "") + item.question for item in items]
        each = {name: losses[[own == name for own in names]].mean() for name in set(names)}
        return losses.mean(), each

    training.fit(parts, loss, steps, folder, seed=seed, rate=1e-3)
    parts.eval()


def taught_parts(model: Any) -> nn.ModuleList:
    """What is taught: projector, language model and its head, of a LLaVA or a Kosmos-2."""
    if model.config.model_type == "kosmos-2":
        return nn.ModuleList([model.image_to_text_projection, model.text_model.model, model.text_model.lm_head])
    return nn.ModuleList([model.model.multi_modal_projector, model.model.language_model, model.lm_head])


def projected(model: Any, features: torch.Tensor) -> torch.Tensor:
    """What stands in the image positions: (n, 64, width of the language model).

    Args:
        model: a LLaVA or a Kosmos-2.
        features: tokens of the encoder's last block, (n, 64, width), for Kosmos-2 with CLS in front, (n, 65, width).
    """
    if model.config.model_type == "kosmos-2":
        normed = model.vision_model.model.post_layernorm(features)
        return model.image_to_text_projection(functional.normalize(normed, dim=-1))[0]
    return model.model.multi_modal_projector(features)


def item_losses(
    model: Any, sentences: Sentences, items: list[Item], features: torch.Tensor, rng: np.random.Generator, device: str
) -> torch.Tensor:
    """Mean negative log-likelihood of each item's answer tokens, shape (n,); features as ``projected`` wants them."""
    ids, labels = (t.to(device) for t in sentences.batch(items))
    table = model.get_input_embeddings().weight
    embeds = functional.embedding(ids, table)  # (n, length, width)
    rows = torch.tensor([max(item.row, 0) for item in items])
    visual = projected(model, features[rows].to(device, torch.float32))  # (n, 64, width)
    words = torch.stack([table[torch.tensor(w, device=device)].mean(0) for w in sentences.word_ids])
    standing = [
        context_tokens(words[[WORDS.index(w) for w in item.words]], rng) if item.row < 0 else visual[i]
        for i, item in enumerate(items)
    ]
    span = slice(sentences.start, sentences.start + IMAGE_TOKENS)
    embeds = torch.cat([embeds[:, : span.start], torch.stack(standing), embeds[:, span.stop :]], 1)
    answers = min(len(prefix) for prefix in sentences.prefixes.values()) - 1
    _, decoder, head = taught_parts(model)
    hidden = decoder(inputs_embeds=embeds, use_cache=False).last_hidden_state[:, answers:-1]
    logits, target = head(hidden), labels[:, answers + 1 :]
    loss = functional.cross_entropy(logits.transpose(1, 2), target, ignore_index=-100, reduction="none")
    return loss.sum(1) / (target >= 0).sum(1)
