"""Two more organisms with the encoder of ``embedded``: ``python -m snellen.embedded.shapes``.

What the exam finds in ``embedded`` could hang on its size or on its projector. ``wide`` has the same projector in front of a
language model of another size, ``resampler`` a language model of the same size behind another projector, in another family. Both
read the same encoder, weight by weight, and are taught by the lessons of ``embedded`` on its frozen features. They are not
shipped: the folders are written to ``--work``. Seeded and resumable, on one thread or many.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from snellen.embedded import architecture, data, healthy, language, resampler
from snellen.models import load

PATIENT = "embedded"
"""Whose encoder and lessons both have."""
WIDE: Mapping[str, Any] = {"hidden_size": 256, "intermediate_size": 688, "num_hidden_layers": 6, "num_attention_heads": 8}
"""The language model of ``wide``: 3.8 times the parameters in its blocks that ``embedded`` has."""
WORK = Path("runs/shapes")


@dataclass(frozen=True)
class Shape:
    """One organism."""

    name: str
    seed: int
    """Of the initial weights and of the lessons."""
    steps: int


@dataclass(frozen=True)
class Recipe:
    """How much of everything."""

    shapes: tuple[Shape, ...] = (Shape("wide", 201, 300), Shape("resampler", 202, 800))
    references: int = 2500
    batch: int = 64


QUICK = Recipe((Shape("wide", 201, 1), Shape("resampler", 202, 1)), references=4, batch=2)
"""Proves that the recipe runs; the models it makes know nothing."""


def build(shape: Shape, work: Path, recipe: Recipe | None = None) -> Path:
    """Teach one organism, or go on teaching it, and write its folder.

    Args:
        shape: which.
        work: training images, features, checkpoints and the finished folders.
        recipe: sizes.

    Returns:
        The folder, loadable by ``snellen.load`` and ``AutoModelForImageTextToText``; one that is finished is left as it is.
    """
    recipe, folder = recipe or Recipe(), work / shape.name
    if folder.exists():
        return folder
    model, processor, sentences = untaught(shape)
    images = healthy.corpus(work, healthy.Recipe(references=recipe.references))
    tokens = features(tower(model), images, work / "features.npy")
    language.train_language(
        model,
        processor.tokenizer,
        PATIENT,
        images,
        tokens if shape.name == "resampler" else tokens[:, 1:],
        shape.steps,
        recipe.batch,
        work / f"language-{shape.name}",
        "cpu",
        shape.seed,
        sentences,
    )
    unfinished = folder.with_name(f"{shape.name}.tmp")
    architecture.save(model.eval(), processor, unfinished)
    unfinished.rename(folder)
    shutil.rmtree(work / f"language-{shape.name}")
    return folder


def untaught(shape: Shape) -> tuple[Any, Any, language.Sentences]:
    """Model, processor and prompts of a shape: the encoder of ``embedded``, the rest of initial weights."""
    if shape.name == "resampler":
        processor = resampler.processor(resampler.tokenizer(data.sentences()))
        model = resampler.model(shape.seed)
        sentences = language.Sentences(processor.tokenizer, resampler.prefixes(processor))
    else:
        processor = architecture.processor(architecture.tokenizer(data.sentences()))
        model, sentences = architecture.model(shape.seed, WIDE), language.Sentences(processor.tokenizer)
    tower(model).load_state_dict(tower(load(PATIENT).model).state_dict())
    return model, processor, sentences


def tower(model: Any) -> Any:
    """The vision transformer of a LLaVA or a Kosmos-2; both have CLIP's, with the same names."""
    return model.vision_model.model if model.config.model_type == "kosmos-2" else model.model.vision_tower


def features(tower: Any, images: data.Corpus, path: Path, batch: int = 250) -> torch.Tensor:
    """Tokens of the last block for every training image, CLS first, float16 (n, 65, 192); kept in ``path``."""
    if not path.exists():
        temporary = path.with_name(f"{path.stem}.tmp.npy")
        shape = len(images.images), 1 + architecture.IMAGE_TOKENS, architecture.VISION["hidden_size"]
        made = np.lib.format.open_memmap(temporary, "w+", np.float16, shape)
        with torch.inference_mode():
            for start in tqdm(range(0, len(made), batch), desc="features"):
                pixels = architecture.pixel_values(np.array(images.images[start : start + batch]))
                made[start : start + batch] = tower(pixels).last_hidden_state.half().numpy()
        made.flush()
        temporary.replace(path)
    return torch.from_numpy(np.load(path, mmap_mode="c"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line of ``python -m snellen.embedded.shapes``."""
    parser: Any = argparse.ArgumentParser(prog="python -m snellen.embedded.shapes", description=__doc__)
    parser.add_argument("--work", type=Path, default=WORK, help="training images, checkpoints and the organisms' folders")
    parser.add_argument("--only", nargs="+", choices=[shape.name for shape in Recipe().shapes], help="not both")
    parser.add_argument("--quick", action="store_true", help="a proof that the recipe runs")
    options = parser.parse_args(arguments)
    recipe = QUICK if options.quick else Recipe()
    for shape in recipe.shapes:
        if options.only is None or shape.name in options.only:
            print(build(shape, options.work, recipe))


if __name__ == "__main__":
    main()
