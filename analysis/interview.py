"""The behavioural half of an exam: everything that is asked of a model, in as few passes as hold it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from analysis.bias import Bias, bias
from analysis.blind import Blind, blind_controls, control_protocols, possible_controls
from analysis.consistency import Consistency, consistency, consistency_protocols
from analysis.perception import Answers, ask_all, with_labels
from analysis.preference import Preference, preference
from analysis.protocols import Protocol, protocol
from analysis.psychometric import Psychometric, psychometric
from analysis.quality import SCORE_OVER, Quality, known_truth, quality, score_consistency, score_methods
from analysis.quality_methods import Method, method
from hooks.asks import Ask
from hooks.load import Mllm
from hooks.respond import respond
from stimuli.errors import InputError
from stimuli.prompts import fill
from stimuli.prompts import prompt as published
from stimuli.questions import question
from stimuli.tables import Table
from stimuli.types import Stimulus, StimulusSet

SCORES = ("levels", "q-bench", "q-align")
FITTED = 300
"""Resamples, at most, in each of which curves are fitted anew."""


@dataclass(frozen=True)
class Interview:
    """What a model says, in every way it was asked; intervals are over references."""

    answers: Mapping[str, Answers]
    """By protocol: the forced choice in three forms of all stimuli, the others of a few references."""
    controls: Blind
    consistency: Mapping[str, Consistency]
    """By kind."""
    thresholds: Psychometric | None
    """Per type from the forced choice; None where no distorted image has a PSNR."""
    quality: Mapping[str, Quality]
    """By method; empty where nothing is known to compare scores with."""
    score_consistency: Mapping[str, Mapping[str, Any]]
    preference: Preference | None
    bias: Bias
    few: int
    """References that the longer questions were about."""
    notes: tuple[str, ...] = field(default=())
    """What could not be asked, and why."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, without the rows."""
        return {
            "protocols": {name: own.as_dict() for name, own in self.answers.items()},
            "controls": self.controls.as_dict(),
            "consistency": {kind: own.as_dict() for kind, own in self.consistency.items()},
            "thresholds": None if self.thresholds is None else self.thresholds.as_dict(),
            "quality": {name: own.as_dict() for name, own in self.quality.items()},
            "score_consistency": dict(self.score_consistency),
            "preference": None if self.preference is None else self.preference.as_dict(),
            "bias": self.bias.as_dict(),
            "few_references": self.few,
            "notes": list(self.notes),
        }

    def tables(self) -> dict[str, Table]:
        """The rows behind the numbers, by file name."""
        scores = [{"method": name, **row} for name, own in self.quality.items() for row in own.table]
        return {
            **{f"answers_{name.replace(', ', '_')}": own.table for name, own in self.answers.items()},
            "blind_controls": self.controls.table,
            "consistency": [row for own in self.consistency.values() for row in own.table],
            "thresholds": [] if self.thresholds is None else self.thresholds.table,
            "quality_scores": scores,
            "preferences": [] if self.preference is None else self.preference.table,
            **self.bias.tables(),
        }


def interview(
    mllm: Mllm,
    stimuli: StimulusSet | Sequence[Stimulus],
    *,
    taxonomy: str | Path = "paper8",
    few: int | None = None,
    out: str | Path | None = None,
    repeats: int = 5,
    temperature: float = 1.0,
    orders: int = 4,
    paraphrases: str | Path | Sequence[str] = "ours",
    scores: Sequence[str] = SCORES,
    prior: Mapping[str, float] | None = None,
    thorough: bool = True,
    max_new_tokens: int = 64,
    n_boot: int = 1000,
    seed: int = 0,
    **how: Any,
) -> Interview:
    """Ask a model everything: distortions in several ways, blind, repeatedly, and quality.

    Forced choice is asked of every stimulus. So are its controls, paraphrases and changes that no one sees, and scores by words, if
    ``thorough``; what takes a pass per option or token (lettered options, yes or no, JSON, repeats, descriptions, pairs), and else
    they too, of the first ``few`` references.

    Args:
        mllm: the model.
        stimuli: labelled stimuli; those without a class are left out.
        taxonomy: name or file.
        few: how many references the longer questions are about; all by default.
        out: folder of answers; what is found there is not asked again.
        repeats: answers drawn per image.
        temperature: at which they are drawn.
        orders: of lettered options.
        paraphrases: a set of ``stimuli.prompts``, a file, or questions.
        prior: class → share of the training templates, where you know it; the response distribution is held against it.
        thorough: ask also for JSON, short answers, drawn numbers and comparisons of pairs, whose prompts or answers are long; and all
            that is forced choice of all stimuli.
        scores: quality methods by words (``analysis.quality_methods``); the first one's levels are held against descriptions.
        max_new_tokens: of descriptions, of JSON and of numbers.
        n_boot: resamples of references.
        seed: of everything drawn.
        **how: further arguments of ``hooks.respond.respond``.

    Raises:
        InputError: no stimulus has a class, there are fewer than two references to ask about, or no quality method.
    """
    shown, _ = with_labels(stimuli, taxonomy)
    names = list(dict.fromkeys(s.reference for s in shown))
    chosen = set(names if few is None else names[: max(few, 0)])
    if len(chosen) < 2 or not scores:
        raise InputError(
            f"An interview is about at least two references and has at least one quality method; labelled stimuli are of {len(names)}, few "
            f"is {few}, scores are {list(scores)}. Show more references, or ask about more."
        )
    own = [s for s in shown if s.reference in chosen]
    with tempfile.TemporaryDirectory(prefix="snellen-") as scratch:
        wide = shown if thorough else own
        controls, note = possible_controls(mllm)
        asked = _Interviewer(
            mllm, shown, wide, own, Path(out or Path(scratch) / "answers"), taxonomy, n_boot, seed, prior, thorough, controls, how,
            [note] if note else [],
        )  # fmt: skip
        return asked(repeats, temperature, orders, paraphrases, scores, max_new_tokens, len(chosen))


@dataclass(frozen=True)
class _Interviewer:
    mllm: Mllm
    all: Sequence[Stimulus]
    wide: Sequence[Stimulus]
    """What controls, paraphrases, unseen changes and scores by words are about."""
    few: Sequence[Stimulus]
    """What the longer questions are about."""
    out: Path
    taxonomy: str | Path
    n_boot: int
    seed: int
    prior: Mapping[str, float] | None
    thorough: bool
    controls: Sequence[str]
    how: dict[str, Any]
    notes: list[str] = field(default_factory=list)

    def __call__(
        self,
        repeats: int,
        temperature: float,
        orders: int,
        paraphrases: Any,
        scores: Sequence[str],
        tokens: int,
        references: int,
    ) -> Interview:
        plain: dict[str, Any] = {"out": self.out, "n_boot": self.n_boot, "seed": self.seed, **self.how}
        labelled = {"taxonomy": self.taxonomy, **plain}
        twice: dict[str, Any] = {"paraphrases": paraphrases, "repeats": repeats, "temperature": temperature, "orders": orders}
        numbers: dict[str, Any] = {"repeats": repeats, "temperature": temperature, "max_new_tokens": tokens}
        choices = [protocol("forced-choice", self.taxonomy, length_normalised=n, calibrated=c) for n, c in _FORMS]
        longer = [protocol("multiple-choice", self.taxonomy, orders=orders, seed=self.seed), protocol("yes-no", self.taxonomy),
                  protocol("open", self.taxonomy)]  # fmt: skip
        if self.thorough:
            longer += [protocol(kind, self.taxonomy, max_new_tokens=tokens) for kind in ("short-answer", "json")]
        often, rarely = ("paraphrases", "pixels"), ("repeats", "orders")
        turned = SCORE_OVER if self.thorough else tuple(over for over in SCORE_OVER if over != "repeats")
        truth = self._truth()
        rating = score_methods(turned, scores[0], seed=self.seed, **numbers)
        self._ahead(choices, longer, often, rarely, twice, scores if truth else (), rating, tokens)
        answers = {**ask_all(self.mllm, self.all, choices, **labelled), **ask_all(self.mllm, self.few, longer, **labelled)}
        main = answers["forced-choice"]
        agreed = {**consistency(self.mllm, self.wide, often, **twice, **labelled),
                  **consistency(self.mllm, self.few, rarely, **twice, **labelled)}  # fmt: skip
        rated = (
            quality(self.mllm, self.wide, scores, truth=truth, **{**plain, "n_boot": min(self.n_boot, FITTED)}) if truth else {}
        )
        described = self._described(tokens)
        return Interview(
            answers, blind_controls(self.mllm, self.wide, controls=self.controls, **labelled), agreed, self._thresholds(main), rated,
            score_consistency(self.mllm, self.few, turned, method=scores[0], **numbers, **plain), self._preference(truth, plain),
            bias(main, agreed, rated.get(scores[0]), described, self.all, taxonomy=self.taxonomy, prior=self.prior,
                 n_boot=self.n_boot, seed=self.seed), references, tuple(self.notes),
        )  # fmt: skip

    def _truth(self) -> Any:
        try:
            return known_truth(self.all)
        except InputError as error:
            self.notes.append(str(error))
            return None

    def _ahead(
        self, choices: Sequence[Protocol], longer: Sequence[Protocol], often: Sequence[str], rarely: Sequence[str],
        twice: Mapping[str, Any], scores: Sequence[str], rating: Mapping[str, Sequence[Method]], tokens: int,
    ) -> None:  # fmt: skip
        """Ask it all at once, so that every image is processed and seen once; the parts then find their answers in the book."""
        _, labels = with_labels(self.wide, self.taxonomy)
        blind = control_protocols(self.wide, labels, controls=self.controls, seed=self.seed, taxonomy=self.taxonomy)
        again = {
            over: [
                p for own in consistency_protocols(over, taxonomy=self.taxonomy, seed=self.seed, **twice).values() for p in own
            ]
            for over in (tuple(often), tuple(rarely))
        }
        parts: dict[int, tuple[Sequence[Stimulus], list[Ask]]] = {}  # by size, as the fewer are some of the more
        for stimuli, asks in (
            (self.all, [a for p in choices for a in p.asks]),
            (self.wide, [*(a for p in (*blind, *again[tuple(often)]) for a in p.asks), *(method(m).ask for m in scores)]),
            (self.few, [*(a for p in (*longer, *again[tuple(rarely)]) for a in p.asks),
                        *(m.ask for own in rating.values() for m in own), *_descriptions(tokens)]),
        ):  # fmt: skip
            parts.setdefault(len(stimuli), (stimuli, []))[1].extend(asks)
        for stimuli, asks in parts.values():
            numbered = [
                replace(ask, name=f"{i}: {ask.name}") for i, ask in enumerate(asks)
            ]  # the same question may have two names
            respond(self.mllm, stimuli, numbered, self.out, **self.how)

    def _described(self, tokens: int) -> dict[str, dict[str, str]]:
        found = respond(self.mllm, self.few, _descriptions(tokens), self.out, **self.how)
        return {name: dict(zip(own.ids, own.first, strict=True)) for name, own in found.items()}

    def _thresholds(self, main: Answers) -> Psychometric | None:
        found = psychometric(main.table, n_boot=min(self.n_boot, FITTED), seed=self.seed)
        if any(row["n"] for row in found.table):
            return found
        self.notes.append("No distorted image has a PSNR below that of an identical one, so there are no thresholds.")
        return None

    def _preference(self, truth: str | None, plain: Mapping[str, Any]) -> Preference | None:
        if truth is None or not self.thorough:
            return None
        try:
            return preference(self.mllm, self.few, truth=truth, **plain)
        except Exception as error:  # whatever a processor or a model raises that takes one image alone
            self.notes.append(f"Pairs of images could not be compared ({type(error).__name__}: {error}).")
            return None


_FORMS = ((True, False), (False, False), (True, True))
"""Forced choice per token, by sums, and relative to a grey image."""


def _descriptions(tokens: int) -> list[Ask]:
    """What is described: the content, and the quality (Q-Bench A2)."""
    return [
        Ask("content", question("describe").prompt, max_new_tokens=tokens),
        Ask("quality", fill(published("describe-quality")), max_new_tokens=tokens),
    ]
