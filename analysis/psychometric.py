"""How severe a distortion must be before a model tells it: detection thresholds per type, by psychometric functions.

The functions are Wichmann and Hill's (2001); see ``analysis.psychometric_fit``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from analysis.parsing import UNPARSED
from analysis.psychometric_fit import Curve, Observed, fit, flat_p, goodness, refits
from probes.intervals import group_bootstrap, group_counts, interval
from stimuli.distortions import TYPES
from stimuli.errors import InputError
from stimuli.results import Result
from stimuli.tables import Row, Table
from stimuli.taxonomy import CLEAN

MEASURES = {"psnr": -1, "ssim": -1, "level": 1}
"""And whether a higher value is more (1) or less (-1) severe."""
IDENTICAL = {"psnr": 100.0, "ssim": 1.0, "level": np.inf}
"""From this value on an image equals its reference."""
OUTCOMES = ("named", "detected")
SIGNIFICANT = 0.05
POINTS, GRID = 8, 60
ALWAYS, NEVER, FLAT = "always", "never reaches", "flat"
COLUMNS = ("type", "n", "references", "threshold", "low", "high", "p", "slope", "slope_low", "slope_high", "guess", "guess_low",
           "guess_high", "lapse", "flat_p", "deviance", "fit_p", "note")  # fmt: skip


@dataclass(frozen=True, repr=False)
class Psychometric(Result):
    """Thresholds per distortion type, with intervals over references."""

    measure: str
    """The unit of thresholds, curves and points: ``psnr`` (dB), ``ssim`` or ``level``."""
    outcome: str
    """``named``: the right class was said; ``detected``: a class other than clean was said."""
    table: Table
    """Rows of ``COLUMNS``; see ``psychometric``."""
    curves: Mapping[str, Mapping[str, list[float]]] = field(repr=False)
    """Type → ``x`` and fitted ``p``, from mild to severe; a constant where it is flat, empty where nothing was fitted."""
    points: Mapping[str, Table] = field(repr=False)
    """Type → bins from mild to severe: mean ``x``, ``n``, and ``share`` of images with this outcome."""
    left_out: Mapping[str, int]
    """Distorted images that equal their reference (``identical``), whose severity is not known (``unmeasured``), or, of
    ``named``, whose class is clean (``called_clean``)."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


@dataclass(frozen=True)
class _Scale:
    """From a measure's unit to severities between -1 and 1, and back."""

    sign: int
    middle: float
    half: float

    def z(self, x: np.ndarray) -> np.ndarray:
        return np.asarray((self.sign * x - self.middle) / self.half)

    def x(self, z: float) -> float:
        return float(self.sign * (self.middle + self.half * z))


def psychometric(rows: Table, measure: str = "psnr", outcome: str = "named", n_boot: int = 200, seed: int = 0) -> Psychometric:
    """Threshold of every distortion type: the severity at which about half of its images are told.

    * More distortion (lower PSNR, lower SSIM, higher level) can only be told more often: β is positive.
    * γ is measured, not fitted: the share of clean images of which the same was said; for ``named`` the type's class, for
      ``detected`` any class but clean (false alarms). Every resample measures it anew. Without clean images no threshold.
    * λ is free from 0 to a tenth of 1 − γ. Wichmann and Hill keep it small because it trades with α; here it also gives every
      threshold the same meaning. A model that levels off far below a half "never reaches" it.
    * A curve no better than a constant (likelihood ratio, p at least 0.05) has no threshold. Its note is "always" or "never
      reaches" where the whole interval of the constant share lies above or below γ + (1 − γ) / 2, else "flat".
    * A threshold milder than all that was shown is not extrapolated but "always", one more severe "never reaches".
    * An unparsed answer tells nothing, of a clean image neither.

    Fits are by maximum likelihood; intervals by fitting again on resampled references.

    Args:
        rows: of answers, with ``reference``, ``type``, ``level``, ``psnr``, ``ssim``, ``label``, ``answer`` and ``correct``.
        measure: severity: ``psnr``, ``ssim`` or ``level``. Levels of signed types are not ordered by severity, so by level they
            have no threshold.
        outcome: ``named`` or ``detected``.
        n_boot: resamples of references, and simulations for ``fit_p``.
        seed: of both.

    Returns:
        Per type: ``threshold`` in the unit of the measure with ``low`` and ``high``, None on a side where the interval leaves
        what was shown; ``p`` there; ``slope`` there: by how much F rises per unit of severity, β / 4; ``guess`` γ, ``lapse`` λ;
        ``flat_p`` of the likelihood ratio; ``deviance`` of the binned points with ``fit_p``, small where the curve has the
        wrong form (both p take images for independent); ``note``.

    Raises:
        InputError: unknown measure or outcome.
    """
    for name, value, known in (("measure", measure, tuple(MEASURES)), ("outcome", outcome, OUTCOMES)):
        if value not in known:
            raise InputError(f"Unknown {name} '{value}'. Expected one of {', '.join(known)}. Use one of these.")
    clean = [row for row in rows if row["type"] is None]
    distorted = [row for row in rows if row["type"] is not None]
    left_out = Counter(dict.fromkeys(("identical", "unmeasured", "called_clean"), 0))
    table: Table = []
    curves, points = {}, {}
    for name in dict.fromkeys(row["type"] for row in distorted):
        reasons = [(row, _reason(row, measure, outcome)) for row in distorted if row["type"] == name]
        left_out.update(reason for _, reason in reasons if reason)
        own = [row for row, reason in reasons if not reason]
        found, curves[name], points[name] = _type(own, clean, measure, outcome, n_boot, seed)
        references = len({row["reference"] for row in own})
        table.append(dict.fromkeys(COLUMNS) | {"type": name, "n": len(own), "references": references} | found)
    return Psychometric(measure, outcome, table, curves, points, dict(left_out))


def _reason(row: Row, measure: str, outcome: str) -> str:
    """Why a distorted image is left out; empty where it is not."""
    value = row[measure]
    if value is None or not np.isfinite(value):
        return "unmeasured"
    if value >= IDENTICAL[measure]:
        return "identical"
    return "called_clean" if outcome == "named" and row["label"] == CLEAN else ""


def _type(
    rows: Table, clean: Table, measure: str, outcome: str, n_boot: int, seed: int
) -> tuple[Row, dict[str, list[float]], Table]:
    """What is found of one type: its row, curve and points."""
    if not rows:
        return {"note": "nothing measured"}, {}, []
    if measure == "level" and any(TYPES[part].neutral is not None for part in rows[0]["type"].split("+") if part in TYPES):
        return {"note": "levels not ordered"}, {}, []
    x = np.array([row[measure] for row in rows], float)
    told = np.array([row["correct"] if outcome == "named" else _is_said(row) for row in rows], float)
    place = _places(MEASURES[measure] * x)
    points = _points(x, told, place)
    if not clean:
        return {"note": "no clean images"}, {}, points
    scale = _scale(x, MEASURES[measure])
    number, _ = group_counts([row["reference"] for row in [*rows, *clean]])
    observed = Observed(scale.z(x), told, number[: len(rows)], _guessed(rows, clean, outcome), number[len(rows) :])
    curve = fit(observed)
    found, p = _fitted(observed, curve, scale, place, n_boot, seed)
    return found, {"x": [scale.x(z) for z in np.linspace(-1, 1, GRID)], "p": p.tolist()}, points


def _fitted(
    observed: Observed, curve: Curve, scale: _Scale, place: np.ndarray, n_boot: int, seed: int
) -> tuple[Row, np.ndarray]:
    """The row of a type, and the probabilities along its severities."""
    p_constant, p = flat_p(curve, observed.told), curve.p(np.linspace(-1, 1, GRID))
    guess = _bounds("guess_", observed.guessed, observed.clean_number, n_boot, seed)
    found: Row = {"guess": curve.guess, **guess, "flat_p": p_constant}
    if p_constant >= SIGNIFICANT:
        return found | {"note": _flat(observed, curve, n_boot, seed)}, np.full(GRID, observed.told.mean())
    found["lapse"] = curve.lapse
    found["deviance"], found["fit_p"] = goodness(observed, curve, place, n_boot, seed)
    if abs(curve.threshold) > 1:
        return found | {"note": NEVER if curve.threshold > 0 else ALWAYS}, p
    return found | _threshold(observed, curve, scale, n_boot, seed), p


def _threshold(observed: Observed, curve: Curve, scale: _Scale, n_boot: int, seed: int) -> Row:
    """The threshold and the slope there, with intervals."""
    per_unit = 1 / (4 * scale.half)
    found: Row = {"threshold": scale.x(curve.threshold), "p": float(curve.p(np.array(curve.threshold))), "note": ""}
    found["slope"] = curve.steepness * per_unit
    if observed.references < 2:
        return found
    thresholds, steepnesses = refits(observed, curve, n_boot, seed)
    there, steep = interval(0, thresholds), interval(0, steepnesses * per_unit)
    ends = [scale.x(end) if abs(end) <= 1 else None for end in (there.low, there.high)]
    low, high = ends[:: scale.sign]
    return found | {"low": low, "high": high, "slope_low": steep.low, "slope_high": steep.high}


def _flat(observed: Observed, curve: Curve, n_boot: int, seed: int) -> str:
    """What a constant share says of the threshold."""
    half = curve.guess + (1 - curve.guess) / 2
    bounds = _bounds("", observed.told, observed.number, n_boot, seed)
    if bounds["low"] is None:
        return FLAT
    return ALWAYS if bounds["low"] > half else NEVER if bounds["high"] < half else FLAT


def _bounds(prefix: str, values: np.ndarray, groups: np.ndarray, n_boot: int, seed: int) -> Row:
    found = group_bootstrap(values, groups, n_boot, seed) if len(np.unique(groups)) > 1 else None
    return {f"{prefix}low": found.low if found else None, f"{prefix}high": found.high if found else None}


def _is_said(row: Row) -> bool:
    """Whether a distortion was told, whichever."""
    return row["answer"] not in (CLEAN, UNPARSED)


def _guessed(rows: Table, clean: Table, outcome: str) -> np.ndarray:
    """By how much each clean image has the outcome: where a type's class depends on the level, the mean over its images."""
    if outcome == "detected":
        return np.array([_is_said(row) for row in clean], float)
    labels = Counter(row["label"] for row in rows)
    return np.array([labels[row["answer"]] / len(rows) for row in clean])


def _scale(x: np.ndarray, sign: int) -> _Scale:
    """The scale on which what was shown goes from -1 to 1; all is 0 where it is equally severe."""
    mild, severe = sorted((sign * x.min(), sign * x.max()))
    return _Scale(sign, float(mild + severe) / 2, float(severe - mild) / 2 or 1.0)


def _places(severity: np.ndarray) -> np.ndarray:
    """The bin of each image, int (n,), from mild to severe: its own severity where there are few, else of equal numbers."""
    values, place = np.unique(severity, return_inverse=True)
    if len(values) <= POINTS:
        return place
    inner = np.unique(np.quantile(severity, np.arange(1, POINTS) / POINTS))
    return np.unique(np.searchsorted(inner, severity, side="right"), return_inverse=True)[1]


def _points(x: np.ndarray, told: np.ndarray, place: np.ndarray) -> Table:
    n, total, hits = (np.bincount(place, values) for values in (np.ones(len(x)), x, told))
    return [{"x": float(total[i] / n[i]), "n": int(n[i]), "share": float(hits[i] / n[i])} for i in range(len(n))]
