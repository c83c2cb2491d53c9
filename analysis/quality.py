"""Quality scores: do they follow opinion, or at least measured severity, and are they the same twice?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from analysis.monotonicity import Monotonicity, monotonicity
from analysis.quality_methods import METHODS, NUMBERS, Method, Scored, method, paraphrased
from analysis.quality_scores import Correlations, correlations
from analysis.spread import flips, spread
from hooks.load import Mllm
from hooks.respond import respond
from stimuli.errors import InputError
from stimuli.prompts import paraphrases
from stimuli.results import Result
from stimuli.tables import Table
from stimuli.types import Stimulus, StimulusSet
from stimuli.views import UNSEEN, view

Truth = Literal["mos", "ssim", "psnr"]
TRUTHS = ("mos", "ssim", "psnr")
IDENTICAL = 100.0


@dataclass(frozen=True, repr=False)
class Quality(Result):
    """Scores of one method and how well they follow the truth; intervals are over references."""

    method: str
    truth: str
    """``mos``, or the measured severity that stands in for it: ``ssim``, ``psnr``."""
    ids: tuple[str, ...] = field(repr=False)
    scores: np.ndarray = field(repr=False)
    """float (n,), higher is better; NaN is unparsed."""
    levels: np.ndarray = field(repr=False)
    """float (n,): 1 to 5."""
    table: Table = field(repr=False)
    """One row per stimulus: ``id, reference, type, level, psnr, ssim, mos, score, quality_level, undecided, raw``."""
    correlations: Correlations
    monotonicity: Monotonicity | None
    """Per distortion type; None where no two versions of an image differ in measured severity."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, without the rows."""
        falls = None if self.monotonicity is None else self.monotonicity.as_dict()
        return {"method": self.method, "truth": self.truth, "correlations": self.correlations.as_dict(), "monotonicity": falls}


def quality(
    mllm: Mllm,
    stimuli: StimulusSet | Sequence[Stimulus],
    methods: str | Sequence[str | Method] = "q-align",
    *,
    truth: Truth | None = None,
    out: str | Path | None = None,
    n_boot: int = 1000,
    seed: int = 0,
    **how: Any,
) -> dict[str, Quality]:
    """Ask for the quality of every image.

    Args:
        mllm: the model.
        stimuli: what to show.
        methods: one or several of ``analysis.quality_methods.METHODS``, or methods made there; asked together.
        truth: what scores are compared with; by default opinion scores where every stimulus has one, else SSIM, else PSNR (in which
            identical images have no place).
        out: folder of answers; what is found there is not asked again.
        n_boot: resamples of references.
        seed: of the resamples.
        **how: further arguments of ``hooks.respond.respond``.

    Returns:
        By the name of the method.

    Raises:
        InputError: unknown method or truth, or no truth to compare with.
    """
    chosen = [methods] if isinstance(methods, str) else list(methods)
    made = [method(m) if isinstance(m, str) else m for m in chosen]
    against = truth or known_truth(stimuli)
    if not np.isfinite(truth_of(list(stimuli), against)).any():
        raise _nothing(stimuli, f"none has {against}")
    found = respond(mllm, stimuli, [m.ask for m in made], out, **how)
    there = set(next(iter(found.values())).ids)
    shown = [s for s in stimuli if s.id in there]
    return {m.name: _scored(m, m.read(found[m.name]), shown, against, n_boot, seed) for m in made}


def known_truth(stimuli: StimulusSet | Sequence[Stimulus]) -> str:
    """The best truth that is known of every stimulus.

    Raises:
        InputError: none is.
    """
    for name in TRUTHS:
        if all(getattr(s, name) is not None for s in stimuli) and np.isfinite(truth_of(list(stimuli), name)).any():
            return name
    raise _nothing(stimuli, "not all have mos, ssim or psnr")


def _nothing(stimuli: Sequence[Stimulus], came: str) -> InputError:
    return InputError(
        f"Scores of these {len(stimuli)} stimuli have nothing to be compared with: {came}. Show a dataset with opinion scores, or distorted "
        "versions that were measured (sn.stimuli.distorted_set(..., measure=True))."
    )


def severity_of(stimuli: Sequence[Stimulus]) -> tuple[np.ndarray, str]:
    """How distorted each image is, larger is worse, NaN where unknown; and by what: 1 − SSIM if all distorted ones have it, else −PSNR."""
    structural = all(s.ssim is not None for s in stimuli if s.type is not None)
    measured = [s.ssim if structural else s.psnr for s in stimuli]
    severity = np.array([np.nan if value is None else -float(value) for value in measured])
    return (severity + 1, "1 − SSIM") if structural else (severity, "−PSNR")


def truth_of(stimuli: Sequence[Stimulus], truth: str) -> np.ndarray:
    """The truth of each image, higher is better; NaN where unknown, and for the PSNR of identical images."""
    if truth not in TRUTHS:
        raise InputError(f"Unknown truth '{truth}'. Expected one of {', '.join(TRUTHS)}. Use one of these.")
    values = np.array([np.nan if getattr(s, truth) is None else float(getattr(s, truth)) for s in stimuli])
    return np.where(values >= IDENTICAL, np.nan, values) if truth == "psnr" else values


def _scored(by: Method, own: Scored, shown: Sequence[Stimulus], truth: str, n_boot: int, seed: int) -> Quality:
    scores, levels = own.scores[:, 0], own.levels[:, 0]
    groups, true = np.array([s.reference for s in shown]), truth_of(shown, truth)
    known = np.isfinite(true)
    table: Table = [
        {"id": s.id, "reference": s.reference, "type": s.type, "level": s.level, "psnr": s.psnr, "ssim": s.ssim, "mos": s.mos,
         "score": _number(scores[i]), "quality_level": _number(levels[i]), "undecided": _number(own.undecided[i]), "raw": own.raw[i]}
        for i, s in enumerate(shown)
    ]  # fmt: skip
    follows = correlations(scores[known], true[known], groups[known], n_boot, seed)
    falls = _falls(scores, shown, groups, n_boot, seed)
    return Quality(by.name, truth, tuple(s.id for s in shown), scores, levels, table, follows, falls)


def _falls(scores: np.ndarray, shown: Sequence[Stimulus], groups: np.ndarray, n_boot: int, seed: int) -> Monotonicity | None:
    try:
        return monotonicity(scores, [s.type for s in shown], severity_of(shown)[0], groups, n_boot, seed)
    except InputError:  # no two images differ in severity alone
        return None


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


# ---- twice -----------------------------------------------------------------------------------------------------------

SCORE_OVER = ("repeats", "paraphrases", "pixels")


def score_methods(
    over: Sequence[str] = SCORE_OVER,
    kind: str = "q-align",
    *,
    repeated: str = "number",
    repeats: int = 5,
    temperature: float = 1.0,
    max_new_tokens: int | None = None,
    texts: Sequence[str] | None = None,
    seed: int = 0,
) -> dict[str, list[Method]]:
    """What is asked for each kind of consistency of scores; the arguments are those of ``score_consistency``.

    Raises:
        InputError: unknown kind or method.
    """
    unknown = [name for name in over if name not in SCORE_OVER]
    if unknown or not over or kind not in METHODS or repeated not in NUMBERS:
        raise InputError(
            f"Got the consistency of '{kind}' and '{repeated}' over {list(over)}. Expected methods among {', '.join(METHODS)} and "
            f"{', '.join(NUMBERS)}, over some of {', '.join(SCORE_OVER)}. Use these."
        )
    made: dict[str, list[Method]] = {}
    if "repeats" in over:
        drawn: dict[str, Any] = {"repeats": repeats, "temperature": temperature, "max_new_tokens": max_new_tokens, "seed": seed}
        made["repeats"] = [method(repeated, name=f"{repeated}, drawn", **drawn)]
    if "paraphrases" in over:
        made["paraphrases"] = paraphrased(kind, texts or paraphrases("quality"))
    if "pixels" in over:
        made["pixels"] = [method(kind, view=view(name), name=f"{kind}, {name}") for name in ("image", *UNSEEN)]
    return made


def score_consistency(
    mllm: Mllm,
    stimuli: StimulusSet | Sequence[Stimulus],
    over: Sequence[str] = SCORE_OVER,
    method: str = "q-align",
    *,
    repeated: str = "number",
    repeats: int = 5,
    temperature: float = 1.0,
    max_new_tokens: int | None = None,
    texts: Sequence[str] | None = None,
    out: str | Path | None = None,
    n_boot: int = 1000,
    seed: int = 0,
    **how: Any,
) -> dict[str, dict[str, Any]]:
    """How much the score of one image changes when it is asked for again.

    Args:
        mllm: the model.
        stimuli: what to show.
        over: ``repeats`` (numbers drawn at a temperature), ``paraphrases`` (by default DeQA-Score's ten) and ``pixels`` (changes that no
            one sees).
        method: of paraphrases and pixels.
        repeated: of the repeats, a method that asks for a number.
        repeats: numbers drawn per image.
        temperature: at which they are drawn.
        max_new_tokens: of a drawn answer.
        texts: other paraphrases.
        out: folder of answers.
        n_boot: resamples of references.
        seed: of everything drawn.
        **how: further arguments of ``hooks.respond.respond``.

    Returns:
        By kind: ``method``, ``times``, ``parsed`` (share of answers with a score), ``spread`` and ``flips`` (``analysis.agreement``), None
        with a ``note`` where no image has two scores.

    Raises:
        InputError: unknown kind or method.
    """
    made = score_methods(over, method, repeated=repeated, repeats=repeats, temperature=temperature, max_new_tokens=max_new_tokens,
                         texts=texts, seed=seed)  # fmt: skip
    found = respond(mllm, stimuli, [m.ask for own in made.values() for m in own], out, **how)
    there = set(next(iter(found.values())).ids)
    groups = np.array([s.reference for s in stimuli if s.id in there])
    return {kind: _twice(own, [m.read(found[m.name]) for m in own], groups, n_boot, seed) for kind, own in made.items()}


def _twice(made: Sequence[Method], found: Sequence[Scored], groups: np.ndarray, n_boot: int, seed: int) -> dict[str, Any]:
    scores, levels = (np.concatenate([getattr(one, name) for one in found], 1) for name in ("scores", "levels"))
    parsed = np.isfinite(scores)
    entry: dict[str, Any] = {"method": made[0].kind, "times": scores.shape[1], "parsed": float(parsed.mean())}
    if len(set(groups[parsed.sum(1) > 1])) < 2:
        return {**entry, "spread": None, "flips": None, "note": "fewer than two references have an image with two scores"}
    spreads, turns = spread(scores, groups, n_boot=n_boot, seed=seed), flips(levels, groups, n_boot=n_boot, seed=seed)
    return {**entry, "spread": spreads.as_dict(), "flips": turns.as_dict(), "note": ""}


def scores_by(found: Mapping[str, Quality]) -> Table:
    """One row per stimulus and method."""
    return [{"method": name, **row} for name, own in found.items() for row in own.table]
