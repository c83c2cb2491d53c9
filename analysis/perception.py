"""What the model says of a distortion, and how much of it follows the image."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hooks.answer import generate, option_loglik
from hooks.load import Mllm
from probes.intervals import Difference, balanced_difference, balanced_interval, group_bootstrap
from stimuli.errors import InputError
from stimuli.questions import Question, question
from stimuli.tables import Table
from stimuli.taxonomy import taxonomy as load_taxonomy
from stimuli.types import Images, Stimulus, StimulusSet

Protocol = Literal["forced-choice", "open"]
UNPARSED = "unparsed"
BLANK = 128


@dataclass(frozen=True)
class Answers:
    """Answers to the distortion question and their numbers; intervals are over references."""

    protocol: str
    classes: tuple[str, ...]
    table: Table = field(repr=False)
    """One row per stimulus: ``id, reference, type, level, label, answer, raw, correct`` and ``p_<class>`` (forced choice)."""
    accuracy: float
    low: float
    high: float
    balanced_accuracy: float
    balanced_low: float
    balanced_high: float
    chance: float
    majority: float
    """Accuracy of always naming the most frequent class."""
    unparsed: float
    """Share of answers that name no class, or more than one; they count as wrong."""
    response_distribution: Mapping[str, float]
    confusion: np.ndarray = field(repr=False)
    """Counts (k, k + 1): rows are true classes, the last column is unparsed."""
    by_level: Table

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
    protocol: Protocol = "forced-choice",
    *,
    taxonomy: str | Path = "paper8",
    batch_size: int = 32,
    progress: bool = True,
    n_boot: int = 1000,
    seed: int = 0,
    images: Sequence[np.ndarray] | None = None,
) -> Answers:
    """Ask which distortion each image has.

    ``forced-choice`` scores the wording of every class as the answer by its mean log-likelihood per token and takes the
    likeliest. ``open`` takes the greedy answer and parses it; what names no class, or several, is unparsed, never guessed.

    Args:
        mllm: the model.
        stimuli: labelled stimuli; those without a class are left out.
        protocol: how to ask.
        taxonomy: name or file.
        batch_size: images per forward pass.
        progress: show a progress bar.
        n_boot: resamples of references.
        seed: of the resamples.
        images: show these instead of the stimuli's own (controls), one per labelled stimulus.

    Raises:
        InputError: unknown protocol, or no stimulus has a class.
    """
    if protocol not in ("forced-choice", "open"):
        raise InputError(f"Unknown protocol '{protocol}'. Expected forced-choice or open. Use one of these.")
    chosen, asked = load_taxonomy(taxonomy), question("distortion", taxonomy)
    labelled = [s for s in stimuli if chosen.label(s) is not None]
    if not labelled:
        raise InputError(
            f"None of the {len(stimuli)} stimuli has a class in '{chosen.name}', so nothing can be scored. "
            "Give distorted versions (sn.stimuli.distorted_set) or a CSV with types."
        )
    shown = Images(labelled) if images is None else images
    probabilities = None
    if protocol == "forced-choice":
        loglik = option_loglik(
            mllm, shown, asked.prompt, list(asked.options.values()), batch_size=batch_size, progress=progress
        )
        probabilities = np.exp(loglik - loglik.max(1, keepdims=True))
        probabilities /= probabilities.sum(1, keepdims=True)
        answers = [chosen.classes[i] for i in loglik.argmax(1)]
        raw = [asked.options[answer] for answer in answers]
    else:
        raw = generate(mllm, shown, [asked.prompt] * len(shown), batch_size=batch_size, progress=progress)
        answers = [parse(text, asked) for text in raw]
    return score_answers(labelled, [str(chosen.label(s)) for s in labelled], answers, chosen.classes, protocol, raw,
                         probabilities, n_boot, seed)  # fmt: skip


def blind(mllm: Mllm, stimuli: StimulusSet | Sequence[Stimulus], **options: Any) -> Answers:
    """The same questions about a mid-grey image of the same size: what accuracy is left without the image."""
    chosen = load_taxonomy(options.get("taxonomy", "paper8"))
    labelled = [s for s in stimuli if chosen.label(s) is not None]
    grey = Images(labelled, lambda image: np.full_like(image, BLANK))
    answers = ask(mllm, stimuli, images=grey, **options)
    return replace(answers, protocol=f"{answers.protocol}, blank image")


def parse(text: str, asked: Question) -> str:
    """The class an open answer names, or ``unparsed``.

    A class is named by its exact wording or a synonym as whole words; "unblurred" is not blur. Naming two classes is
    unparsed.
    """
    words = " ".join(re.findall(r"[\w']+", text.lower()))
    exact = {wording.lower(): label for label, wording in asked.options.items()}
    if words in exact:
        return exact[words]
    named = {
        label
        for label, wording in asked.options.items()
        for form in (wording, *asked.synonyms.get(label, ()))
        if re.search(rf"(?<!\w){re.escape(form.lower())}(?!\w)", words)
    }
    if "clean" in named and len(named) == 2 and "no" in words.split():
        return UNPARSED
    return named.pop() if len(named) == 1 else UNPARSED


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
) -> Answers:
    """Numbers from answers: everything is computed here, nothing of a model is known."""
    label, answer = np.asarray(labels), np.asarray(answers)
    groups = np.array([s.reference for s in stimuli])
    hits = label == answer
    plain, balanced = group_bootstrap(hits, groups, n_boot, seed), balanced_interval(hits, label, groups, n_boot, seed)
    columns = [*classes, UNPARSED]
    confusion = np.zeros((len(classes), len(columns)), int)
    for true, said in zip(labels, answers, strict=True):
        confusion[list(classes).index(true), columns.index(said)] += 1
    table = [
        {
            "id": s.id, "reference": s.reference, "type": s.type, "level": s.level, "psnr": s.psnr, "ssim": s.ssim,
            "label": labels[i], "answer": answers[i], "raw": raw[i], "correct": bool(hits[i]),
            **({} if probabilities is None else {f"p_{c}": float(probabilities[i, j]) for j, c in enumerate(classes)}),
        }
        for i, s in enumerate(stimuli)
    ]  # fmt: skip
    counts = np.unique(label, return_counts=True)[1]
    return Answers(
        protocol, tuple(classes), table, plain.value, plain.low, plain.high, balanced.value, balanced.low, balanced.high,
        1 / len(classes), float(counts.max() / counts.sum()), float(np.mean(answer == UNPARSED)),
        {name: float(np.mean(answer == name)) for name in columns}, confusion, _by_level(stimuli, hits, groups, n_boot, seed),
    )  # fmt: skip


def _by_level(stimuli: Sequence[Stimulus], hits: np.ndarray, groups: np.ndarray, n_boot: int, seed: int) -> Table:
    levels = np.array([s.level or 0 for s in stimuli])
    rows: Table = []
    for level in np.unique(levels):
        own = levels == level
        if len(np.unique(groups[own])) > 1:
            found = group_bootstrap(hits[own], groups[own], n_boot, seed)
            name = "clean" if level == 0 else int(level)
            rows.append({"level": name, "n": int(own.sum()), "accuracy": found.value, "low": found.low, "high": found.high})
    return rows


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
