"""What is left of the accuracy when the image is hidden, and whether the answer follows another image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from analysis.perception import readings, with_labels
from analysis.protocols import Protocol, protocol
from hooks.batch import run
from hooks.capture import Stop, capture
from hooks.folder import first_line
from hooks.load import Mllm
from probes.intervals import balanced_accuracies, group_bootstrap, group_counts, interval, resamples
from stimuli.errors import InputError
from stimuli.results import Result
from stimuli.tables import Row, Table
from stimuli.types import Stimulus, StimulusSet
from stimuli.views import CONTROLS, View, instead, view

WHAT = {
    "blank": "white image",
    "grey": "mid-grey image",
    "noise": "random pixels",
    "shuffled": "its squares in another order",
    "other-same": "another image of the same class",
    "other-class": "an image of another class",
    "none": "no image",
}


@dataclass(frozen=True, repr=False)
class Blind(Result):
    """Accuracy with the image and with each control, on the same stimuli; intervals are over references."""

    protocol: str
    chance: float
    table: Table = field(repr=False)
    """One row per control (see ``compared``), first the image itself."""

    def row(self, name: str) -> Row:
        """The row of a control."""
        return next(row for row in self.table if row["view"] == name)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return dict(vars(self))


def control_view(name: str, stimuli: Sequence[Stimulus], labels: Sequence[str], seed: int = 0) -> View:
    """A control by name, other images included."""
    return instead(name, stimuli, labels, seed) if name.startswith("other") else view(name, seed)


def possible_controls(mllm: Mllm) -> tuple[tuple[str, ...], str]:
    """The controls that a model takes, and why one is left out: not every model answers a question without an image."""
    try:
        inputs = mllm.inputs(None, ["Which?"], ["this"])
        with torch.no_grad(), capture(mllm.model, "llm.0", mllm.stages, stop=True):
            run(mllm.model, inputs.tensors)
    except Stop:
        return CONTROLS, ""
    except Exception as error:  # of whatever kind a family raises it
        left = tuple(name for name in CONTROLS if name != "none")
        return left, f"The control without an image is left out: the model needs one ({first_line(error)})"
    return CONTROLS, ""


def control_protocols(
    stimuli: Sequence[Stimulus], labels: Sequence[str], kind: str = "forced-choice", controls: Sequence[str] = CONTROLS,
    seed: int = 0, **options: Any,
) -> list[Protocol]:  # fmt: skip
    """The same protocol with the image and with every control."""
    views = [view("image"), *(control_view(name, stimuli, labels, seed) for name in controls)]
    return [protocol(kind, view=shown, seed=seed, name=f"{kind}, {shown.name}", **options) for shown in views]


def blind_controls(
    mllm: Mllm,
    stimuli: StimulusSet | Sequence[Stimulus],
    protocol: str = "forced-choice",
    *,
    controls: Sequence[str] = CONTROLS,
    taxonomy: str | Path = "paper8",
    out: str | Path | None = None,
    n_boot: int = 1000,
    seed: int = 0,
    options: dict[str, Any] | None = None,
    **how: Any,
) -> Blind:
    """Ask the same with the image hidden in several ways: what share of the accuracy survives?

    ``shuffled`` keeps most distortions and destroys content; ``other-same`` keeps the class and changes the image, so that an answer which
    follows distortion survives it; after ``other-class`` accuracy falls below chance if the answer follows what is shown.

    Args:
        mllm: the model.
        stimuli: labelled stimuli.
        protocol: how to ask (``analysis.protocols``).
        controls: which, of ``stimuli.views.CONTROLS``.
        taxonomy: name or file.
        out: folder of answers.
        n_boot: resamples of references.
        seed: of the resamples and of what is drawn.
        options: further settings of the protocol.
        **how: further arguments of ``hooks.respond.respond``.

    Raises:
        InputError: unknown control or protocol, or no stimulus has a class.
    """
    unknown = [name for name in controls if name not in CONTROLS]
    if unknown:
        raise InputError(f"Unknown control '{unknown[0]}'. Expected some of {', '.join(CONTROLS)}. Use these.")
    shown, labels = with_labels(stimuli, taxonomy)
    asked = control_protocols(shown, labels, protocol, controls, seed, taxonomy=taxonomy, **(options or {}))
    found = readings(mllm, shown, asked, out, **how)
    known = set(found.ids)
    there = [i for i, s in enumerate(shown) if s.id in known]
    label, groups = np.array([labels[i] for i in there]), np.array([shown[i].reference for i in there])
    answers = [np.array(found.by_name[p.name].answers) for p in asked]
    chance, image = 1 / len(asked[0].classes), answers[0]
    rows = [compared(image, image, label, groups, chance, n_boot, seed) | {"view": "image", "what": "the image itself"}]
    for by, own in zip(asked[1:], answers[1:], strict=True):
        control = by.asks[0].view
        kept = np.array([not control.partners or shown[i].id in control.partners for i in there])
        row = compared(image[kept], own[kept], label[kept], groups[kept], chance, n_boot, seed)
        rows.append(row | {"view": control.name, "what": WHAT[control.name]})
    return Blind(protocol, chance, [{"view": row["view"], "what": row["what"], **row} for row in rows])


def compared(
    image: np.ndarray,
    control: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    chance: float,
    n_boot: int = 1000,
    seed: int = 0,
) -> Row:
    """What a control leaves of the answers.

    Args:
        image: (n,) answers with the image.
        control: (n,) answers with the control.
        labels: (n,) true classes.
        groups: (n,) references.
        chance: of the classes asked about.
        n_boot: resamples of references.
        seed: of the resamples.

    Returns:
        ``n``, ``references``, ``balanced_accuracy`` with the control and its interval, ``image_accuracy``, ``change`` (control − image),
        ``kept`` (share of what the image adds to chance: (control − chance) / (image − chance); None where the image's accuracy is not
        above chance), ``same_answer`` (share of images with the answer that they get with the image), each with ``_low`` and ``_high``, and
        the most frequent answer with its share.
    """
    _, count = group_counts(groups)
    weights = np.vstack([np.ones((1, count)), resamples(count, n_boot, seed)])
    seen, left = (balanced_accuracies(own == labels, labels, groups, weights) for own in (image, control))
    own, change = interval(left[0], left[1:]), interval(left[0] - seen[0], left[1:] - seen[1:])
    same = group_bootstrap(control == image, groups, n_boot, seed)
    names, counts = np.unique(control, return_counts=True)
    above = interval(seen[0], seen[1:]).low > chance
    ratio = np.divide(left - chance, seen - chance, out=np.full_like(left, np.nan), where=seen > chance)
    kept = interval(ratio[0], ratio[1:]) if above else None
    return {
        "n": len(labels), "references": count, "balanced_accuracy": own.value, "low": own.low, "high": own.high,
        "image_accuracy": float(seen[0]), "change": change.value, "change_low": change.low, "change_high": change.high,
        "kept": kept and kept.value, "kept_low": kept and kept.low, "kept_high": kept and kept.high,
        "same_answer": same.value, "same_low": same.low, "same_high": same.high,
        "top_answer": str(names[counts.argmax()]), "top_share": float(counts.max() / counts.sum()),
    }  # fmt: skip
