"""Steps between classes in a site's features, to steer along: class-mean differences, a probe's directions, and controls.

Dose 1 is one natural class difference: the class-mean difference itself, or its projection onto the probe's direction. So doses mean
the same for all classes, kinds and sites. Adding class-mean differences: Subramani et al. 2022, Turner et al. 2023; a probe's direction
beside them: Li et al. 2023 (inference-time intervention).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from probes.controls import shuffled_labels
from probes.linear import PENALTIES, LinearProbe, fit
from stimuli.errors import InputError
from stimuli.taxonomy import CLEAN

KINDS = ("means", "probe")
CONTROLS = ("random", "shuffled")
"""``random``: drawn from N(0, Σ) of the features, as they vary by themselves, mostly with the content. ``shuffled``: a class-mean
difference by labels shuffled within references: where the versions of a reference differ, but to no class. Both as long as the step that
they stand beside."""
OTHERS = "others"


@dataclass(frozen=True, eq=False)
class Directions:
    """A step per class and kind, and the rows that they were fitted to."""

    classes: tuple[str, ...]
    """Those that there is a step to."""
    against: str
    """Where the steps begin: a class, or ``others``."""
    steps: Mapping[str, np.ndarray]
    """Kind to float64 (classes, d): what dose 1 adds."""
    values: np.ndarray = field(repr=False)
    """(n, d), of which controls are made; (0, d) for steps that were not fitted."""
    labels: np.ndarray = field(repr=False)
    """(n,) class names."""
    groups: np.ndarray = field(repr=False)
    """(n,) references."""
    site: str | None = None
    tokens: str | None = None
    """Which tokens' features these are, as ``analysis.steering.steer`` names them."""

    @property
    def references(self) -> tuple[str, ...]:
        """Those that the steps were fitted to; what steering does is measured on others."""
        return tuple(sorted(set(self.groups.tolist())))

    @property
    def controls(self) -> tuple[str, ...]:
        """The controls that can be made; without features random directions alone, drawn evenly."""
        return CONTROLS if len(self.values) else CONTROLS[:1]

    def norms(self, kind: str) -> np.ndarray:
        """Length of each class's step, (classes,)."""
        return np.asarray(np.linalg.norm(self.steps[kind], axis=1))

    def unit(self, control: str, seed: int) -> np.ndarray:
        """One draw of a control for every class, unit vectors (classes, d); to be scaled by ``norms``.

        Args:
            control: of ``controls``.
            seed: of the draw.

        Raises:
            InputError: a control that cannot be made.
        """
        if control not in self.controls:
            raise InputError(
                f"Got the control '{control}'; expected one of {', '.join(self.controls)}, which these directions allow. Fit directions to "
                "features for more."
            )
        count, width = len(self.classes), next(iter(self.steps.values())).shape[1]
        if control == "shuffled":
            labels = shuffled_labels(self.labels, self.groups, seed)
            return _units(mean_differences(self.values, labels, self.groups, self.classes, self.against))
        rng = np.random.default_rng([seed, 71])
        if not len(self.values):
            return _units(rng.normal(size=(count, width)))
        centred = self.values - self.values.mean(0)
        return _units(rng.normal(size=(count, len(centred))) @ centred)  # covariance n Σ; its length is not kept


def directions(
    values: np.ndarray,
    labels: Sequence[str] | np.ndarray,
    groups: Sequence[str] | np.ndarray,
    *,
    kinds: Sequence[str] = KINDS,
    classes: Sequence[str] | None = None,
    against: str = CLEAN,
    penalties: Sequence[float] = PENALTIES,
    seed: int = 0,
) -> Directions:
    """Steps to classes, fitted to rows of features.

    Args:
        values: (n, d), finite.
        labels: (n,) class names.
        groups: (n,) references.
        kinds: of ``KINDS``.
        classes: those wanted; by default all but ``against``.
        against: the class where steps begin, or ``others``: the mean of all other classes.
        penalties: of the probe, see ``probes.linear.fit``.
        seed: of the probe's inner folds.

    Raises:
        InputError: rows that do not fit together or are not finite, fewer than two references, or unknown kinds or classes.
    """
    x, names, refs = np.asarray(values, np.float64), np.asarray(labels).astype(str), np.asarray(groups).astype(str)
    _refuse_rows(x, names, refs)
    wanted = _wanted(names, kinds, classes, against)
    means = mean_differences(x, names, refs, wanted, against)
    steps = {"means": means}
    if "probe" in kinds:
        steps["probe"] = probe_steps(fit(x, names, refs, penalties=penalties, seed=seed), wanted, against, means)
    return Directions(wanted, against, {kind: steps[kind] for kind in kinds}, x, names, refs)


def given_directions(steps: Mapping[str, np.ndarray], *, site: str | None = None, against: str = CLEAN) -> Directions:
    """Directions of the user's own: class to what dose 1 adds, (d,).

    Raises:
        InputError: none, or vectors of different lengths, not finite, or zero.
    """
    rows = [np.asarray(step, np.float64) for step in steps.values()]
    if not rows or any(
        row.ndim != 1 or row.shape != rows[0].shape or not np.isfinite(row).all() or not row.any() for row in rows
    ):
        raise InputError(
            f"Got steps of shapes {[row.shape for row in rows]}; expected at least one, all of one length (d,), finite and not zero. Give "
            "a vector per class."
        )
    nothing = np.empty(0, str)
    return Directions(tuple(steps), against, {"given": np.stack(rows)}, np.empty((0, len(rows[0]))), nothing, nothing, site)


def mean_differences(
    values: np.ndarray, labels: np.ndarray, groups: np.ndarray, classes: Sequence[str], against: str = CLEAN
) -> np.ndarray:
    """Mean of each class less that of where steps begin, (classes, d).

    Paired: the mean over references of the difference within a reference, so that no content comes along that only one of the two was
    shown with; over all rows where no reference has both.

    Args:
        values: float64 (n, d).
        labels: (n,).
        groups: (n,).
        classes: those wanted.
        against: a class, or ``others``: the mean of the other classes' means.
    """
    known, label = np.unique(labels, return_inverse=True)
    names, group = np.unique(groups, return_inverse=True)
    cell, cells = group * len(known) + label, len(names) * len(known)
    order = np.argsort(cell, kind="stable")
    shown, starts = np.unique(cell[order], return_index=True)
    flat = np.zeros((cells, values.shape[1]))
    flat[shown] = np.add.reduceat(values[order], starts)
    sums = flat.reshape(len(names), len(known), -1)
    counts = np.bincount(cell, minlength=cells).reshape(len(names), len(known))
    found = []
    for name in classes:
        one = known == name
        other = ~one if against == OTHERS else known == against
        paired = _difference(sums, counts, one, other)
        found.append((paired if len(paired) else _difference(sums.sum(0)[None], counts.sum(0)[None], one, other)).mean(0))
    return np.stack(found)


def _difference(sums: np.ndarray, counts: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Per reference, (references, d): those that show the class and at least one of the others."""
    there = (counts[:, one] > 0).all(1) & (counts[:, other] > 0).any(1)
    means = sums[there] / np.maximum(counts[there], 1)[:, :, None]  # (references, all classes, d)
    shown = (counts[there] > 0) & other
    rest = (means * shown[:, :, None]).sum(1) / shown.sum(1)[:, None]
    return np.asarray(means[:, one][:, 0] - rest)


def probe_steps(probe: LinearProbe, classes: Sequence[str], against: str, means: np.ndarray) -> np.ndarray:
    """The projection of each class-mean difference onto the direction along which a probe tells the two apart, (classes, d).

    With u the unit vector of w_class − w_against (or less the mean of the other classes' weights), it is (Δ·u) u: one natural class
    difference along u, at most as long as Δ.

    Args:
        probe: fitted, multiclass.
        classes: those wanted.
        against: a class, or ``others``.
        means: (classes, d), the class-mean differences Δ.

    Raises:
        InputError: the probe does not know a class.
    """
    known = list(probe.classes)
    missing = [name for name in (*classes, *([] if against == OTHERS else [against])) if name not in known]
    if missing:
        raise InputError(f"The probe does not know '{missing[0]}'; expected one of {', '.join(known)}. Fit it to all classes.")
    weights, found = probe.coef.T, []
    for name, step in zip(classes, means, strict=True):
        one = known.index(name)
        rest = np.delete(weights, one, 0).mean(0) if against == OTHERS else weights[known.index(against)]
        unit = _units((weights[one] - rest)[None])[0]
        found.append((step @ unit) * unit)
    return np.stack(found)


def _units(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1; a zero row stays."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0))


def tagged(found: Directions, site: str, tokens: str) -> Directions:
    """The same, with where they were fitted."""
    return replace(found, site=site, tokens=tokens)


def _refuse_rows(values: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> None:
    if values.ndim != 2 or not len(values) == len(labels) == len(groups):
        raise InputError(
            f"Got features of shape {values.shape}, {len(labels)} labels and {len(groups)} references; expected a row of each per "
            "stimulus. Give as many."
        )
    if not np.isfinite(values).all():
        raise InputError("The features hold NaN or infinity; expected numbers. Extract in float32, or leave these stimuli out.")
    if len(set(groups.tolist())) < 2:
        raise InputError(f"Got {len(set(groups.tolist()))} references to fit directions to; expected at least 2. Show more.")


def _wanted(labels: np.ndarray, kinds: Sequence[str], classes: Sequence[str] | None, against: str) -> tuple[str, ...]:
    """The classes to step to."""
    strange = [kind for kind in kinds if kind not in KINDS]
    if isinstance(kinds, str) or not kinds or strange:
        raise InputError(f"Got the kinds {kinds!r}. Expected a list of some of {', '.join(KINDS)}. Use these.")
    known = sorted(set(labels.tolist()))
    if against != OTHERS and against not in known:
        raise InputError(
            f"There is no row of the class '{against}', where steps begin. Expected one of {', '.join(known)}, or '{OTHERS}'. Give "
            "against=, or stimuli of this class."
        )
    wanted = [name for name in known if name != against] if classes is None else list(classes)
    missing = [name for name in wanted if name not in known or name == against]
    if missing or not wanted:
        told = f"'{missing[0]}'" if missing else "no class"
        raise InputError(
            f"Got {told} to step to; expected some of {', '.join(name for name in known if name != against) or 'none'}, which were shown. "
            "Choose these, or fit on other stimuli."
        )
    return tuple(wanted)
