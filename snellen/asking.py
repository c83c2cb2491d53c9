"""What ``snellen ask`` and ``snellen rate`` do: ask, tell in a few lines, and write tables, figures and a summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.blind import Blind, blind_controls
from analysis.consistency import Consistency, consistency
from analysis.figures.files import written
from analysis.figures.interview import interview_figures
from analysis.mcq import ask_mcq
from analysis.perception import Answers
from analysis.perception import ask as ask_one
from analysis.preference import Preference, preference
from analysis.protocols import FREE
from analysis.quality import quality, score_consistency
from analysis.quality_methods import NUMBERS, Method
from hooks.load import Mllm
from probes.intervals import Interval
from snellen.provenance import provenance
from stimuli.errors import InputError
from stimuli.fingerprint import fingerprint
from stimuli.mcq import McqSet, read_mcq
from stimuli.tables import Table, write_csv, write_json, write_table
from stimuli.types import StimulusSet

ANSWERS = "answers"
"""Folder of what was answered, below ``--out``."""


@dataclass(frozen=True)
class Asking:
    """Distortion questions put to one model about one set."""

    mllm: Mllm
    stimuli: StimulusSet
    taxonomy: str
    out: Path | None
    seed: int
    how: Mapping[str, Any]
    """Arguments of ``hooks.respond.respond``."""

    def __call__(
        self,
        protocol: str,
        form: Mapping[str, Any],
        repeats: int,
        temperature: float,
        paraphrases: str | None,
        pixels: bool,
        controls: bool,
    ) -> list[str]:
        """Ask, and what else was wanted; lines to print."""
        shared: dict[str, Any] = {"taxonomy": self.taxonomy, "out": _book(self.out), "seed": self.seed, **self.how}
        answers = ask_one(self.mllm, self.stimuli, protocol, **form, **shared)
        over = [
            *(["repeats"] if repeats > 1 else []),
            *(["paraphrases"] if paraphrases else []),
            *(["pixels"] if pixels else []),
        ]
        over += ["orders"] if protocol == "multiple-choice" and form["orders"] > 1 else []
        twice: dict[str, Consistency] = {}
        if over:
            repeated = protocol if protocol in FREE else "open"
            twice = consistency(self.mllm, self.stimuli, over, repeats=max(repeats, 2), temperature=temperature, repeated=repeated,
                                paraphrases=paraphrases or "ours", orders=form["orders"], **shared)  # fmt: skip
        hidden = blind_controls(self.mllm, self.stimuli, protocol, options=_options(form), **shared) if controls else None
        part: dict[str, Any] = {"base": answers.as_dict(), "protocols": {answers.protocol: answers.as_dict()},
                                "consistency": {kind: own.as_dict() for kind, own in twice.items()},
                                "controls": None if hidden is None else hidden.as_dict()}  # fmt: skip
        tables = {"answers": answers.table, "consistency": [row for own in twice.values() for row in own.table],
                  "blind_controls": [] if hidden is None else hidden.table}  # fmt: skip
        lines = [*_accuracy(answers), *_twice(twice), *_hidden(hidden)]
        return lines + _written(self.out, part, tables, self.mllm, self.stimuli, self.seed)


def questions_of(questions: Path | None, images: str) -> McqSet:
    """The user's own multiple-choice questions.

    Raises:
        InputError: no file of questions, or one that cannot be used.
    """
    if questions is None:
        raise InputError(
            "Protocol mcq needs --questions FILE: a JSON or CSV of questions as Q-Bench's. Give one (docs/prompts.md)."
        )
    return read_mcq(questions, None if images == "embedded" else Path(images))


def ask_questions(mllm: Mllm, asked: McqSet, out: Path | None, *, seed: int = 0, **how: Any) -> list[str]:
    """Multiple-choice questions of the user's own; lines to print."""
    found = ask_mcq(mllm, asked, out=_book(out), seed=seed, **how)
    lines = [f"{row['group']:24} {row['n']:6} questions  {_share(row)}" for row in found.by_group]
    return [
        found.sentence,
        *lines,
        *_written(out, {"mcq": found.as_dict()}, {"answers": found.table}, mllm, asked.stimuli, seed),
    ]


def rate_images(
    mllm: Mllm, stimuli: StimulusSet, methods: Sequence[Method], out: Path | None, *, truth: Any = None, repeats: int = 1,
    temperature: float = 1.0, paraphrases: bool = False, pairs: bool = False, max_new_tokens: int | None = None, seed: int = 0, **how: Any,
) -> list[str]:  # fmt: skip
    """Quality scores, and what else was wanted; lines to print."""
    shared: dict[str, Any] = {"out": _book(out), "seed": seed, **how}
    rated = quality(mllm, stimuli, methods, truth=truth, **shared)
    over = [*(["repeats"] if repeats > 1 else []), *(["paraphrases"] if paraphrases else [])]
    words = next((m.kind for m in methods if m.kind not in NUMBERS), "levels")
    numbers = next((m.kind for m in methods if m.kind in NUMBERS), "number")
    twice: dict[str, Any] = {}
    if over:
        twice = score_consistency(mllm, stimuli, over, words, repeated=numbers, repeats=max(repeats, 2), temperature=temperature,
                                  max_new_tokens=max_new_tokens, **shared)  # fmt: skip
    compared, note = _compared(mllm, stimuli, truth, shared) if pairs else (None, "")
    part: dict[str, Any] = {"quality": {name: own.as_dict() for name, own in rated.items()}, "score_consistency": twice,
                            "preference": None if compared is None else compared.as_dict()}  # fmt: skip
    tables = {"quality_scores": [{"method": name, **row} for name, own in rated.items() for row in own.table],
              "preferences": [] if compared is None else compared.table}  # fmt: skip
    lines = [line for name, own in rated.items() for line in _followed(name, own)]
    lines += [_again(kind, entry) for kind, entry in twice.items()]
    if compared is not None:
        told = f"{_interval(compared.result.accuracy)} right, the first image preferred {_interval(compared.result.says_first)}"
        lines.append(f"pairs: {told}")
    return [*lines, *([note] if note else []), *_written(out, part, tables, mllm, stimuli, seed)]


def _compared(mllm: Mllm, stimuli: StimulusSet, truth: Any, shared: Mapping[str, Any]) -> tuple[Preference | None, str]:
    """Comparisons of pairs, or why there are none: the scores are told all the same."""
    try:
        return preference(mllm, stimuli, truth=truth, **shared), ""
    except InputError as error:
        return None, f"pairs could not be compared: {error}"


def _book(out: Path | None) -> Path | None:
    return None if out is None or _is_file(out) else out / ANSWERS


def _is_file(out: Path) -> bool:
    return out.suffix.lower() in (".csv", ".json")


def _options(form: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in form.items() if value is not None}


# ---- what is told ----------------------------------------------------------------------------------------------------


def _accuracy(found: Answers) -> list[str]:
    most = sorted(found.response_distribution.items(), key=lambda item: -item[1])[:4]
    lines = [
        f"{found.protocol}: {len(found.table)} images, accuracy {found.accuracy:.1%} [{found.low:.1%}, {found.high:.1%}], balanced "
        f"{found.balanced_accuracy:.1%} [{found.balanced_low:.1%}, {found.balanced_high:.1%}], macro-F1 {found.macro_f1:.2f}; chance "
        f"{found.chance:.1%}, majority {found.majority:.1%}, unparsed {found.unparsed:.1%}",
        "answers: " + ", ".join(f"{name} {share:.0%}" for name, share in most),
    ]
    if "exact" in found.extra:
        lines.append(f"exact match, the reply being a class's words and nothing else: {found.extra['exact']['value']:.1%}")
    if "severity" in found.extra and found.extra["severity"]["value"] is not None:
        lines.append(
            f"severity right where the class is: {found.extra['severity']['value']:.1%} of {found.extra['severity']['n']}"
        )
    lines += [
        f"yes or no, {row['class']}: AUC {row['auc']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"
        for row in found.extra.get("auc", ())
    ]
    return lines


def _twice(found: Mapping[str, Consistency]) -> list[str]:
    return [
        f"{kind}: {own.agreement.times} times; most frequent answer {_interval(own.agreement.mode_share)} of an image's answers, Fleiss' kappa "
        f"{_kappa(own.agreement.kappa)}"
        + ("" if own.changed is None else f"; {_interval(own.changed)} differ from the plain answer")
        for kind, own in found.items()
    ]


def _hidden(found: Blind | None) -> list[str]:
    if found is None:
        return []
    return [
        f"{row['what']}: balanced {row['balanced_accuracy']:.1%} [{row['low']:.1%}, {row['high']:.1%}], same answer {row['same_answer']:.0%}"
        for row in found.table
    ]


def _followed(name: str, own: Any) -> list[str]:
    found = own.correlations
    if found.srcc is None:
        return [f"{name}: no correlation with {own.truth} ({found.note})"]
    return [
        f"{name}: SRCC {found.srcc.value:.3f} [{found.srcc.low:.3f}, {found.srcc.high:.3f}], PLCC {found.plcc_fitted.value:.3f} after the "
        f"{found.fit.kind} fit, KRCC {found.krcc.value:.3f} with {own.truth}; unparsed {found.unparsed.value:.1%}"
    ]


def _again(kind: str, entry: Mapping[str, Any]) -> str:
    if entry["spread"] is None:
        return f"{kind} ({entry['method']}): {entry['note']}; {entry['parsed']:.0%} of the answers hold a score"
    return (
        f"{kind} ({entry['method']}, {entry['times']} times): standard deviation within an image {_number(entry['spread']['within'])}, "
        f"{_number(entry['spread']['relative'])} of that between images; levels differ for {_percent(entry['flips']['unstable'])} of the images"
    )


def _interval(found: Any) -> str:
    return "–" if found is None else f"{found.value:.1%} [{found.low:.1%}, {found.high:.1%}]"


def _kappa(found: Interval) -> str:
    return "not defined" if np.isnan(found.value) else f"{found.value:.2f}"


def _percent(found: Mapping[str, float]) -> str:
    return f"{found['value']:.1%}"


def _number(found: Mapping[str, float]) -> str:
    return f"{found['value']:.3g}"


def _share(row: Mapping[str, Any]) -> str:
    bounds = "" if row["low"] is None else f" [{row['low']:.1%}, {row['high']:.1%}]"
    return f"{row['accuracy']:.1%}{bounds}"


# ---- what is written -------------------------------------------------------------------------------------------------


def _written(
    out: Path | None, part: Mapping[str, Any], tables: Mapping[str, Table], mllm: Mllm, stimuli: StimulusSet, seed: int
) -> list[str]:
    """Tables, summary and figures in a folder; the first table alone where a file was named."""
    if out is None:
        return []
    if _is_file(out):
        return [f"Answers: {write_table(out, next(iter(tables.values())))}"]
    for name, rows in tables.items():
        if rows:
            write_csv(rows, out / f"{name}.csv")
    about = provenance(mllm.provenance, {"stimuli": fingerprint(stimuli)}, seed=seed)
    write_json({"provenance": about, **part}, out / "summary.json")
    figures = written(interview_figures(part), out / "figures")
    told = f" and {len(figures)} figures" if figures else ""
    return [f"Tables, summary.json{told} in {out}"]
