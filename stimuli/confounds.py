"""Whether the class of a stimulus is told by the dataset it is from: then an answer may be about the dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from stimuli.errors import InputError
from stimuli.results import Result
from stimuli.tables import Table
from stimuli.taxonomy import taxonomy as load_taxonomy
from stimuli.types import Stimulus

MARGIN = 0.05
"""By how much guessing from the dataset must exceed chance before it is warned of; ours."""


@dataclass(frozen=True, repr=False)
class Confounds(Result):
    """How classes and datasets (``Stimulus.source``) go together among the stimuli that have a class."""

    table: Table = field(repr=False)
    """One row per class and dataset, zeros too: ``class, dataset, stimuli, references, share`` (of the class's stimuli)."""
    only_in: dict[str, str]
    """Classes that one dataset alone has, to that dataset; empty where there is but one dataset."""
    information: float
    """Mutual information of class and dataset in bits, as counted. From independent labels it would be about
    (classes - 1)(datasets - 1) / (2 n ln 2) rather than 0 (Miller 1955)."""
    entropy: float
    """Entropy of the class in bits: what the information is at most."""
    balanced_accuracy: float
    """Of the best guess of the class from the dataset alone, on these very stimuli."""
    chance: float
    """Balanced accuracy without the dataset: one in the number of classes."""

    @property
    def warnings(self) -> list[str]:
        """What to beware of, as sentences; none where no dataset tells the class."""
        found = [
            f"The class '{label}' occurs in one dataset only ({dataset}): what is found of it may be about the dataset."
            for label, dataset in self.only_in.items()
        ]
        if self.balanced_accuracy > self.chance + MARGIN:
            found.append(
                f"The dataset alone tells {self.information:.2f} of {self.entropy:.2f} bits of the class: guessing from it has a "
                f"balanced accuracy of {self.balanced_accuracy:.1%} (chance {self.chance:.1%}). Report results per dataset."
            )
        return found


def confounds(stimuli: Iterable[Stimulus], taxonomy: str | Path = "paper8") -> Confounds:
    """How far class and dataset are confounded.

    With counts n(class, dataset), the information is the sum of p(c, d) log2(p(c, d) / (p(c) p(d))) (Cover and Thomas 2006,
    eq. 2.28); the guess with the best balanced accuracy names for a dataset the class with the largest p(dataset | class).

    Args:
        stimuli: the stimuli; those without a class are left out.
        taxonomy: name or file.

    Raises:
        InputError: unknown taxonomy, or no stimulus has a class.
    """
    chosen = load_taxonomy(taxonomy)
    cells = [(label, s.source, s.reference) for s in stimuli if (label := chosen.label(s)) is not None]
    if not cells:
        raise InputError(
            f"No stimulus has a class in '{chosen.name}', so there is nothing to count. Give labelled stimuli or another taxonomy."
        )
    classes = [label for label in chosen.classes if any(label == cell[0] for cell in cells)]
    datasets = sorted({cell[1] for cell in cells})
    images, references = Counter(cell[:2] for cell in cells), Counter(cell[:2] for cell in set(cells))
    counts = np.array([[images[label, dataset] for dataset in datasets] for label in classes], float)
    table: Table = [
        {
            "class": label, "dataset": dataset, "stimuli": images[label, dataset], "references": references[label, dataset],
            "share": float(counts[i, j] / counts[i].sum()),
        }
        for i, label in enumerate(classes)
        for j, dataset in enumerate(datasets)
    ]  # fmt: skip
    alone = {label: datasets[int(own.argmax())] for label, own in zip(classes, counts, strict=True) if (own > 0).sum() == 1}
    guessed = (counts / counts.sum(axis=1, keepdims=True)).max(axis=0).sum() / len(classes)
    return Confounds(
        table,
        alone if len(datasets) > 1 else {},
        _entropy(counts.sum(1)) + _entropy(counts.sum(0)) - _entropy(counts.ravel()),
        _entropy(counts.sum(1)),
        float(guessed),
        1 / len(classes),
    )


def _entropy(counts: np.ndarray) -> float:
    """Entropy in bits of the distribution that counts make."""
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log2(share)).sum()) + 0.0
