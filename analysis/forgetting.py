"""What a model knew besides distortions, and how much of it is left after tuning: content, quality, general answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from analysis.captions import Captions, captions_kept, token_f1
from analysis.quality import IDENTICAL, Quality, known_truth, quality
from analysis.quality_scores import compare_correlations
from hooks.asks import Ask
from hooks.load import Mllm
from hooks.respond import respond
from probes.intervals import Difference, Interval, group_bootstrap, holm, paired_difference
from stimuli.errors import InputError
from stimuli.tables import Table
from stimuli.types import Stimulus, StimulusSet

GENERAL = (
    "What is the main subject of this image?",
    "Which colours are in this image?",
    "Where could this image have been taken?",
)
"""Questions about the content that have nothing to do with quality; ours."""
AGREEMENT = ("description", "general answers")
"""Measures that are 1 before by construction: any other word is a loss, so that a test of it would always find one."""
SCORED = ("colour", "shape", "quality")
"""Shares of right answers, where the truth is known."""
REHEARSED = ("description", "colour", "shape", "quality", "quality SRCC")
"""Measures of answers to the questions that tuning replays (``tuning.lessons.REPLAYED``)."""


@dataclass(frozen=True)
class Knowledge:
    """What a model says besides distortions."""

    captions: Captions
    quality: Quality | None
    """Scores by Q-Align's five words; None where there is no truth to hold them against."""
    general: Table = field(repr=False)
    """Rows: id, reference, question, answer; clean images only."""


def knowledge(
    mllm: Mllm,
    stimuli: StimulusSet | Sequence[Stimulus],
    *,
    questions: Sequence[str] = GENERAL,
    max_new_tokens: int = 24,
    out: str | Path | None = None,
    batch_size: int = 32,
    progress: bool = True,
    n_boot: int = 1000,
    seed: int = 0,
) -> Knowledge:
    """Ask a model what tuning must not make it forget.

    Args:
        mllm: the model.
        stimuli: the same as after tuning; captions and quality of all, general questions about the clean ones (all, if none is clean).
        questions: the general ones.
        max_new_tokens: of their answers.
        out: folder of answers; what is found there is not asked again.
        batch_size: images per forward pass.
        progress: show progress bars.
        n_boot: resamples of references.
        seed: of the resamples.
    """
    how: dict[str, Any] = {"out": out, "batch_size": batch_size, "progress": progress}
    captions = captions_kept(mllm, stimuli, n_boot=n_boot, seed=seed, **how)
    scores = quality(mllm, stimuli, n_boot=n_boot, seed=seed, **how)["q-align"] if _has_truth(stimuli) else None
    clean = [s for s in stimuli if s.type is None] or list(stimuli)
    asks = [Ask(f"general-{number}", text, max_new_tokens=max_new_tokens) for number, text in enumerate(questions)]
    found = respond(mllm, clean, asks, **how) if asks else {}
    by_id = {s.id: s for s in clean}
    rows: Table = [
        {"id": id, "reference": by_id[id].reference, "question": ask.prompt, "answer": text}
        for ask in asks
        for id, text in zip(found[ask.name].ids, found[ask.name].first, strict=True)
    ]
    return Knowledge(captions, scores, rows)


def _has_truth(stimuli: StimulusSet | Sequence[Stimulus]) -> bool:
    try:
        known_truth(stimuli)
    except InputError:
        return False
    return True


def forgotten(before: Knowledge, after: Knowledge, n_boot: int = 1000, seed: int = 0) -> Table:
    """How what a model knows has changed, paired over the same images, intervals over references, Holm over the measures.

    ``colour``, ``shape`` and ``quality`` are shares of right answers; ``quality SRCC`` is that of the scores with the truth;
    ``description`` and ``general answers`` are the token F1 of an answer with that before tuning (SQuAD's, Rajpurkar et al. 2016), so
    that before is 1 and the change is what is lost.

    ``rehearsed`` tells measures of what tuning replays, the description (of which ``colour`` and ``shape`` are read) and the quality
    word, from ``general answers``, to questions that tuning never asks. That the former last shows that replays work, on images that
    were not replayed; what is lost where nothing is rehearsed (also of the former, if tuning had no replays) shows in the latter alone.

    Returns:
        Rows: measure, n, before, after, after_low, after_high, change, low, high, p, rehearsed, p_holm. Measures without a truth are
        left out; those of ``AGREEMENT`` have no p.
    """
    rows: Table = []
    first = {row["id"]: row for row in before.captions.table}
    both = [(first[row["id"]], row) for row in after.captions.table if row["id"] in first]
    groups = np.array([old["reference"] for old, _ in both])
    for name in SCORED:
        old, new = (_numbers([pair[side][name] for pair in both]) for side in (0, 1))
        rows += _row(name, old, new, groups, n_boot, seed)
    kept = np.array([token_f1(new["describe"], old["describe"]) for old, new in both])
    rows += _row("description", np.ones(len(kept)), kept, groups, n_boot, seed)
    rows += _ranks(before.quality, after.quality, n_boot, seed)
    answers = {(row["id"], row["question"]): row["answer"] for row in before.general}
    again = [row for row in after.general if (row["id"], row["question"]) in answers]
    kept = np.array([token_f1(row["answer"], answers[row["id"], row["question"]]) for row in again])
    rows += _row("general answers", np.ones(len(kept)), kept, np.array([row["reference"] for row in again]), n_boot, seed)
    for row in rows:
        row |= {"p": None, "p_holm": None} if row["measure"] in AGREEMENT else {}
    tested = [row for row in rows if row["p"] is not None]
    for row, p in zip(tested, holm([row["p"] for row in tested]) if tested else [], strict=True):
        row["p_holm"] = p
    return rows


def _numbers(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], float)


def _row(name: str, old: np.ndarray, new: np.ndarray, groups: np.ndarray, n_boot: int, seed: int) -> Table:
    """One row, or none if fewer than two references know the truth."""
    known = np.isfinite(old) & np.isfinite(new)
    if len(np.unique(groups[known])) < 2:
        return []
    old, new, groups = old[known], new[known], groups[known]
    return [
        _told(
            name,
            len(new),
            old.mean(),
            group_bootstrap(new, groups, n_boot, seed),
            paired_difference(old, new, groups, n_boot, seed),
        )
    ]


def _ranks(old: Quality | None, new: Quality | None, n_boot: int, seed: int) -> Table:
    """The row of the scores' correlation with the truth; none if there is no truth, or scores that cannot be ranked."""
    if old is None or new is None or old.ids != new.ids:
        return []
    truth = _numbers([row[old.truth] for row in old.table])
    if old.truth == "psnr":
        truth = np.where(truth >= IDENTICAL, np.nan, truth)
    known = np.isfinite(truth)
    groups = np.array([row["reference"] for row in old.table])
    found = compare_correlations(old.scores[known], new.scores[known], truth[known], groups[known], n_boot, seed)
    after = new.correlations.srcc
    if found.srcc is None or after is None or old.correlations.srcc is None:
        return []
    return [_told("quality SRCC", found.n, old.correlations.srcc.value, after, found.srcc)]


def _told(name: str, n: int, before: float, after: Interval, change: Difference) -> dict[str, Any]:
    return {
        "measure": name, "n": n, "before": float(before), "after": after.value, "after_low": after.low, "after_high": after.high,
        "change": change.value, "low": change.low, "high": change.high, "p": change.p, "rehearsed": name in REHEARSED,
    }  # fmt: skip
