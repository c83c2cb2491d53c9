"""The constraints on visual tokens: which there are, what each is about and needs, and how a user names them."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import torch

from stimuli.errors import InputError
from tuning import losses
from tuning.lessons import Lesson

WEIGHTS: Mapping[str, float] = {
    "align": 0.3,
    "align-cosine": 0.5,
    "keep": 1.5,
    "distill": 1.5,
    "order": 0.3,
    "decorrelate": 1.0,
}
"""Weights unless given, ours: those of ``align`` and ``keep`` were chosen on the embedded models, the others by likeness to them."""
NEEDS_PAIRS = frozenset({"order"})
"""Constraints about two severities of one image: their lessons come in pairs that must stay in one pass."""
NEEDS_CONTENT = frozenset({"decorrelate"})
"""Constraints that look at the untouched model's tokens of the clean image of the same reference."""


@dataclass(frozen=True)
class Seen:
    """What the constraints of one pass look at; all tensors on one device."""

    lessons: Sequence[Lesson]
    tokens: Sequence[torch.Tensor]
    """Visual tokens of each lesson, (tokens, d), with their graph."""
    before: Mapping[int, torch.Tensor]
    """Position of a lesson to the tokens of its image in the untouched model, for those that ``needs_before`` names."""
    content: Mapping[int, torch.Tensor]
    """Position of a lesson to the untouched mean token (d,) of its reference, for those that ``needs_content`` names."""
    words: torch.Tensor
    """(k, d) embedding of each class's wording."""
    scale: float
    """Variance of the untouched model's tokens."""

    def means(self, rows: Sequence[int]) -> torch.Tensor:
        """Mean visual token of some lessons, float32 (rows, d)."""
        return torch.stack([self.tokens[row].float().mean(0) for row in rows])

    def targets(self, rows: Sequence[int]) -> torch.Tensor:
        """Class numbers of some lessons, (rows,)."""
        return torch.tensor([self.lessons[row].target for row in rows], device=self.words.device)


def parse_constraint(value: str | Mapping[str, float] | None, weight: float = 1.0) -> dict[str, float]:
    """Constraints and their weights.

    Args:
        value: names joined by ``+``, with the weights of ``WEIGHTS``; or name to weight; or None.
        weight: factor on all of them.

    Raises:
        InputError: an unknown name, or a weight that is negative or not a finite number.
    """
    named: dict[str, float | None] = dict.fromkeys(value.split("+")) if isinstance(value, str) else dict(value or {})
    _check_weight("constraint_weight", weight)
    for name, own in named.items():
        if name not in WEIGHTS:
            raise InputError(
                f"Unknown constraint '{name}'. Expected one of {', '.join(WEIGHTS)}, or several joined by '+', such as align+keep. "
                "Use one of these."
            )
        if own is not None:
            _check_weight(f"the weight of constraint '{name}'", own)
    return {name: weight * (WEIGHTS[name] if own is None else float(own)) for name, own in named.items()}


def _check_weight(what: str, value: float) -> None:
    if not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise InputError(
            f"Got {value!r} for {what}. Expected a finite number of at least 0; leave a constraint out to switch it off."
        )


def unit(constraints: Collection[str]) -> int:
    """How many neighbouring lessons must stay in one pass: 2 where lessons come in pairs, else 1."""
    return 2 if NEEDS_PAIRS & set(constraints) else 1


def rows_of(name: str, lessons: Sequence[Lesson]) -> list[int]:
    """Positions of the lessons that a part of the loss is about; of a pair, that of the first.

    Args:
        name: ``answer``, ``quality``, ``replay`` or a constraint.
        lessons: in order; pairs stand at positions 0 and 1, 2 and 3, ….
    """
    if name in ("align", "align-cosine", "decorrelate"):
        return [i for i, lesson in enumerate(lessons) if lesson.kind == "answer"]
    if name == "keep":
        return list(range(len(lessons)))
    if name == "distill":
        return [i for i, lesson in enumerate(lessons) if lesson.stimulus.type is None or lesson.stimulus.is_identity]
    if name == "order":
        return [i for i in range(0, len(lessons) - 1, 2) if lessons[i].paired(lessons[i + 1])]
    return [i for i, lesson in enumerate(lessons) if lesson.kind == name]


def needs_before(constraints: Collection[str], lessons: Sequence[Lesson]) -> list[int]:
    """Positions of the lessons whose image the untouched model must be shown."""
    return sorted({i for name in ("keep", "distill") if name in constraints for i in rows_of(name, lessons)})


def needs_content(constraints: Collection[str], lessons: Sequence[Lesson]) -> list[int]:
    """Positions of the lessons whose reference the untouched model must be shown."""
    return sorted({i for name in NEEDS_CONTENT if name in constraints for i in rows_of(name, lessons)})


def constrained(name: str, seen: Seen) -> tuple[torch.Tensor, int]:
    """One constraint: its mean over the rows that it is about, and their number (``rows_of``).

    Args:
        name: of the constraint.
        seen: one pass; there must be a row.
    """
    rows = rows_of(name, seen.lessons)
    return LOSSES[name](seen, rows).mean(), len(rows)


def _align(seen: Seen, rows: Sequence[int]) -> torch.Tensor:
    return losses.align_infonce(seen.means(rows), seen.words, seen.targets(rows))


def _align_cosine(seen: Seen, rows: Sequence[int]) -> torch.Tensor:
    return losses.align_cosine(seen.means(rows), seen.words, seen.targets(rows))


def _keep(seen: Seen, rows: Sequence[int]) -> torch.Tensor:
    now, before = (torch.cat([tokens[row] for row in rows]) for tokens in (seen.tokens, seen.before))
    return _by_image(losses.keep_content(now, before, seen.words, seen.scale), seen, rows)


def _distill(seen: Seen, rows: Sequence[int]) -> torch.Tensor:
    now, before = (torch.cat([tokens[row] for row in rows]) for tokens in (seen.tokens, seen.before))
    return _by_image(losses.distill(now, before, seen.scale), seen, rows)


def _by_image(values: torch.Tensor, seen: Seen, rows: Sequence[int]) -> torch.Tensor:
    """Means over the tokens of each image."""
    return torch.stack([own.mean() for own in values.split([len(seen.tokens[row]) for row in rows])])


def _order(seen: Seen, rows: Sequence[int]) -> torch.Tensor:
    ordered = [sorted((row, row + 1), key=lambda i: seen.lessons[i].stimulus.level or 0) for row in rows]
    mild, severe = (seen.means([pair[which] for pair in ordered]) for which in (0, 1))
    return losses.order_ranknet(mild, severe, seen.words, seen.targets(rows), seen.scale)


def _decorrelate(seen: Seen, rows: Sequence[int]) -> torch.Tensor:
    content = torch.stack([seen.content[row] for row in rows])
    return losses.decorrelate(seen.means(rows), content, seen.words, seen.scale)


LOSSES: Mapping[str, Callable[[Seen, Sequence[int]], torch.Tensor]] = {
    "align": _align,
    "align-cosine": _align_cosine,
    "keep": _keep,
    "distill": _distill,
    "order": _order,
    "decorrelate": _decorrelate,
}
"""One value per row, or one for all of them; sources and formulas in ``tuning.losses``."""
