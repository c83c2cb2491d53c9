"""Steering: does adding a class's direction to a model's features make it answer that class, dose by dose?

A probe tells that a class is there, an answer that follows when its direction is added tells that it is read there (Li et al. 2023;
Turner et al. 2023). The controls add random directions and directions of shuffled labels of the same length; what the images show is
asked too, for a push that makes the model say anything at all destroys content.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.choice import choice
from analysis.steering_runs import BASE, BASE_KIND, Arm, Runs, series_of
from analysis.steering_table import ALL, Bootstrap, corrected, dose_rows, slope_row, together
from hooks.extract import extract
from hooks.load import Mllm
from hooks.steering import TOKENS
from probes.directions import CONTROLS, KINDS, Directions, directions, tagged
from probes.intervals import enough
from probes.targets import target_of
from stimuli.errors import InputError
from stimuli.results import Result
from stimuli.tables import Row, Table
from stimuli.taxonomy import CLEAN
from stimuli.taxonomy import taxonomy as taxonomy_of
from stimuli.types import Stimulus, StimulusSet

DOSES = (-4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0)
SHOWN = ("others", "clean", "own")
"""Which stimuli are steered to a class: those of other classes (clean ones among them), clean ones alone, or those of the class itself, of
which negative doses should take it away."""
FAR = 0.5
"""Where more than this share of tokens has an unusual norm, a dose is said to be far from what the model knows."""


@dataclass(frozen=True, repr=False)
class Steering(Result):
    """Answers under doses of steering at one site."""

    table: Table
    """A row per ``class`` (and ``all``), ``kind`` (of the directions, or a control's name), ``like`` (whose length it has) and
    ``dose``: ``site``, ``norm`` (length added), ``n`` stimuli, ``references``; mean ``probability`` of the class, ``contrast`` (its log
    odds against clean, nats), ``share`` of answers that are the class, ``accuracy`` (right answers), ``relative_norm`` (of the steered
    tokens to their own) and ``outside`` (share of them whose norm the model's own tokens hardly have), each with interval; ``change`` of
    the probability from dose 0, paired, with ``low``, ``high``, ``p``, and ``p_holm`` over classes and doses of a kind; ``…_change`` of
    contrast, share and accuracy. Where asked, ``colour`` and ``shape`` (share of descriptions that name them) and ``agreement`` (token F1
    with the description at dose 0) with ``…_change``."""
    slopes: Table
    """A row per class (and ``all``), kind and like: ``slope`` of the probability over dose with ``low``, ``high``, ``p``, ``p_holm``;
    ``contrast_slope`` with interval; ``monotone`` (Spearman's correlation of the mean probability with the dose) with interval,
    ``rising``; of the directions ``beyond_random`` and ``beyond_shuffled``, the slope less the control's, paired, with interval, p and
    p_holm."""
    notes: tuple[str, ...]
    """What to mind."""
    directions: Directions

    def rows(self, label: str = ALL, kind: str = KINDS[0], like: str | None = None) -> Table:
        """The rows of a class and kind, by dose."""
        wanted = {"class": label, "kind": kind, "like": like or kind}
        return [row for row in self.table if wanted.items() <= row.items()]

    def slope(self, label: str = ALL, kind: str = KINDS[0], like: str | None = None) -> Row:
        """The slope of a class and kind."""
        wanted = {"class": label, "kind": kind, "like": like or kind}
        return next(row for row in self.slopes if wanted.items() <= row.items())


def steering_directions(
    mllm: Mllm,
    stimuli: StimulusSet | Sequence[Stimulus],
    site: str,
    *,
    tokens: str = "image",
    taxonomy: str | Path = "paper8",
    kinds: Sequence[str] = KINDS,
    classes: Sequence[str] | None = None,
    against: str = CLEAN,
    batch_size: int = 32,
    seed: int = 0,
    progress: bool = True,
) -> Directions:
    """Directions fitted to a model's features at a site: image rows mean-pooled, or the last position of the prompt.

    Adding a step to every image row moves their mean by the step.

    Args:
        mllm: the model.
        stimuli: with classes; of other references than those that will be steered.
        site: where.
        tokens: of ``TOKENS``; ``all`` is fitted to image rows too.
        taxonomy: name or file.
        kinds: of ``probes.directions.KINDS``.
        classes: those wanted; by default all that are shown but ``against``.
        against: the class where steps begin, or ``others``.
        batch_size: images per forward pass.
        seed: of the probe's inner folds.
        progress: show a progress bar.

    Raises:
        InputError: an unknown site, tokens that it does not have, or too few stimuli.
    """
    _refuse_tokens(tokens)
    mllm.stages.check([site])
    pool, prompt = "last" if tokens == "last" else "mean", choice(taxonomy).question.prompt
    store = extract(mllm, stimuli, [site], pool, prompt=prompt, batch_size=batch_size, progress=progress)
    wanted = target_of(store, "distortion", taxonomy)
    values = wanted.rows(store.read(site), site)
    found = directions(values, wanted.values, wanted.groups, kinds=kinds, classes=classes, against=against, seed=seed)
    return tagged(found, site, tokens)


def dose_response(
    mllm: Mllm,
    stimuli: StimulusSet | Sequence[Stimulus],
    by: Directions | StimulusSet | Sequence[Stimulus],
    *,
    site: str,
    classes: Sequence[str] | None = None,
    doses: Sequence[float] = DOSES,
    tokens: str = "image",
    shown: str = "others",
    kinds: Sequence[str] = KINDS,
    controls: Sequence[str] = CONTROLS,
    against: str = CLEAN,
    content: Sequence[float] | None = None,
    taxonomy: str | Path = "paper8",
    batch_size: int = 32,
    n_boot: int = 1000,
    seed: int = 0,
    progress: bool = True,
) -> Steering:
    """Add dose × direction to tokens at a site, and see what becomes of the answers to the forced choice.

    Args:
        mllm: the model; left as it is.
        stimuli: what is steered; with classes, of references that the directions were not fitted to.
        by: directions, or the stimuli to fit them to (``steering_directions``).
        site: where.
        classes: to steer to; by default all that there is a direction to.
        doses: in units of one natural class difference; 0 is added.
        tokens: of ``TOKENS``.
        shown: of ``SHOWN``.
        kinds: of directions that are fitted here.
        controls: of ``probes.directions.CONTROLS``; each is as long as the direction it stands beside, drawn anew for each reference.
        against: where steps that are fitted here begin: a class, or ``others``.
        content: doses at which the images are described too; by default the largest, () for none.
        taxonomy: name or file; its classes are the answers.
        batch_size: images per forward pass.
        n_boot: resamples of references; more if there are too many tests for Holm's correction (``probes.intervals.enough``).
        seed: of fits, controls and resamples.
        progress: show progress bars.

    Raises:
        InputError: unknown names, references that the directions were fitted to, directions of another site, doses that are no numbers,
            tokens that the site does not have, or fewer than two references to steer to a class.
    """
    _refuse_tokens(tokens)
    dosed, described = _doses(doses, content)
    if shown not in SHOWN:
        raise InputError(f"Got shown='{shown}'; expected one of {', '.join(SHOWN)}. Use one of these.")
    mllm.stages.check([site])
    own = by if isinstance(by, Directions) else None
    if own is None and not isinstance(by, Directions):
        _refuse_seen(stimuli, {stimulus.reference for stimulus in by})
        own = steering_directions(mllm, by, site, tokens=tokens, taxonomy=taxonomy, kinds=kinds, classes=classes, against=against,
                                  batch_size=batch_size, seed=seed, progress=progress)  # fmt: skip
    assert own is not None
    _refuse_seen(stimuli, set(own.references))
    asked, made = choice(taxonomy), [name for name in controls if name in own.controls]
    labels = _fitting(own, site, classes, controls, asked.classes)
    truth = {stimulus.id: taxonomy_of(taxonomy).label(stimulus) for stimulus in stimuli}
    steered = {label: _shown(stimuli, truth, label, shown) for label in labels}
    arms = {label: _arms(label, own, made, dosed) for label in labels}
    runs = Runs(mllm, asked, site, tokens, own, steered, arms, described, seed)
    runs.measure(batch_size, progress)
    how = Bootstrap(enough(n_boot, len(labels) * (len(dosed) - 1)), seed)
    return _told(runs, truth, made, dosed, how)


def _arms(label: str, own: Directions, controls: Sequence[str], doses: Sequence[float]) -> list[Arm]:
    """Dose 0, then every kind and every control of its length at every other dose."""
    ways = [(kind, like) for like in own.steps for kind in (like, *controls)]
    return [
        Arm(label, BASE_KIND, BASE_KIND, BASE),
        *(Arm(label, kind, like, dose) for kind, like in ways for dose in doses if dose != BASE),
    ]


def _told(
    runs: Runs, truth: dict[str, str | None], controls: Sequence[str], doses: Sequence[float], how: Bootstrap
) -> Steering:
    table: Table = []
    slopes: Table = []
    for like in runs.directions.steps:
        series = {
            kind: [series_of(runs, truth, label, kind, like, doses) for label in runs.shown] for kind in (like, *controls)
        }
        for kind, own in series.items():
            every = [*own, together(own)]
            table += [row for one in every for row in dose_rows(one, how)]
            beside = controls if kind == like else ()
            others = [[*series[control], together(series[control])] for control in beside]
            slopes += [slope_row(one, [other[at] for other in others], how) for at, one in enumerate(every)]
    sited = [{"site": runs.site, **row} for row in corrected(table, ("p",))]
    tested = ("p", *(f"beyond_{name}_p" for name in controls))
    steep = [{"site": runs.site, **row} for row in corrected(slopes, tested)]
    return Steering(sited, steep, _notes(runs, sited, controls), runs.directions)


def _notes(runs: Runs, table: Table, controls: Sequence[str]) -> tuple[str, ...]:
    notes = []
    for kind in runs.directions.steps:
        far = [row for row in table if row["class"] == ALL and row["kind"] == kind and (row["outside"] or 0) > FAR]
        if far:
            told = ", ".join(f"{row['dose']:g} ({100 * row['outside']:.0f} %)" for row in far)
            notes.append(
                f"At '{runs.site}' along '{kind}', most steered tokens have a norm that the model's own tokens hardly have, at the doses "
                f"{told}. What answers do there says little of what the model reads."
            )
    if not len(runs.directions.values) and "random" in controls:
        notes.append(
            "The directions were given, not fitted: random ones beside them are drawn evenly, not as the features vary."
        )
    return tuple(notes)


# ---- what is refused ---------------------------------------------------------------------------------------------------------


def _refuse_tokens(tokens: str) -> None:
    if tokens not in TOKENS:
        raise InputError(f"Got tokens='{tokens}'; expected one of {', '.join(TOKENS)}. Use one of these.")


def _doses(doses: Sequence[float], content: Sequence[float] | None) -> tuple[tuple[float, ...], frozenset[float]]:
    """Doses with 0, ascending, and those at which content is asked."""
    given = {float(dose) for dose in doses}
    if not given - {0.0} or not np.isfinite(list(given)).all():
        raise InputError(
            f"Got the doses {tuple(doses)}; expected finite numbers, at least one of them not 0. Give some, as {DOSES}."
        )
    wanted = frozenset({max(given)} if content is None else {float(dose) for dose in content})
    if not wanted <= given | {0.0}:
        raise InputError(
            f"Got content={tuple(sorted(wanted))}; expected some of the doses {tuple(sorted(given))}. Add them to doses=, or leave it out."
        )
    return tuple(sorted(given | {0.0})), wanted


def _refuse_seen(stimuli: Sequence[Stimulus], fitted: set[str]) -> None:
    there = {stimulus.reference for stimulus in stimuli}
    seen = sorted(there & fitted)
    if seen:
        raise InputError(
            f"The directions were fitted to {len(seen)} of the {len(there)} references to be steered (first: {seen[0]}). Expected other "
            "references. Split them, and fit to the one half."
        )


def _fitting(
    own: Directions, site: str, classes: Sequence[str] | None, controls: Sequence[str], answers: Sequence[str]
) -> list[str]:
    """The classes to steer to."""
    if own.site is not None and own.site != site:
        raise InputError(
            f"The directions are of '{own.site}', and '{site}' is to be steered. Expected the same. Fit them there."
        )
    strange = [name for name in controls if name not in CONTROLS]
    if strange or isinstance(controls, str):
        raise InputError(f"Got the controls {controls!r}. Expected a list of some of {', '.join(CONTROLS)}. Use these.")
    wanted = list(own.classes) if classes is None else list(classes)
    for name in wanted:
        if name not in own.classes or name not in answers:
            known = [known for known in own.classes if known in answers]
            raise InputError(
                f"Got the class '{name}' to steer to; expected one of {', '.join(known) or 'none'}, which have a direction and are answers. "
                "Choose these, or fit directions to other stimuli."
            )
    if not wanted:
        raise InputError("Got no class to steer to; expected at least one. Leave classes= out for all.")
    return wanted


def _shown(stimuli: Sequence[Stimulus], truth: dict[str, str | None], label: str, shown: str) -> Sequence[Stimulus]:
    """The stimuli that are steered to a class."""
    keep = {"others": lambda own: own not in (None, label), "clean": lambda own: own == CLEAN, "own": lambda own: own == label}[
        shown
    ]
    found = [stimulus for stimulus in stimuli if keep(truth[stimulus.id])]
    references = len({stimulus.reference for stimulus in found})
    if references < 2:
        raise InputError(
            f"There are {len(found)} stimuli of {references} references to steer to '{label}' (shown='{shown}'). Expected at least 2 "
            "references. Show more stimuli, or leave the class out."
        )
    return found
