"""Two images in one question: which is the better one, asked in both orders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from analysis.pairwise import Pairwise, pairwise
from analysis.quality import known_truth, truth_of
from hooks.asks import Ask, Responses
from hooks.load import Mllm
from hooks.respond import respond
from stimuli.errors import InputError
from stimuli.prompts import fill
from stimuli.prompts import prompt as published
from stimuli.results import Result
from stimuli.tables import Table
from stimuli.types import Stimulus, StimulusSet
from stimuli.views import beside


@dataclass(frozen=True, repr=False)
class Preference(Result):
    """Which of two images a model calls better; intervals are over references."""

    truth: str
    result: Pairwise
    table: Table = field(repr=False)
    """One row per comparison: ``first, second, reference, turned, first_better`` (probability), ``said`` (id), ``right`` (None where both are
    equally good)."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, without the rows."""
        return {"truth": self.truth, **self.result.as_dict()}


def preference_asks(stimuli: Sequence[Stimulus], partners: int = 2, seed: int = 0) -> tuple[list[Ask], dict[str, list[str]]]:
    """The questions of ``preference``, and who stands beside whom: question to the id of each stimulus's partner.

    Every stimulus is asked about beside ``partners`` others of its reference, each in both orders; of few versions beside as many as there
    are pairs.
    """
    words = published("pairwise")
    others = [_others(stimuli, k + 1, seed) for k in range(partners)]
    asks = [
        Ask(f"pair {k}{' turned' if turned else ''}", fill(words), words.options, view=beside(stimuli, own, turned=turned))
        for k, own in enumerate(others)
        for turned in (False, True)
    ]
    return asks, {ask.name: [ask.view.partners[s.id].id for s in stimuli] for ask in asks}


def preference(
    mllm: Mllm,
    stimuli: StimulusSet | Sequence[Stimulus],
    *,
    partners: int = 2,
    truth: str | None = None,
    out: str | Path | None = None,
    n_boot: int = 1000,
    seed: int = 0,
    **how: Any,
) -> Preference:
    """Ask which of two versions of one reference is better; the likelier of "Image A" and "Image B" is the answer.

    Args:
        mllm: the model; it must take two images in one question.
        stimuli: what to show; references with fewer than three versions are left out.
        partners: how many others each stimulus is asked about beside (those that follow it in a random ring, so that all versions of a
            reference are connected).
        truth: as in ``sn.quality``.
        out: folder of answers.
        n_boot: resamples of references.
        seed: of the rings and the resamples.
        **how: further arguments of ``hooks.respond.respond``.

    Raises:
        InputError: no reference has three versions with a known truth, or the model takes one image alone.
    """
    against = truth or known_truth(stimuli)
    true = truth_of(list(stimuli), against)
    shown = comparable([s for s, value in zip(stimuli, true, strict=True) if np.isfinite(value)])
    asks, partner_ids = preference_asks(shown, partners, seed)
    found = respond(mllm, shown, asks, out, **how)
    place = {s.id: i for i, s in enumerate(shown)}
    told = [row for ask in asks for row in _rows(ask, found[ask.name], partner_ids[ask.name], shown, place)]
    rows = list({(row["first"], row["second"]): row for row in told}.values())
    first, second = (np.array([place[row[key]] for row in rows]) for key in ("first", "second"))
    groups = np.array([row["reference"] for row in rows])
    said = np.array([0.0 if row["first_better"] >= 0.5 else 1.0 for row in rows])
    own = truth_of(shown, against)
    result = pairwise(first, second, said, own, groups, n_boot, seed)
    for row, a, b in zip(rows, first, second, strict=True):
        row["right"] = None if own[a] == own[b] else bool((own[a] > own[b]) == (row["first_better"] >= 0.5))
    return Preference(against, result, rows)


def comparable(stimuli: Sequence[Stimulus]) -> list[Stimulus]:
    """The stimuli of references that have at least three.

    Raises:
        InputError: fewer than two references have.
    """
    count = Counter(s.reference for s in stimuli)
    kept = [s for s in stimuli if count[s.reference] > 2]
    if len({s.reference for s in kept}) < 2:
        raise InputError(
            f"Among {len(stimuli)} stimuli with a known truth, fewer than two references have three versions, so there is nothing to compare. "
            "Show more versions of each reference."
        )
    return kept


def _others(stimuli: Sequence[Stimulus], step: int, seed: int) -> list[Stimulus]:
    """Each one's partner: the next but so many in a random ring of its reference."""
    rng = np.random.default_rng([seed, 21])
    names = np.array([s.reference for s in stimuli])
    partner = np.empty(len(stimuli), int)
    for name in dict.fromkeys(names.tolist()):
        ring = rng.permutation(np.flatnonzero(names == name))
        partner[ring] = np.roll(ring, -(1 + (step - 1) % (len(ring) // 2)))
    return [stimuli[i] for i in partner]


def _rows(
    ask: Ask, found: Responses, partners: Sequence[str], shown: Sequence[Stimulus], place: dict[str, int]
) -> list[dict[str, Any]]:
    turned = ask.name.endswith("turned")
    rows = []
    for id, (a, b) in zip(found.ids, found.loglik, strict=True):
        other = partners[place[id]]
        first, second = (other, id) if turned else (id, other)
        better = float(1 / (1 + np.exp(np.clip(b - a, -700, 700))))
        rows.append({"first": first, "second": second, "reference": shown[place[id]].reference, "turned": turned, "first_better": better,
                     "said": first if better >= 0.5 else second})  # fmt: skip
    return rows
