"""Cause within an exam: features exchanged, attention cut and states read in the model that answers best."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from analysis.knockout import knockout
from analysis.lens import lens
from analysis.lens_words import readable
from analysis.patching import patch
from analysis.perception import Answers
from hooks.head import head
from hooks.load import Mllm
from hooks.stages import Stages
from snellen.config import ExamConfig
from stimuli.errors import InputError
from stimuli.pairs import pairs
from stimuli.tables import Table, read_json, write_json
from stimuli.taxonomy import CLEAN
from stimuli.taxonomy import taxonomy as load_taxonomy
from stimuli.types import Stimulus, StimulusSet

LOADED = "as loaded"
"""What the model that was not tuned is called."""
MARGIN = 0.1
"""A model answers if the interval of its balanced accuracy lies above chance by more than this."""
BLOCKS = 4
"""Of the language model, at most so many are exchanged, spread evenly."""
READ = 20
"""At most so many sites are read, spread evenly."""
SETS = ("image", "last")
"""Tokens that are exchanged: what is shown, and where the answer is said."""

T = TypeVar("T")
Kept = Mapping[str, Any]
"""One part: its tables, or ``skipped`` and why."""


class Seen(Protocol):
    """What is needed of one model's part of the exam."""

    @property
    def answers(self) -> Answers:
        """To the forced choice, about all stimuli."""


@dataclass(frozen=True)
class Cause:
    """What an exam knows of causes."""

    results: dict[str, Any]
    """The part ``cause`` of the results: which model, how well it answers, about how many references and images, and by part
    ``patching``, ``knockout`` and ``lens`` (rows over all classes); ``skipped`` and why, instead of a part or of everything."""
    tables: dict[str, Table] = field(repr=False)
    """By file name, all rows."""


def told(
    candidates: Mapping[str, tuple[Mllm, Seen]], shown: StimulusSet, settings: ExamConfig, out: Path, progress: bool
) -> Cause:
    """Measure causes in the model as loaded if it answers, else in the best arm if that does.

    A part that a model refuses, or that fails in whatever way, says so; the others go on. A part that is done is kept in ``out``, and is
    not done again.

    Args:
        candidates: name to model and what was seen of it; the model as loaded first.
        shown: the exam's stimuli.
        settings: of the exam; ``cause`` references are used.
        out: folder of the parts.
        progress: show progress bars.
    """
    if not settings.cause:
        return Cause({"skipped": "It was switched off (cause: 0)."}, {})
    name, why = answering({own: seen.answers for own, (_, seen) in candidates.items()})
    if name is None:
        return Cause({"skipped": why}, {})
    mllm, answers = candidates[name][0], candidates[name][1].answers
    few = by_class(shown, settings.taxonomy, settings.cause)
    single, every = one_each(few), [stimulus for own in few.values() for stimulus in own.values()]
    about: dict[str, Any] = {"taxonomy": settings.taxonomy, "batch_size": settings.batch_size, "n_boot": settings.n_boot,
                             "seed": settings.seed, "progress": progress}  # fmt: skip
    runs: dict[str, tuple[Callable[[], dict[str, Any]], Sequence[Stimulus]]] = {
        "patching": (lambda: _patching(mllm, single, every, about), single),
        "knockout": (lambda: _knockout(mllm, single, about), single),
        "lens": (lambda: _lens(mllm, every, about), every),
    }
    found = {part: _kept(out / f"{part}.json", name, run, used) for part, (run, used) in runs.items()}
    about_it = {"model": name, "chance": answers.chance, "references": len(few), "distorted": len(single), "images": len(every)}
    numbers = {key: getattr(answers, key) for key in ("balanced_accuracy", "balanced_low", "balanced_high")}
    return Cause({**about_it, **numbers, **{part: _short(own) for part, own in found.items()}}, _tables(found))


def answering(candidates: Mapping[str, Answers]) -> tuple[str | None, str]:
    """The model that answers, and else why there is none.

    Args:
        candidates: answers by name; those of the model as loaded first, which is taken if it answers, however well the others do.
    """
    loaded, *arms = candidates
    best = max(arms, key=lambda name: candidates[name].balanced_accuracy, default=loaded)
    for name in (loaded, best):
        if candidates[name].balanced_low > candidates[name].chance + MARGIN:
            return name, ""
    own = max((candidates[name] for name in (loaded, best)), key=lambda answers: answers.balanced_accuracy)
    return None, (
        f"No model answers clearly better than chance: the best has a balanced accuracy of {_percent(own.balanced_accuracy)} "
        f"[{_percent(own.balanced_low)}, {_percent(own.balanced_high)}], and the lower end would have to be above "
        f"{_percent(own.chance + MARGIN)}. Where the distortion does not decide the answer, there is nothing to exchange, cut or read."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


# ---- stimuli -----------------------------------------------------------------------------------------------------------------


def by_class(shown: StimulusSet, taxonomy: str, references: int) -> dict[str, dict[str, Stimulus]]:
    """Reference to class to one stimulus, the one of the highest level; only the undistorted image counts as clean.

    Args:
        shown: the exam's stimuli.
        taxonomy: name or file.
        references: at most so many of those with a distorted image, spread evenly over the set.
    """
    known = load_taxonomy(taxonomy)
    found: dict[str, dict[str, Stimulus]] = {}
    for stimulus in shown:
        label = known.label(stimulus)
        if label is None or (label == CLEAN and stimulus.type is not None):
            continue
        own = found.setdefault(stimulus.reference, {})
        if label not in own or (stimulus.level or 0) > (own[label].level or 0):
            own[label] = stimulus
    names = spread([name for name, own in found.items() if set(own) - {CLEAN}], references)
    return {name: found[name] for name in names}


def one_each(few: Mapping[str, Mapping[str, Stimulus]]) -> list[Stimulus]:
    """One distorted stimulus of each reference, its class the one that has come least so far, and of these the highest level.

    There are at most half as many classes as references, as far as possible, for controls of the same class and of another.
    """
    classes = list(dict.fromkeys(label for own in few.values() for label in own if label != CLEAN))
    wanted = set(classes[: max(2, len(few) // 2)])
    count: Counter[str] = Counter()
    found = []
    for own in few.values():
        able = [label for label in own if label in wanted] or [label for label in own if label != CLEAN]
        label = min(able, key=lambda name: (count[name], -(own[name].level or 0)))
        count[label] += 1
        found.append(own[label])
    return found


def spread(names: Sequence[T], count: int) -> list[T]:
    """At most so many of the names, the first and the last among them, in order."""
    if len(names) <= count:
        return list(names)
    return [names[i] for i in np.unique(np.linspace(0, len(names) - 1, max(count, 1)).round().astype(int))]


def exchanged(stages: Stages) -> list[str]:
    """Where features are exchanged: what enters the encoder and what the projector reads, the projector, blocks of the language model."""
    dead = set(stages.proof.dead) if stages.proof is not None else set()
    live = [site for site in stages.sites if site not in dead]
    vision = [site for site in live if stages.component(site) == "vision"]
    blocks = [site for site in live if stages.component(site) == "llm" and site != "llm.embed"]
    front = [*vision[:1], stages.read_layer, *(site for site in live if stages.component(site) == "projector")]
    return list(dict.fromkeys([*front, *spread(blocks, BLOCKS)]))


# ---- parts -------------------------------------------------------------------------------------------------------------------


def _patching(mllm: Mllm, single: Sequence[Stimulus], every: Sequence[Stimulus], about: Mapping[str, Any]) -> dict[str, Any]:
    clean = [stimulus for stimulus in every if stimulus.type is None]
    with_clean = {stimulus.reference for stimulus in clean}
    found = patch(mllm, pairs([*clean, *(s for s in single if s.reference in with_clean)]), sites=exchanged(mllm.stages),
                  sets=SETS, **about)  # fmt: skip
    return {"table": found.table, "pairs": found.pairs, "notes": list(found.notes)}


def _knockout(mllm: Mllm, single: Sequence[Stimulus], about: Mapping[str, Any]) -> dict[str, Any]:
    found = knockout(mllm, single, **about)
    return {"table": found.table, "window": found.window, "notes": []}


def _lens(mllm: Mllm, every: Sequence[Stimulus], about: Mapping[str, Any]) -> dict[str, Any]:
    found = lens(mllm, every, sites=spread(readable(mllm, head(mllm), None), READ), **about)
    return {"table": found.table, "words": found.words, "notes": list(found.notes)}


def _kept(file: Path, model: str, run: Callable[[], dict[str, Any]], used: Sequence[Stimulus]) -> Kept:
    """One part as found in its file, or measured and written there; what could not be measured is tried again next time."""
    what = {"model": model, "ids": [stimulus.id for stimulus in used]}
    if file.is_file():
        found: dict[str, Any] = read_json(file, "what the exam wrote")
        if found.get("of") == what:
            return found
    try:
        made = run()
    except InputError as error:
        return {"skipped": str(error)}
    except Exception as error:  # of whatever kind a family raises it: an exam is not lost for this
        return {"skipped": f"It failed with {type(error).__name__}: {error}"}
    measured: dict[str, Any] = json.loads(write_json({"of": what, **made}, file).read_text())
    return measured


def _short(part: Kept) -> dict[str, Any]:
    """What goes into the results: without the rows of single classes and pairs, which the tables have."""
    if "skipped" in part:
        return dict(part)
    rows = [row for row in part["table"] if row.get("class", "all") == "all"]
    return {**{key: value for key, value in part.items() if key not in ("of", "pairs")}, "table": rows}


def _tables(found: Mapping[str, Kept]) -> dict[str, Table]:
    """``cause_lens``, ``cause_lens_words`` and so on."""
    made = {f"cause_{part}": own["table"] for part, own in found.items() if "table" in own}
    more = {f"cause_{part}_{key}": own[key] for part, own in found.items() for key in ("pairs", "words") if key in own}
    return made | more
