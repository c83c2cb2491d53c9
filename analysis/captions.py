"""What the model says of content and quality: what tuning must not make it forget."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hooks.asks import Ask
from hooks.load import Mllm
from hooks.respond import respond
from probes.intervals import Interval, group_bootstrap
from stimuli.distortions import quality
from stimuli.questions import question
from stimuli.results import Result
from stimuli.tables import Table
from stimuli.types import Stimulus, StimulusSet
from tuning.lessons import REPLAY_TOKENS

CONTENT = ("colour", "shape")
"""What of a scene a description is held against."""
RECOLOURING = frozenset({
    "color_saturation_1", "color_saturation_2", "color_diffusion", "brighten", "darken", "mean_shift", "contrast_change"
})  # fmt: skip
"""Distortions after which a colour may rightly be called otherwise."""


@dataclass(frozen=True, repr=False)
class Captions(Result):
    """Answers about content and quality, and how many are right; None where the truth is not known."""

    table: Table = field(repr=False)
    colour: Interval | None
    """Share of descriptions that name the colour, where it is known."""
    shape: Interval | None
    quality: Interval | None
    """Share of quality answers that equal the word for the measured PSNR (``stimuli.distortions.quality``)."""
    agreement: Interval | None
    """Token F1 of the descriptions with those of another model (the untuned one), where given."""

    def as_dict(self) -> dict[str, Any]:
        """Flat, for tables and reports."""
        result: dict[str, Any] = {"n": len(self.table)}
        for name in ("colour", "shape", "quality", "agreement"):
            found = getattr(self, name)
            for key, attribute in ((name, "value"), (f"{name}_low", "low"), (f"{name}_high", "high")):
                result[key] = None if found is None else getattr(found, attribute)
        return result


def captions_kept(
    mllm: Mllm,
    stimuli: StimulusSet | Sequence[Stimulus],
    base: Captions | None = None,
    *,
    out: str | Path | None = None,
    batch_size: int = 64,
    max_new_tokens: int = REPLAY_TOKENS,
    progress: bool = True,
    n_boot: int = 1000,
    seed: int = 0,
) -> Captions:
    """Ask what every image shows and how its quality is.

    Colour and shape are scored where the stimulus knows them and its distortion leaves colour alone (desaturation and
    brightness change what colour a thing has); quality where PSNR was measured; agreement wherever ``base`` is given.

    Args:
        mllm: the model.
        stimuli: what to show.
        base: the untuned model's captions of the same stimuli.
        out: folder of answers; what is found there is not asked again.
        batch_size: images per forward pass.
        max_new_tokens: of an answer; as long as replays may be, so that what is measured is what they rehearse.
        progress: show a progress bar.
        n_boot: resamples of references.
        seed: of the resamples.
    """
    asks = caption_asks(max_new_tokens)
    found = respond(mllm, stimuli, asks, out, batch_size=batch_size, progress=progress)
    said = {ask.name: found[ask.name].first for ask in asks}
    kept = set(found[asks[0].name].ids)
    shown = [s for s in stimuli if s.id in kept]
    untuned = {} if base is None else {row["id"]: row["describe"] for row in base.table}
    table: Table = []
    for i, s in enumerate(shown):
        row: dict[str, Any] = {
            "id": s.id,
            "reference": s.reference,
            "describe": said["describe"][i],
            "said_quality": said["quality"][i],
        }
        row |= {name: named(s, said["describe"][i], name) for name in CONTENT}
        row["quality"] = None if s.psnr is None else float(said["quality"][i].strip().lower() == quality(s.psnr))
        row["agreement"] = token_f1(said["describe"][i], untuned[s.id]) if s.id in untuned else None
        table.append(row)
    groups = np.array([s.reference for s in shown])
    return Captions(table, *(_mean(table, name, groups, n_boot, seed) for name in ("colour", "shape", "quality", "agreement")))


def caption_asks(max_new_tokens: int = REPLAY_TOKENS) -> list[Ask]:
    """The questions of ``captions_kept``."""
    return [Ask(name, question(name).prompt, max_new_tokens=max_new_tokens) for name in ("describe", "quality")]


def token_f1(text: str, other: str) -> float:
    """Harmonic mean of token precision and recall (as in SQuAD, Rajpurkar et al. 2016), 0 to 1."""
    a, b = Counter(text.lower().split()), Counter(other.lower().split())
    both = sum((a & b).values())
    return 1.0 if not a and not b else 2 * both / max(1, sum(a.values()) + sum(b.values()))


def named(stimulus: Stimulus, text: str, attribute: str) -> float | None:
    """Whether a description names the colour or the shape of what is shown: 1 or 0; None where the truth is not known.

    Args:
        stimulus: what was shown; what a distortion did to its colour is not known.
        text: the description.
        attribute: of ``CONTENT``.
    """
    word = stimulus.attributes.get(attribute)
    if word is None or (attribute == "colour" and stimulus.type in RECOLOURING):
        return None
    return float(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text.lower()) is not None)


def _mean(table: Table, name: str, groups: np.ndarray, n_boot: int, seed: int) -> Interval | None:
    values = np.array([np.nan if row[name] is None else row[name] for row in table], float)
    known = np.isfinite(values)
    if len(np.unique(groups[known])) < 2:
        return None
    return group_bootstrap(values[known], groups[known], n_boot, seed)
