"""Reproduce the two patients: ``python -m snellen.embedded.train``.

Seeded, checkpointed and resumable: every stage writes a checkpoint under ``--work`` every few hundred steps, and a second
call goes on from there. A CUDA GPU is used when there is one. The stages and their times are in the model card.
"""

from __future__ import annotations

import argparse
import copy
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snellen import embedded
from snellen.embedded import architecture, data, encoder, language, training
from stimuli.tables import write_json


@dataclass(frozen=True)
class Recipe:
    """How much of everything."""

    references: int = 12000
    encoder_steps: int = 6000
    see_through_steps: int = 600
    see_through_from: int = 3
    """The block from which on the encoder of ``embedded`` is taught to see through distortions."""
    language_steps: int = 800
    encoder_batch: int = 96
    language_batch: int = 64
    seed: int = 0
    language_seeds: tuple[int, int] = (3, 2)
    """Of the language stage of each patient, added to ``seed``; chosen as the model card says."""


QUICK = Recipe(references=12, encoder_steps=4, see_through_steps=2, language_steps=4, encoder_batch=8, language_batch=8)
"""Proves that the recipe runs, in a minute; the models it makes know nothing."""


def train(work: Path, out: Path, recipe: Recipe, device: str) -> dict[str, float]:
    """Run the whole recipe.

    Args:
        work: checkpoints and training images; kept, so that a killed run goes on.
        out: one folder per patient is written here.
        recipe: sizes and steps.
        device: ``cpu`` or ``cuda``.

    Returns:
        Seconds per stage of this run.
    """
    seconds: dict[str, float] = {}
    clock = time.time()

    def lap(name: str) -> None:
        nonlocal clock
        seconds[name], clock = time.time() - clock, time.time()

    r = recipe
    images = data.corpus(work / "corpus", r.references, os.cpu_count() or 1)
    lap("corpus")
    tokenizer = architecture.tokenizer(data.sentences())
    model = architecture.model(r.seed).to(device)
    tower, readouts = model.model.vision_tower, encoder.Readouts().to(device)
    encoder.train_encoder(tower, readouts, images, r.encoder_steps, r.encoder_batch, work / "encoder", device, r.seed)
    lap("encoder")
    for patient, language_seed in zip(embedded.PATIENTS, r.language_seeds, strict=True):
        own = copy.deepcopy(model)
        own.model.vision_tower.load_state_dict(tower.state_dict())
        if patient == "embedded":
            encoder.see_through(
                own.model.vision_tower,
                images,
                r.see_through_steps,
                r.encoder_batch,
                r.see_through_from,
                work / "see-through",
                device,
                r.seed + 1,
            )
            lap("see-through")
        lessons = work / f"language-{patient}"
        finished = training.steps_done(lessons) >= r.language_steps
        tokens = None if finished else encoder.features(own.model.vision_tower, images, device)
        language.train_language(
            own,
            tokenizer,
            patient,
            images,
            tokens,
            r.language_steps,
            r.language_batch,
            lessons,
            device,
            r.seed + language_seed,
        )
        architecture.save(own.cpu().eval(), architecture.processor(tokenizer), out / patient)
        lap(f"language of {patient}")
    write_json(seconds, work / "seconds.json")
    return seconds


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line of ``python -m snellen.embedded.train``."""
    import torch

    parser: Any = argparse.ArgumentParser(prog="python -m snellen.embedded.train", description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("runs/embedded-training"), help="checkpoints and training images")
    parser.add_argument("--out", type=Path, default=Path(embedded.__file__).parent, help="where the patients are written")
    parser.add_argument("--quick", action="store_true", help="a minute-long proof that the recipe runs")
    options = parser.parse_args(arguments)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    seconds = train(options.work, options.out, QUICK if options.quick else Recipe(), device)
    print("; ".join(f"{name}: {value:.0f} s" for name, value in seconds.items()))


if __name__ == "__main__":
    main()
