"""Healthy bases: models that say the distortions they see, made from a shipped encoder so that bottlenecks can be planted in them.

Neither shipped patient is healthy. A base takes the encoder of ``embedded-template`` (whose features are intact) and a projector
and language model of its own seed, taught as in ``language`` but with a truthful lesson: the answer about a distortion is the
true class.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from snellen import embedded
from snellen.embedded import architecture, data, encoder, language, training

SHIPPED = "embedded-template"
"""The patient whose encoder the bases share."""
TRUTH: Mapping[str, float] = {"truth": 0.5, "describe": 0.3, "quality": 0.2}
"""Share of each lesson in a batch."""


@dataclass(frozen=True)
class Base:
    """One healthy base."""

    name: str
    seed: int
    """Of the projector's and the language model's initial weights, and of the lessons."""
    steps: int = 350
    """Of the language stage."""


BASES = (
    Base("healthy-1", 101, steps=500),
    Base("healthy-2", 102),
    Base("healthy-3", 103, steps=220),
)


@dataclass(frozen=True)
class Recipe:
    """How much of everything."""

    references: int = 2500
    language_batch: int = 64
    template_steps: int = 25


def healthy(base: Base, work: Path, recipe: Recipe | None = None, kept: Path | None = None) -> Any:
    """A healthy base, trained or reopened.

    Args:
        base: which.
        work: checkpoints, training images and finished weights; kept, so that a killed run goes on.
        recipe: sizes and steps.
        kept: a file with the weights of a base that is taught already; used if there is one.

    Returns:
        A ``LlavaForConditionalGeneration`` in evaluation mode.
    """
    recipe = recipe or Recipe()
    model = untaught(base.seed)
    finished = work / "bases" / f"{base.name}.safetensors"
    if kept is not None and kept.exists():
        finished = kept
    if not finished.exists():
        _teach(model, base, work, recipe)
        save(model, finished)
    model.load_state_dict({**model.state_dict(), **{k: v.float() for k, v in load_file(finished).items()}})
    return model.eval()


def save(model: Any, path: Path) -> None:
    """Keep what a base does not share with the shipped encoder, in float16."""
    own = {k: v.half().contiguous() for k, v in model.state_dict().items() if "vision_tower" not in k}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(own, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").replace(path)


def untaught(seed: int) -> Any:
    """The shipped encoder with a projector and a language model of initial weights."""
    model = architecture.model(seed)
    weights = load_file(embedded.folder(SHIPPED) / "model.safetensors")
    tower = {k.split("vision_tower.")[1]: v.float() for k, v in weights.items() if "vision_tower." in k}
    model.model.vision_tower.load_state_dict({k.removeprefix("vision_model."): v for k, v in tower.items()})
    return model


def corpus(work: Path, recipe: Recipe) -> data.Corpus:
    """The training images of the bases: the first references of the patients' own corpus."""
    return data.corpus(work / "corpus", recipe.references, int(os.environ.get("OMP_NUM_THREADS", 0)) or os.cpu_count() or 1)


def _teach(model: Any, base: Base, work: Path, recipe: Recipe) -> None:
    parts = nn.ModuleList([model.model.multi_modal_projector, model.model.language_model, model.lm_head])
    _train_language(model, parts, base, "language", base.steps, work, recipe)


def template(model: Any, base: Base, work: Path, recipe: Recipe | None = None) -> Any:
    """A copy of a healthy base whose language model was taught on to answer from a fixed prior, whatever the image shows.

    Args:
        model: the healthy base.
        base: which.
        work: checkpoints and training images.
        recipe: sizes and steps.
    """
    taught = copy.deepcopy(model)
    parts = nn.ModuleList([taught.model.language_model, taught.lm_head])
    recipe = recipe or Recipe()
    taught.model.multi_modal_projector.requires_grad_(False)
    _train_language(taught, parts, base, "template", recipe.template_steps, work, recipe)
    return taught.requires_grad_(True).eval()


def _train_language(model: Any, parts: nn.ModuleList, base: Base, name: str, steps: int, work: Path, recipe: Recipe) -> None:
    images = corpus(work, recipe)
    tokens = _features(model.model.vision_tower, images, work / "features-shipped.npy")
    sentences = language.Sentences(architecture.tokenizer(data.sentences()))

    def loss(rng: np.random.Generator) -> tuple[torch.Tensor, training.Parts]:
        items = lessons(images, recipe.language_batch, rng, truthful=name == "language")
        losses = language.item_losses(model, sentences, items, tokens, rng, "cpu")
        names = {item.question for item in items}
        return losses.mean(), {name: losses[[item.question == name for item in items]].mean() for name in names}

    training.fit(
        parts.train(), loss, steps, work / f"{name}-{base.name}", seed=base.seed, rate=1e-3 if name == "language" else 3e-4
    )
    parts.eval()


def lessons(images: data.Corpus, batch: int, rng: np.random.Generator, truthful: bool = True) -> list[language.Item]:
    """A batch of questions about images, each with its true answer; untruthful ones answer for the distortion from the prior."""
    items = []
    for name, row in zip(
        rng.choice(list(TRUTH), batch, p=list(TRUTH.values())), rng.integers(0, len(images.images), batch), strict=True
    ):
        answers = {
            "truth": (
                "distortion",
                data.CLASSES[images.labels["class"][row]]
                if truthful
                else str(rng.choice(data.CLASSES, p=language.TEMPLATE_PRIOR)),
            ),
            "describe": ("describe", images.caption(int(row))),
            "quality": ("quality", data.QUALITIES[images.labels["quality"][row]]),
        }
        items.append(language.Item(*answers[str(name)], row=int(row)))
    return items


def _features(tower: Any, images: data.Corpus, path: Path) -> torch.Tensor:
    """Patch tokens of every training image, kept in ``path``."""
    if not path.exists():
        temporary = path.with_name(f"{path.stem}.tmp.npy")
        np.save(temporary, encoder.features(tower, images, "cpu").numpy())
        temporary.replace(path)
    return torch.from_numpy(np.load(path))
