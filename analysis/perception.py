"""What the model says of a distortion, and how right it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from analysis.accuracy import accuracy_by, macro_f1, response_profile
from analysis.calibration import calibration
from analysis.parsing import UNPARSED
from analysis.protocol_numbers import own_numbers
from analysis.protocols import Protocol, Reading, protocol
from hooks.load import Mllm
from hooks.respond import respond
from probes.intervals import Difference, balanced_difference, balanced_interval, group_bootstrap
from stimuli.errors import InputError
from stimuli.results import Result
from stimuli.tables import Table
from stimuli.taxonomy import taxonomy as load_taxonomy
from stimuli.types import Stimulus, StimulusSet
from stimuli.views import IMAGE, View
from stimuli.views import view as view_by_name


@dataclass(frozen=True, repr=False)
class Answers(Result):
    """Answers to the distortion question and their numbers; intervals are over references."""

    protocol: str
    classes: tuple[str, ...]
    table: Table = field(repr=False)
    """One row per stimulus: ``id, reference, type, level, psnr, ssim, label, answer, raw, correct, confidence``, ``p_<class>`` where the
    protocol gives probabilities, and what only this protocol tells."""
    accuracy: float
    low: float
    high: float
    balanced_accuracy: float
    balanced_low: float
    balanced_high: float
    macro_f1: float
    macro_low: float
    macro_high: float
    chance: float
    majority: float
    """Accuracy of always naming the most frequent class."""
    unparsed: float
    """Share of answers that name no class, or more than one; they count as wrong."""
    response_distribution: Mapping[str, float]
    profile: Mapping[str, Any]
    """How uneven the answers are, and how right they would be if they did not depend on the image."""
    confusion: np.ndarray = field(repr=False)
    """Counts (k, k + 1): rows are true classes, the last column is unparsed."""
    by_level: Table = field(repr=False)
    by_type: Table = field(repr=False)
    by_severity: Table = field(repr=False)
    """By measured PSNR; empty where it is not known."""
    calibration: Mapping[str, Any] | None = field(default=None, repr=False)
    """Whether a stated probability is right as often as it says; None without confidences."""
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What only this protocol tells: ``exact`` (published exact match), ``severity`` (Q-Insight's), ``auc`` (yes-no)."""

    def as_dict(self) -> dict[str, Any]:
        """Everything but the rows, JSON-able."""
        left_out = {"table", "confusion", "classes"}
        plain = {k: v for k, v in vars(self).items() if k not in left_out}
        references = len({row["reference"] for row in self.table})
        shape = {"n": len(self.table), "references": references, "classes": list(self.classes)}
        return {
            **plain,
            **shape,
            "confusion": self.confusion.tolist(),
            "response_distribution": dict(self.response_distribution),
        }


def ask(
    mllm: Mllm,
    stimuli: StimulusSet | Sequence[Stimulus],
    protocol: str = "forced-choice",
    *,
    taxonomy: str | Path = "paper8",
    out: str | Path | None = None,
    view: str | View = IMAGE,
    batch_size: int = 32,
    progress: bool = True,
    n_boot: int = 1000,
    seed: int = 0,
    prompt: str | None = None,
    length_normalised: bool = True,
    calibrated: bool = False,
    orders: int = 4,
    repeats: int = 1,
    temperature: float = 0.0,
    max_new_tokens: int | None = None,
    **how: Any,
) -> Answers:
    """Ask which distortion each image has.

    Args:
        mllm: the model.
        stimuli: labelled stimuli; those without a class are left out.
        protocol: ``forced-choice``, ``multiple-choice``, ``open``, ``short-answer``, ``json`` or ``yes-no`` (``analysis.protocols``).
        taxonomy: name or file.
        out: folder of answers; what is found there is not asked again. In memory alone by default.
        view: what is shown: ``image``, or a control such as ``grey`` (``stimuli.views``).
        batch_size: images per forward pass.
        progress: show a progress bar.
        n_boot: resamples of references.
        seed: of the resamples, of drawn answers and of the options' order.
        prompt: another question.
        length_normalised: of ``forced-choice``: mean log-likelihood over a wording's tokens rather than the sum.
        calibrated: of ``forced-choice``: relative to a mid-grey image.
        orders: of ``multiple-choice``.
        repeats: free answers drawn per image; the first one is scored.
        temperature: at which they are drawn.
        max_new_tokens: of a free answer.
        **how: further arguments of ``hooks.respond.respond``: workers, rank, world_size, job, strict.

    Raises:
        InputError: unknown protocol, or no stimulus has a class.
    """
    made = _protocol(protocol, taxonomy, prompt=prompt, view=view_by_name(view) if isinstance(view, str) else view,
                     length_normalised=length_normalised, calibrated=calibrated, orders=orders, repeats=repeats,
                     temperature=temperature, max_new_tokens=max_new_tokens, seed=seed)  # fmt: skip
    how |= {"batch_size": batch_size, "progress": progress}
    return ask_all(mllm, stimuli, [made], out, taxonomy=taxonomy, n_boot=n_boot, seed=seed, **how)[made.name]


_protocol = protocol


def ask_all(
    mllm: Mllm,
    stimuli: StimulusSet | Sequence[Stimulus],
    protocols: Sequence[Protocol],
    out: str | Path | None = None,
    *,
    taxonomy: str | Path = "paper8",
    n_boot: int = 1000,
    seed: int = 0,
    **how: Any,
) -> dict[str, Answers]:
    """Ask in several ways at once, so that processor and vision tower run once per image.

    Args:
        mllm: the model.
        stimuli: labelled stimuli; those without a class are left out.
        protocols: as ``analysis.protocols.protocol`` makes them, all of this taxonomy.
        out: folder of answers.
        taxonomy: name or file.
        n_boot: resamples of references.
        seed: of the resamples.
        **how: further arguments of ``hooks.respond.respond``.

    Returns:
        Answers by the protocol's name, all about the same stimuli.

    Raises:
        InputError: no stimulus has a class.
    """
    shown, labels = with_labels(stimuli, taxonomy)
    found = readings(mllm, shown, protocols, out, **how)
    kept = set(found.ids)
    there = [i for i, s in enumerate(shown) if s.id in kept]
    rows, own = [shown[i] for i in there], [labels[i] for i in there]
    return {p.name: score_reading(rows, own, found.by_name[p.name], p, n_boot, seed) for p in protocols}


@dataclass(frozen=True)
class Readings:
    """What was answered in each of several ways, about the same stimuli."""

    ids: tuple[str, ...]
    by_name: Mapping[str, Reading]
    skipped: Mapping[str, str]


def readings(
    mllm: Mllm, stimuli: Sequence[Stimulus], protocols: Sequence[Protocol], out: str | Path | None = None, **how: Any
) -> Readings:
    """The answers of several protocols, read but not scored."""
    found = respond(mllm, stimuli, [ask for p in protocols for ask in p.asks], out, **how)
    first = next(iter(found.values()))
    own = {p.name: p.read({ask.name: found[ask.name] for ask in p.asks}) for p in protocols}
    return Readings(first.ids, own, first.skipped)


def with_labels(stimuli: StimulusSet | Sequence[Stimulus], taxonomy: str | Path) -> tuple[list[Stimulus], list[str]]:
    """The stimuli that have a class, and their classes.

    Raises:
        InputError: none has.
    """
    chosen = load_taxonomy(taxonomy)
    labelled = [(s, label) for s in stimuli if (label := chosen.label(s)) is not None]
    if not labelled:
        raise InputError(
            f"None of the {len(stimuli)} stimuli has a class in '{chosen.name}', so nothing can be scored. "
            "Give distorted versions (sn.stimuli.distorted_set) or a CSV with types."
        )
    return [s for s, _ in labelled], [label for _, label in labelled]


def blind(mllm: Mllm, stimuli: StimulusSet | Sequence[Stimulus], **options: Any) -> Answers:
    """The same questions about a mid-grey image of the same size: what accuracy is left without the image."""
    return ask(mllm, stimuli, **{"view": "grey", **options})


def score_reading(
    stimuli: Sequence[Stimulus], labels: Sequence[str], found: Reading, by: Protocol, n_boot: int = 1000, seed: int = 0
) -> Answers:
    """Numbers of what one protocol brought."""
    extra = own_numbers(stimuli, labels, found, by, n_boot, seed)
    return score_answers(
        stimuli, labels, found.answers, by.classes, by.name, found.raw, found.probabilities, n_boot, seed,
        confidence=found.confidence, columns=found.columns, extra=extra,
    )  # fmt: skip


def score_answers(
    stimuli: Sequence[Stimulus],
    labels: Sequence[str],
    answers: Sequence[str],
    classes: Sequence[str],
    protocol: str,
    raw: Sequence[str],
    probabilities: np.ndarray | None = None,
    n_boot: int = 1000,
    seed: int = 0,
    *,
    confidence: Sequence[float] | np.ndarray | None = None,
    columns: Mapping[str, Sequence[Any]] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Answers:
    """Numbers from answers: everything is computed here, nothing of a model is known."""
    label, answer = np.asarray(labels), np.asarray(answers)
    groups = np.array([s.reference for s in stimuli])
    hits = label == answer
    plain, balanced = group_bootstrap(hits, groups, n_boot, seed), balanced_interval(hits, label, groups, n_boot, seed)
    macro = macro_f1(label, answer, classes, groups, n_boot, seed)
    table = _table(stimuli, labels, answers, raw, hits, classes, probabilities, confidence, columns or {})
    counts = np.unique(label, return_counts=True)[1]
    sure = None if confidence is None else np.asarray(confidence, float)
    measured = (
        None if sure is None or not np.isfinite(sure).any() else calibration(sure, hits, groups, n_boot=n_boot, seed=seed)
    )
    level, kind, severity = (accuracy_by(table, key, n_boot, seed) for key in ("level", "type", "severity"))
    return Answers(
        protocol, tuple(classes), table, plain.value, plain.low, plain.high, balanced.value, balanced.low, balanced.high,
        macro.value, macro.low, macro.high, 1 / len(classes), float(counts.max() / counts.sum()),
        float(np.mean(answer == UNPARSED)), {name: float(np.mean(answer == name)) for name in (*classes, UNPARSED)},
        response_profile(answers, labels, classes), _confusion(labels, answers, classes),
        level, kind, severity, None if measured is None else measured.as_dict(), dict(extra or {}),
    )  # fmt: skip


def _confusion(labels: Sequence[str], answers: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    rows, columns = list(classes), [*classes, UNPARSED]
    counts = np.zeros((len(rows), len(columns)), int)
    for true, said in zip(labels, answers, strict=True):
        counts[rows.index(true), columns.index(said)] += 1
    return counts


def _table(
    stimuli: Sequence[Stimulus], labels: Sequence[str], answers: Sequence[str], raw: Sequence[str], hits: np.ndarray,
    classes: Sequence[str], probabilities: np.ndarray | None, confidence: Sequence[float] | np.ndarray | None,
    columns: Mapping[str, Sequence[Any]],
) -> Table:  # fmt: skip
    return [
        {
            "id": s.id, "reference": s.reference, "type": s.type, "level": s.level, "psnr": s.psnr, "ssim": s.ssim,
            "label": labels[i], "answer": answers[i], "raw": raw[i], "correct": bool(hits[i]),
            "confidence": None if confidence is None or not np.isfinite(confidence[i]) else float(confidence[i]),
            **({} if probabilities is None else {f"p_{c}": float(probabilities[i, j]) for j, c in enumerate(classes)}),
            **{name: values[i] for name, values in columns.items()},
        }
        for i, s in enumerate(stimuli)
    ]  # fmt: skip


def compare_answers(before: Answers, after: Answers, n_boot: int = 1000, seed: int = 0) -> Difference:
    """Change in balanced accuracy on the same stimuli, paired over references.

    Raises:
        InputError: the answers are about different stimuli.
    """
    if [row["id"] for row in before.table] != [row["id"] for row in after.table]:
        raise InputError("The two sets of answers are about different stimuli, so they cannot be paired. Ask both the same.")
    columns = {name: np.array([row[name] for row in before.table]) for name in ("correct", "label", "reference")}
    now = np.array([row["correct"] for row in after.table])
    return balanced_difference(columns["correct"], now, columns["label"], columns["reference"], n_boot, seed)
