"""Multiple-choice questions of the user's own, such as Q-Bench's: what is said, what is likeliest, and what is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax

from analysis.parsing import letter
from hooks.asks import Ask
from hooks.load import Mllm
from hooks.respond import respond
from probes.intervals import group_bootstrap
from stimuli.mcq import McqQuestion, McqSet
from stimuli.prompts import fill, letters
from stimuli.prompts import prompt as published
from stimuli.results import Result
from stimuli.tables import Row, Table

OVERALL = "overall"


@dataclass(frozen=True, repr=False)
class McqAnswers(Result):
    """Answers to multiple-choice questions; intervals are over images."""

    table: Table = field(repr=False)
    """One row per question: ``id, image, question, choices, type, concern, correct`` (choice, None where hidden), ``raw``, ``said`` (choice, or
    None: unparsed), ``right``, ``confidence``; and by the likelihood of the letters ``likeliest``, ``likeliest_right``, ``p``."""
    by_group: Table
    """Rows ``group, n, images, accuracy, low, high, unparsed, likeliest, likeliest_low, likeliest_high, chance``: overall, by type of question
    and by concern; empty where all right answers are hidden."""
    hidden: int
    """Questions whose right answer is not in the file."""

    @property
    def sentence(self) -> str:
        """The whole in one sentence."""
        if not self.by_group:
            return f"{len(self.table)} questions answered; none has its right answer in the file."
        row = self.by_group[0]
        return (
            f"{row['n']} questions about {row['images']} images: {row['accuracy']:.1%} right, {row['unparsed']:.1%} unparsed; by likelihood "
            f"{row['likeliest']:.1%} (chance {row['chance']:.1%})"
        )

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, without the rows."""
        return {"n": len(self.table), "hidden": self.hidden, "by_group": self.by_group}


def ask_mcq(
    mllm: Mllm,
    questions: McqSet,
    *,
    out: str | Path | None = None,
    max_new_tokens: int = 32,
    n_boot: int = 1000,
    seed: int = 0,
    **how: Any,
) -> McqAnswers:
    """Ask every question about its image, in Q-Bench's lettered form.

    The answer is what the greedy text names, by letter or by the choice's own words; anything else is unparsed and wrong. Beside it stands
    the likeliest letter, which always exists.

    Args:
        mllm: the model.
        questions: as ``stimuli.mcq.read_mcq`` reads them.
        out: folder of answers; what is found there is not asked again.
        max_new_tokens: of a free answer.
        n_boot: resamples of images.
        seed: of the resamples.
        **how: further arguments of ``hooks.respond.respond``.
    """
    asked, form = list(questions.questions), published("mcq")
    prompts = tuple(fill(form, question=q.question, options=list(q.choices)) for q in asked)
    most = letters(max(len(q.choices) for q in asked))
    asks = [Ask("said", prompts, max_new_tokens=max_new_tokens), Ask("letters", prompts, most)]
    found = respond(mllm, questions.stimuli, asks, out, **how)
    own = {q.id: q for q in asked}
    said, scored = found["said"], found["letters"]
    table = [
        _row(own[id], texts[0], float(sure[0]), likely)
        for id, texts, sure, likely in zip(said.ids, said.texts, said.confidence, scored.loglik, strict=True)
    ]
    known = [row for row in table if row["correct"] is not None]
    return McqAnswers(table, _groups(known, n_boot, seed) if known else [], len(table) - len(known))


def _row(asked: McqQuestion, text: str, sure: float, likely: np.ndarray) -> Row:
    said = letter(text, len(asked.choices), asked.choices)
    share = softmax(likely[: len(asked.choices)])
    best = int(share.argmax())
    known = asked.correct is not None
    return {
        "id": asked.id, "image": asked.reference or asked.image.as_posix(), "question": asked.question, "choices": list(asked.choices),
        "type": asked.question_type, "concern": asked.concern, "correct": asked.choices[asked.correct] if asked.correct is not None else None,
        "raw": text, "said": None if said is None else asked.choices[said], "right": said == asked.correct if known else None,
        "confidence": sure if np.isfinite(sure) else None, "likeliest": asked.choices[best],
        "likeliest_right": best == asked.correct if known else None, "p": float(share[best]),
    }  # fmt: skip


def _groups(rows: Table, n_boot: int, seed: int) -> Table:
    found = [_group(OVERALL, rows, n_boot, seed)]
    for key in ("type", "concern"):
        for name in dict.fromkeys(row[key] for row in rows if row[key]):
            found.append(_group(str(name), [row for row in rows if row[key] == name], n_boot, seed))
    return found


def _group(name: str, rows: Sequence[Row], n_boot: int, seed: int) -> Row:
    images = np.array([row["image"] for row in rows])
    several = len(set(images.tolist())) > 1
    columns: Row = {}
    for key, column in (("right", ""), ("likeliest_right", "likeliest_")):
        hits = np.array([float(row[key]) for row in rows])
        found = group_bootstrap(hits, images, n_boot, seed) if several else None
        columns |= {
            (column.rstrip("_") or "accuracy"): float(hits.mean()),
            f"{column}low": found and found.low,
            f"{column}high": found and found.high,
        }
    unparsed = float(np.mean([row["said"] is None for row in rows]))
    chance = float(np.mean([1 / len(row["choices"]) for row in rows]))
    return {
        "group": name,
        "n": len(rows),
        "images": len(set(images.tolist())),
        **columns,
        "unparsed": unparsed,
        "chance": chance,
    }
