"""Training, validation and test parts of a set: by reference, with every class, type, level and dataset in proportion."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from itertools import combinations
from pathlib import Path
from typing import Literal

import numpy as np

from stimuli.errors import InputError
from stimuli.tables import Table
from stimuli.taxonomy import CLEAN
from stimuli.taxonomy import taxonomy as load_taxonomy
from stimuli.types import Stimulus, StimulusSet

By = Literal["class", "type", "source"]
NAMES = ("train", "validation", "test")
NO_CLASS = "none"
ATTEMPTS = 20
"""Orders that are tried before a class is said not to fit into every part."""


@dataclass(frozen=True, repr=False)
class Split:
    """Parts of a set that share no reference, also made of a dataset's official lists: ``Split(train, None, test)``."""

    train: StimulusSet
    validation: StimulusSet | None = None
    test: StimulusSet | None = None
    by: By = "class"
    """What is counted."""
    taxonomy: str | Path | None = None
    """Whose classes are counted; None for ``paper8``."""

    def __post_init__(self) -> None:
        """Refuse parts that leak, and unknown words."""
        _labeller(self.by, self.taxonomy)
        self.check()

    def check(self) -> None:
        """Prove that no reference is in two parts.

        Raises:
            InputError: one is; the references are named.
        """
        for (one, a), (other, b) in combinations(self.parts.items(), 2):
            both = sorted(set(a.references) & set(b.references))
            if both:
                raise InputError(
                    f"The split leaks: {len(both)} references are in both {one} and {other} ({', '.join(both[:3])}). Expected "
                    "every reference, with all its versions, in one part. Leave them out of one, or use stimuli.splits.split."
                )

    @property
    def parts(self) -> dict[str, StimulusSet]:
        """The parts that there are, by name."""
        own = zip(NAMES, (self.train, self.validation, self.test), strict=True)
        return {name: part for name, part in own if part is not None}

    @property
    def counts(self) -> Table:
        """One row per part and class (or type, or dataset): ``part, class, stimuli, references``."""
        label = _labeller(self.by, self.taxonomy)
        cells = {name: [(label(s), s.reference) for s in part] for name, part in self.parts.items()}
        images = {name: Counter(own for own, _ in found) for name, found in cells.items()}
        groups = {name: Counter(own for own, _ in set(found)) for name, found in cells.items()}
        labels = _ordered({own for counted in images.values() for own in counted}, self.by, self.taxonomy)
        return [
            {"part": name, self.by: own, "stimuli": images[name][own], "references": groups[name][own]}
            for name in self.parts
            for own in labels
        ]

    def __str__(self) -> str:
        """The counts as a table: stimuli, and references in brackets."""
        rows = self._cells()
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)

    def __repr__(self) -> str:
        """The counts as a table."""
        return f"Split by reference\n{self}"

    def _repr_html_(self) -> str:
        head, *rows = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in self._cells()]
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        return f"<table><thead><tr>{head.replace('td>', 'th>')}</tr></thead><tbody>{body}</tbody></table>"

    def _cells(self) -> list[list[str]]:
        """The table's cells: a row per class and one for all, a column per part."""
        found = {(row["part"], row[self.by]): f"{row['stimuli']} ({row['references']})" for row in self.counts}
        labels = dict.fromkeys(label for _, label in found)
        rows = [[label, *(found[name, label] for name in self.parts)] for label in labels]
        whole = ["all", *(f"{len(part)} ({len(part.references)})" for part in self.parts.values())]
        return [[self.by, *self.parts], *rows, whole]


def split(
    stimuli: StimulusSet,
    train: float = 0.7,
    validation: float = 0.15,
    test: float = 0.15,
    *,
    seed: int = 0,
    taxonomy: str | Path | None = None,
    by: By = "class",
) -> Split:
    """Deal the references of a set to parts, so that each part has its share of every class, type, level and dataset.

    Every class (type, dataset) that has at least as many references as there are parts is in each of them. References are
    dealt one by one, those of the rarest classes first, each to the part that then deviates least from its shares: the
    iterative stratification of Sechidis et al. (ECML 2011) with references in place of samples. scikit-learn splits by group
    and by one label into equal folds only; nested for three parts of unequal size it would promise no class to any.

    Args:
        stimuli: the set.
        train: share of the references, above 0; the three make 1.
        validation: share; with 0 there is no such part.
        test: share; with 0 there is no such part.
        seed: of the order in which references are dealt. The same seed makes the same split.
        taxonomy: whose classes; ``paper8`` if None.
        by: what every part must have: each ``class``, ``type`` or ``source`` (dataset). The others are kept in proportion.

    Raises:
        InputError: shares that are negative or do not make 1, fewer references than parts, or a class whose references cannot
            be dealt to every part.
    """
    shares = _shares(train, validation, test)
    references = stimuli.references
    if len(references) < len(shares):
        raise InputError(
            f"{len(shares)} parts need at least {len(shares)} references, got {len(references)} in '{stimuli.name}'. "
            "Show more references, or set a share to 0."
        )
    features, needed, labels = _features(stimuli, by, taxonomy)
    goals = np.array(list(shares.values()))
    for attempt in range(ATTEMPTS):
        part = _deal(features, needed, goals, np.random.default_rng([seed, attempt]))
        lacking = _lacking(needed, part, len(goals))
        if not lacking:
            break
    else:
        raise InputError(
            f"The references of {by} '{labels[lacking[0]]}' could not be dealt to all of {', '.join(shares)}: too many classes "
            "share too few references. Show more references, or set a share to 0."
        )
    where = dict(zip(references, part, strict=True))
    made = {name: _part(stimuli, name, where, number, shares, seed) for number, name in enumerate(shares)}
    return Split(made["train"], made.get("validation"), made.get("test"), by, taxonomy)


def _shares(train: float, validation: float, test: float) -> dict[str, float]:
    """The shares of the parts that there are."""
    given = dict(zip(NAMES, (train, validation, test), strict=True))
    if train <= 0 or min(given.values()) < 0 or abs(sum(given.values()) - 1) > 1e-6:
        told = ", ".join(f"{name}={share}" for name, share in given.items())
        raise InputError(f"Got {told}; expected shares of at least 0 that make 1, with some of it for training. Change them.")
    return {name: share for name, share in given.items() if share > 0}


def _labeller(by: str, taxonomy: str | Path | None) -> Callable[[Stimulus], str]:
    """What is counted of a stimulus."""
    if by == "class":
        label = load_taxonomy(taxonomy or "paper8").label
        return lambda s: label(s) or NO_CLASS
    if by == "type":
        return lambda s: s.type or CLEAN
    if by == "source":
        return lambda s: s.source
    raise InputError(f"Got by={by!r}; expected 'class', 'type' or 'source'. Use one of these.")


def _features(stimuli: StimulusSet, by: By, taxonomy: str | Path | None) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """What is to be shared out, and what every part must have.

    Returns:
        Shares (references, columns) of every class, type, level and dataset, of all stimuli and of all references, each
        column's sum being 1; which references have which label, bool (references, labels); the labels, "all" being one.
    """
    kinds = [_labeller("class", taxonomy), _labeller("type", None), _labeller("source", None), lambda s: str(s.level), _all]
    counted = [_counted(stimuli, kind)[0].astype(float) for kind in kinds]
    has, labels = _counted(stimuli, _labeller(by, taxonomy))
    features = np.concatenate([*counted, np.ones((len(has), 1))], axis=1)
    return features / features.sum(axis=0), np.concatenate([has > 0, np.ones((len(has), 1), bool)], axis=1), [*labels, "all"]


def _all(stimulus: Stimulus) -> str:
    return "all"


def _counted(stimuli: StimulusSet, label: Callable[[Stimulus], str]) -> tuple[np.ndarray, list[str]]:
    """Stimuli per reference and label, int (references, labels), and the labels."""
    given = [label(s) for s in stimuli]
    labels, rows = sorted(set(given)), {reference: row for row, reference in enumerate(stimuli.references)}
    columns = {own: column for column, own in enumerate(labels)}
    counts = np.zeros((len(rows), len(labels)), int)
    np.add.at(counts, ([rows[s.reference] for s in stimuli], [columns[own] for own in given]), 1)
    return counts, labels


def _deal(features: np.ndarray, needed: np.ndarray, goals: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The part of every reference, int (references,).

    First, rarest label first, one reference for each part that lacks the label; then all others, where they fit best. No part
    gets more than its share of the references, in whole numbers.
    """
    part = np.full(len(features), -1)
    room = _quotas(goals, len(features))
    held = np.zeros((len(goals), features.shape[1]))
    frequency = needed.sum(axis=0)

    def give(reference: int, number: int) -> None:
        part[reference] = number
        room[number] -= 1
        held[number] += features[reference]

    order = rng.permutation(len(features))
    for label in np.argsort(frequency, kind="stable"):
        own = order[needed[order, label]]
        for number in np.argsort(-goals, kind="stable"):
            free = own[part[own] < 0]
            if room[number] and len(own) >= len(goals) and len(free) and not (part[own] == number).any():
                give(free[needed[free].sum(axis=1).argmin()], int(number))
    rarest = np.where(needed, frequency, len(features)).min(axis=1)
    for reference in order[np.argsort(rarest[order], kind="stable")]:
        if part[reference] < 0:
            give(reference, _best(features[reference], held, goals, room))
    return part


def _quotas(goals: np.ndarray, references: int) -> np.ndarray:
    """How many references each part gets: its share, rounded by largest remainder, and at least one."""
    quotas = np.maximum(np.floor(goals * references + 1e-9).astype(int), 1)
    while quotas.sum() != references:
        step = 1 if quotas.sum() < references else -1
        short = step * (goals * references - quotas)
        quotas[np.where((quotas > 1) | (step > 0), short, -np.inf).argmax()] += step
    return quotas


def _best(own: np.ndarray, held: np.ndarray, goals: np.ndarray, room: np.ndarray) -> int:
    """The part with room that grows least in the sum of squared held shares over goals, a chi-squared distance up to a constant."""
    growth = ((2 * held + own) * own).sum(axis=1) / goals
    return int(np.where(room > 0, growth, np.inf).argmin())


def _lacking(needed: np.ndarray, part: np.ndarray, parts: int) -> list[int]:
    """The labels that have enough references for every part, and still are not in every part."""
    present = np.stack([needed[part == number].any(axis=0) for number in range(parts)]).all(axis=0)
    return [int(label) for label in np.flatnonzero((needed.sum(axis=0) >= parts) & ~present)]


def _part(
    stimuli: StimulusSet, name: str, where: dict[str, int], number: int, shares: dict[str, float], seed: int
) -> StimulusSet:
    """The stimuli of one part, with what is known of the split."""
    own = [s for s in stimuli if where[s.reference] == number]
    about = {"of": stimuli.name, "part": name, "shares": shares, "seed": seed}
    return StimulusSet(own, f"{stimuli.name}, {name}", {**stimuli.info, "part": about})


def _ordered(labels: set[str], by: By, taxonomy: str | Path | None) -> list[str]:
    """Labels in the taxonomy's order, or sorted."""
    first = load_taxonomy(taxonomy or "paper8").classes if by == "class" else ()
    return [label for label in first if label in labels] + sorted(labels - set(first))
