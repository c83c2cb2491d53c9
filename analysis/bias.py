"""Does a model follow the image or the template? The measures of ``template_bias`` and ``descriptions`` put together for one model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from analysis.answer_information import Information, information, information_with_labels
from analysis.consistency import Consistency
from analysis.descriptions import LEVELS, Contradictions, TemplateCounts, contradictions, template_counts, usual_slots
from analysis.parsing import UNPARSED
from analysis.perception import Answers
from analysis.quality import Quality, severity_of
from analysis.template_bias import Divergence, divergence, score_residuals
from stimuli.tables import Table
from stimuli.types import Stimulus


@dataclass(frozen=True)
class Bias:
    """How far answers, scores and descriptions go by the template; intervals are over references."""

    divergence: Divergence
    """The response distribution against uniform, a prior and the truth."""
    information: Mapping[str, Information]
    """What answers tell of the image and of the wording, by kind of consistency (``paraphrases``, ``orders``)."""
    about_class: Information
    """What the plain answers tell of the true class."""
    residuals: Table | None
    """Signed score residual per distortion type at equal measured severity; None without scores or severity."""
    severity: str
    """By which severity."""
    templates: Mapping[str, TemplateCounts]
    """Of the descriptions, by what was described."""
    contradictions: Contradictions | None
    """Of descriptions of quality and quality levels; None without either, or where fewer than two references have both."""
    notes: tuple[str, ...] = field(default=())

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, without the rows."""
        return {
            "divergence": self.divergence.as_dict(),
            "information": {kind: own.as_dict() for kind, own in self.information.items()},
            "about_class": self.about_class.as_dict(),
            "residuals": self.residuals,
            "severity": self.severity,
            "templates": {name: own.as_dict() for name, own in self.templates.items()},
            "contradictions": None if self.contradictions is None else self.contradictions.as_dict(),
            "notes": list(self.notes),
        }

    def tables(self) -> dict[str, Table]:
        """The rows behind the numbers, by file name."""
        said = [] if self.contradictions is None else self.contradictions.table
        return {"score_residuals": self.residuals or [], "descriptions": said,
                "templates": [{"described": name, **row} for name, own in self.templates.items() for row in own.templates]}  # fmt: skip


def bias(
    answers: Answers,
    twice: Mapping[str, Consistency],
    rated: Quality | None,
    described: Mapping[str, Mapping[str, str]],
    stimuli: Sequence[Stimulus],
    *,
    taxonomy: str | Path = "paper8",
    prior: Mapping[str, float] | None = None,
    n_boot: int = 1000,
    seed: int = 0,
) -> Bias:
    """Put the evidence for template bias together; nothing is asked here.

    Args:
        answers: to the plain question.
        twice: the same question in other words, or with the options in other orders.
        rated: quality scores with levels.
        described: ``content`` and ``quality`` → stimulus id → description.
        stimuli: all that were shown.
        taxonomy: whose words are masked in descriptions.
        prior: class → share of the training templates, where known.
        n_boot: resamples of references.
        seed: of resamples and permutations.
    """
    rows = answers.table
    said, labels, groups = ([row[key] for row in rows] for key in ("answer", "label", "reference"))
    spread = divergence(said, answers.classes, groups, prior, n_boot, seed, truth=labels)
    told = {
        kind: information(own.answers, own.groups, n_boot, seed)
        for kind, own in twice.items()
        if kind in ("paraphrases", "orders")
    }
    about_class = information_with_labels(said, labels, groups, n_boot, seed)
    residuals, severity, note = _residuals(rated, stimuli, n_boot, seed)
    reference = {s.id: s.reference for s in stimuli}
    templates = {
        name: template_counts(
            list(texts.values()), _slots(stimuli, taxonomy), [reference[id] for id in texts], n_boot=n_boot, seed=seed
        )
        for name, texts in described.items()
    }
    return Bias(spread, told, about_class, residuals, severity, templates, _contradictions(described, rated, reference, n_boot, seed),
                tuple(filter(None, [note])))  # fmt: skip


def _slots(stimuli: Sequence[Stimulus], taxonomy: str | Path) -> dict[str, Sequence[str]]:
    """Words to mask: those of classes and quality, and the content where the stimuli know it."""
    content = dict.fromkeys(word for s in stimuli for word in s.attributes.values())
    return {**usual_slots(taxonomy), **({"content": tuple(content)} if content else {})}


def _residuals(rated: Quality | None, stimuli: Sequence[Stimulus], n_boot: int, seed: int) -> tuple[Table | None, str, str]:
    """Residuals of the distorted images, by which severity, and why there are none."""
    if rated is None:
        return None, "", "no scores to compare"
    there = {s.id: s for s in stimuli}
    shown = [there[id] for id in rated.ids]
    severity, name = severity_of(shown)
    types, groups = (np.array(column) for column in ([s.type or "" for s in shown], [s.reference for s in shown]))
    own = (types != "") & np.isfinite(severity)
    told = own & np.isfinite(rated.scores)
    if len(set(types[told])) < 2 or len(set(groups[told])) < 2:
        return None, name, "fewer than two distortion types, or two references, have scores and a measured severity"
    return score_residuals(rated.scores[own], severity[own], types[own], groups[own], n_boot, seed), name, ""


def _contradictions(
    described: Mapping[str, Mapping[str, str]], rated: Quality | None, reference: Mapping[str, str], n_boot: int, seed: int
) -> Contradictions | None:
    if rated is None or "quality" not in described:
        return None
    level = dict(zip(rated.ids, rated.levels.tolist(), strict=True))
    ids = [id for id in described["quality"] if id in level]
    if len({reference[id] for id in ids}) < 2:
        return None
    words = [UNPARSED if np.isnan(level[id]) else LEVELS[round(level[id]) - 1] for id in ids]
    texts = [described["quality"][id] for id in ids]
    found = contradictions(texts, words, [reference[id] for id in ids], n_boot, seed)
    about = ({"id": id, "reference": reference[id], "description": text} for id, text in zip(ids, texts, strict=True))
    return replace(found, table=[{**own, **row} for own, row in zip(about, found.table, strict=True)])
