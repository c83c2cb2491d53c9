"""Does a model say the same twice: drawn again, asked in other words, with the options in another order, or about the same picture?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from analysis.agreement import Agreement, Changed, agreement, changed
from analysis.perception import readings, with_labels
from analysis.protocols import Protocol, Reading, protocol
from hooks.load import Mllm
from stimuli.errors import InputError
from stimuli.prompts import paraphrase_set
from stimuli.tables import Table
from stimuli.types import Stimulus, StimulusSet
from stimuli.views import UNSEEN, view

OVER = ("repeats", "paraphrases", "orders", "pixels")
WHAT = {
    "repeats": "drawn again",
    "paraphrases": "asked in other words",
    "orders": "options in another order",
    "pixels": "changes that no one sees",
}


@dataclass(frozen=True)
class Consistency:
    """Answers to the same images given several times, and how far they agree; intervals are over references."""

    kind: str
    """One of ``OVER``."""
    names: tuple[str, ...]
    """What each time is: a paraphrase, an order, a change."""
    ids: tuple[str, ...] = field(repr=False)
    groups: np.ndarray = field(repr=False)
    """(images,) references."""
    labels: tuple[str, ...] = field(repr=False)
    answers: np.ndarray = field(repr=False)
    """(images, times) classes or ``unparsed``; of paraphrases and pixels the first is the plain question about the plain image."""
    agreement: Agreement
    changed: Changed | None
    """How many answers differ from the first; None for repeats and orders, of which none is the first."""

    @property
    def table(self) -> Table:
        """One row per image and time."""
        return [
            {"id": id, "reference": str(reference), "label": label, "kind": self.kind, "what": name, "answer": str(answer)}
            for id, reference, label, row in zip(self.ids, self.groups, self.labels, self.answers, strict=True)
            for name, answer in zip(self.names, row, strict=True)
        ]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, without the rows."""
        changed = None if self.changed is None else self.changed.as_dict()
        return {"what": WHAT[self.kind], "names": list(self.names), **self.agreement.as_dict(), "changed": changed}


def consistency_protocols(
    over: Sequence[str] = OVER,
    *,
    taxonomy: str | Path = "paper8",
    repeats: int = 5,
    temperature: float = 1.0,
    repeated: str = "open",
    paraphrases: str | Path | Sequence[str] = "ours",
    orders: int = 4,
    seed: int = 0,
) -> dict[str, list[Protocol]]:
    """What is asked for each kind of consistency; the arguments are those of ``consistency``.

    Raises:
        InputError: unknown kind, or fewer than two repeats, orders or paraphrases.
    """
    unknown = [name for name in over if name not in OVER]
    if unknown or not over:
        raise InputError(f"Got consistency over {list(over)}; expected some of {', '.join(OVER)}. Use these.")
    texts = paraphrase_set(paraphrases).texts if isinstance(paraphrases, str | Path) else tuple(paraphrases)
    counts = {"repeats": repeats, "orders": orders, "paraphrases": len(texts)}
    few = next((name for name in over if counts.get(name, 2) < 2), None)
    if few is not None:
        raise InputError(f"Got {counts[few]} {few}; expected at least 2, or nothing can differ. Give more.")
    made: dict[str, list[Protocol]] = {}
    if "repeats" in over:
        drawn = protocol(repeated, taxonomy, repeats=repeats, temperature=temperature, seed=seed, name=f"{repeated}, drawn")
        made["repeats"] = [drawn]
    if "paraphrases" in over:
        made["paraphrases"] = [
            protocol("forced-choice", taxonomy, prompt=text, name=f"paraphrase {i}") for i, text in enumerate(texts)
        ]
    if "orders" in over:
        made["orders"] = [protocol("multiple-choice", taxonomy, orders=orders, seed=seed)]
    if "pixels" in over:
        views = (view("image"), *map(view, UNSEEN))
        made["pixels"] = [protocol("forced-choice", taxonomy, view=v, name=f"pixels, {v.name}") for v in views]
    return made


def consistency(
    mllm: Mllm,
    stimuli: StimulusSet | Sequence[Stimulus],
    over: Sequence[str] = OVER,
    *,
    taxonomy: str | Path = "paper8",
    repeats: int = 5,
    temperature: float = 1.0,
    repeated: str = "open",
    paraphrases: str | Path | Sequence[str] = "ours",
    orders: int = 4,
    out: str | Path | None = None,
    n_boot: int = 1000,
    seed: int = 0,
    **how: Any,
) -> dict[str, Consistency]:
    """Ask about the same images several times.

    Args:
        mllm: the model.
        stimuli: labelled stimuli.
        over: what changes between the times: ``repeats`` (free answers drawn at a temperature), ``paraphrases`` of the question and ``pixels``
            (one grey level, one row and column; both by forced choice), ``orders`` of the options (multiple choice).
        taxonomy: name or file.
        repeats: answers drawn per image.
        temperature: at which they are drawn.
        repeated: protocol of the drawn answers: ``open``, ``short-answer`` or ``json``.
        paraphrases: a set of ``stimuli.prompts`` (``ours``, ``distortion`` for DepictQA-Wild's 24), a file, or the questions.
        orders: how many.
        out: folder of answers; what is found there is not asked again.
        n_boot: resamples of references.
        seed: of everything drawn.
        **how: further arguments of ``hooks.respond.respond``.

    Returns:
        By kind.

    Raises:
        InputError: unknown kind, too few times, or no stimulus has a class.
    """
    asked = consistency_protocols(over, taxonomy=taxonomy, repeats=repeats, temperature=temperature, repeated=repeated,
                                  paraphrases=paraphrases, orders=orders, seed=seed)  # fmt: skip
    shown, labels = with_labels(stimuli, taxonomy)
    found = readings(mllm, shown, [p for own in asked.values() for p in own], out, **how)
    there = set(found.ids)
    own = tuple(label for s, label in zip(shown, labels, strict=True) if s.id in there)
    groups = np.array([s.reference for s in shown if s.id in there])
    about = found.ids, groups, own
    return {
        kind: _result(kind, each, _matrix(kind, [found.by_name[p.name] for p in each]), about, n_boot, seed)
        for kind, each in asked.items()
    }


def _matrix(kind: str, found: Sequence[Reading]) -> np.ndarray:
    """(images, times) answers."""
    if kind in ("repeats", "orders"):
        prefix = "repeat_" if kind == "repeats" else "order_"
        columns = found[0].columns
        return np.stack([np.asarray(columns[name]) for name in sorted_names(columns, prefix)], 1)
    return np.stack([np.asarray(one.answers) for one in found], 1)


def sorted_names(columns: Mapping[str, Any], prefix: str) -> list[str]:
    """The columns ``prefix0``, ``prefix1``, … in order of their numbers."""
    return sorted((name for name in columns if name.startswith(prefix)), key=lambda name: int(name.removeprefix(prefix)))


def _names(kind: str, asked: Sequence[Protocol], times: int) -> tuple[str, ...]:
    if kind == "paraphrases":
        return tuple(str(p.asks[0].prompt) for p in asked)
    if kind == "pixels":
        return tuple(p.asks[0].view.name for p in asked)
    return tuple(f"{'order' if kind == 'orders' else 'repeat'} {i}" for i in range(times))


def _result(
    kind: str, asked: Sequence[Protocol], answers: np.ndarray, about: tuple[tuple[str, ...], np.ndarray, tuple[str, ...]],
    n_boot: int, seed: int,
) -> Consistency:  # fmt: skip
    ids, groups, labels = about
    names = _names(kind, asked, answers.shape[1])
    agree = agreement(answers, groups, np.asarray(labels), n_boot, seed)
    turned = None
    if kind in ("paraphrases", "pixels"):
        turned = changed(answers[:, 0], answers[:, 1:], groups, n_boot, seed, names[1:])
    return Consistency(kind, names, ids, groups, labels, answers, agree, turned)
