"""What share of a distortion's effect on the answer passes, or is lost, in each component.

The way from pixel to answer is a chain, so that everything passes through every component; what can be told apart is where the effect
is *lost*. A second model of the same architecture that answers (a tuned copy, a healthy twin) makes that measurable: with its features
put in at the end of a component, the patient's answers come back as far as what is lost lies before that point, and with the
patient's features put into it they are spoilt as far. The differences along the way are the components' shares of the loss, as natural
indirect effects are in a chain of mediators (Pearl 2001; Vig et al. 2020). They sum to one.

Where the two processors make different inputs of the same images, those are exchanged first: otherwise what the patient's processor
removes would be missed behind the encoder and be charged to it.

Where each component was tuned alone, the arms are such models too, each a *reader* of what reaches its component: what an arm makes of
the patient's features bounds from below what can be said from there (``analysis.mediation_shares.loss_by_arms``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from analysis.choice import Choice, choice, images_of
from analysis.mediation_shares import Mediation, shares
from analysis.perception import with_labels
from hooks.answer import Options
from hooks.exchange import donated, exchange, unlike
from hooks.load import Mllm
from stimuli.errors import InputError
from stimuli.progress import tqdm
from stimuli.types import Stimulus, StimulusSet

PROCESSOR, PROCESSED = "processor", "processed"
Moved = dict[str, np.ndarray]
"""Component to the probability of the right answer with the other's features at its end, float64 (n,)."""


def mediation(
    mllm: Mllm,
    donor: Mllm,
    stimuli: StimulusSet | Sequence[Stimulus],
    *,
    taxonomy: str | Path = "paper8",
    batch_size: int = 16,
    n_boot: int = 1000,
    seed: int = 0,
    progress: bool = True,
) -> Mediation:
    """Exchange features between a model and one that answers, at the end of the encoder and of the projector.

    Args:
        mllm: the patient; left as it is.
        donor: a model of the same architecture that answers better; left as it is. Best one of the same origin: features of a model
            that was trained apart mean nothing to the patient, and the difference is then charged to nobody.
        stimuli: labelled, of two references or more; shown to both.
        taxonomy: name or file.
        batch_size: images per forward pass.
        n_boot: resamples of references.
        seed: of the resamples.
        progress: show progress bars.

    Returns:
        The shares; with a row for ``processor`` where the two processors make different inputs of the images.

    Raises:
        InputError: no projector, fewer than two references, a donor of another architecture, or one that is shown other tokens.
    """
    ends = ends_of(mllm)
    _refuse_donor(mllm, donor, list(ends.values()))
    shown, labels = with_labels(stimuli, taxonomy)
    groups = [one.reference for one in shown]
    if len(set(groups)) < 2:
        raise InputError(
            f"Got {len(shown)} labelled stimuli of one reference. Expected at least 2 references, for intervals. Add more."
        )
    asked = choice(taxonomy)
    at = np.array([asked.place(label) for label in labels])
    low, high = np.empty(len(shown)), np.empty(len(shown))
    into, out_of = ({name: np.empty(len(shown)) for name in (PROCESSOR, *ends)} for _ in range(2))
    other = False
    for start in tqdm(range(0, len(shown), batch_size), desc="exchanging features", unit="batch", disable=not progress):
        which = slice(start, start + batch_size)
        images = images_of(shown[which])
        mine, theirs = asked.prepared(mllm, images), asked.prepared(donor, images)
        _refuse_tokens(shown[which], mine, theirs)
        unlike_inputs = not _same_inputs(mine, theirs)
        other |= unlike_inputs
        ways = ((low, into, mllm, donor, mine, theirs), (high, out_of, donor, mllm, theirs, mine))
        for alone, moved, receiver, giver, ready, given in ways:
            alone[which] = _right(receiver, asked, ready, at[which])
            found = _exchanged(receiver, giver, asked, ready, given, ends, at[which], unlike_inputs)
            for name, kept in moved.items():
                kept[which] = found.get(name, alone[which])
    names = (PROCESSOR, *ends) if other else tuple(ends)
    steps = {name: (into[name] - low, high - out_of[name]) for name in names}
    return shares(low, high, steps, {PROCESSOR: PROCESSED, **ends}, groups, n_boot, seed, tuple(one.id for one in shown))


def ends_of(mllm: Mllm) -> dict[str, str]:
    """The sites at which encoder and projector end.

    Raises:
        InputError: there is no projector, or the encoder ends in none.
    """
    stages = mllm.stages
    if "projector" not in stages.sites or stages.read_layer not in stages.sites:
        raise InputError(
            f"{mllm.name} has no site at which the encoder or the projector ends (it has {', '.join(list(stages.sites)[-4:])}). Expected "
            "both. Map them by hand with stages=, or use sn.patch at the sites that there are."
        )
    return {"vision": stages.read_layer, "projector": "projector"}


def _exchanged(
    receiver: Mllm,
    giver: Mllm,
    asked: Choice,
    mine: Options,
    given: Options,
    ends: Mapping[str, str],
    at: np.ndarray,
    inputs: bool,
) -> Moved:
    """What becomes of the receiver's answers with the giver's inputs, if they are others, and with its features at each end."""
    moved = {PROCESSOR: _right(receiver, asked, given, at)} if inputs else {}
    donation = donated(giver, given.batches[0], list(ends.values()))
    for name, site in ends.items():
        with exchange(receiver, donation, {site: None}):
            moved[name] = _right(receiver, asked, mine, at)
    return moved


def _right(mllm: Mllm, asked: Choice, ready: Options, at: np.ndarray) -> np.ndarray:
    """Probability of the right answer, (n,)."""
    return np.asarray(asked.probabilities(mllm, ready)[np.arange(len(at)), at])


def _same_inputs(one: Options, other: Options) -> bool:
    """Whether two models are shown the same tensors."""
    mine, given = one.batches[0].tensors, other.batches[0].tensors
    return mine.keys() == given.keys() and all(_alike(mine[name], given[name]) for name in mine)


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return torch.equal(one.cpu(), other.cpu())
    return bool(np.all(one == other))


def _refuse_donor(mllm: Mllm, donor: Mllm, sites: Sequence[str]) -> None:
    missing = [site for site in sites if site not in donor.stages.sites]
    if missing:
        raise InputError(
            f"The donor '{donor.name}' has no site {', '.join(missing)}, but '{mllm.name}' has. Expected a model of the same "
            "architecture, such as a tuned copy."
        )


def _refuse_tokens(shown: Sequence[Stimulus], one: Options, other: Options) -> None:
    at = unlike(one.batches[0].layout, other.batches[0].layout)
    if at is not None or len(one.batches) != len(other.batches):
        raise InputError(
            f"'{shown[at or 0].id}' is shown to the two models as different tokens, so that features have no counterpart. Expected the same "
            "chat template and as many image tokens. Give both the same processor, or another donor."
        )
