"""What share of a distortion's effect on the answer passes, or is lost, in each component.

The way from pixel to answer is a chain, so that everything passes through every component; what can be told apart is where the effect
is *lost*. A second model of the same architecture that answers (a tuned copy, a healthy twin) makes that measurable: with its features
put in at the end of a component, the patient's answers come back as far as what is lost lies before that point, and with the
patient's features put into it they are spoilt as far. The differences along the way are the components' shares of the loss, as natural
indirect effects are in a chain of mediators (Pearl 2001; Vig et al. 2020). They sum to one.

Where each component was tuned alone, the arms are such models too, each a *reader* of what reaches its component: what an arm makes of
the patient's features bounds from below what can be said from there (``analysis.mediation_shares.loss_by_arms``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.choice import Choice, choice, images_of
from analysis.mediation_shares import Mediation, shares
from analysis.patching import patch
from analysis.perception import with_labels
from hooks.load import Mllm
from stimuli.errors import InputError
from stimuli.pairs import Pair
from stimuli.types import Stimulus, StimulusSet


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
        donor: a model of the same architecture that answers better; left as it is.
        stimuli: labelled, of two references or more; shown to both.
        taxonomy: name or file.
        batch_size: images per forward pass.
        n_boot: resamples of references.
        seed: of the resamples.
        progress: show progress bars.

    Raises:
        InputError: no projector, fewer than two references, or a donor of another architecture.
    """
    ends = ends_of(mllm)
    shown, labels = with_labels(stimuli, taxonomy)
    groups = [one.reference for one in shown]
    asked = choice(taxonomy)
    at = np.array([asked.place(label) for label in labels])
    low, high = (_right(model, asked, shown, at, batch_size) for model in (mllm, donor))
    twins = [Pair(one, one) for one in shown]
    how: dict[str, Any] = {"sets": ("all",), "directions": ("forward",), "taxonomy": taxonomy, "controls": False, "batch_size": batch_size,
           "n_boot": 1, "seed": seed, "progress": progress}  # fmt: skip
    into, out_of = (
        patch(model, twins, sites=list(ends.values()), donor=other, **how) for model, other in ((mllm, donor), (donor, mllm))
    )
    moved = {
        name: (into.patched[site, "all", "forward"][:, 0] - low, high - out_of.patched[site, "all", "forward"][:, 0])
        for name, site in ends.items()
    }
    return shares(low, high, moved, ends, groups, n_boot, seed, tuple(one.id for one in shown))


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


def _right(mllm: Mllm, asked: Choice, shown: Sequence[Stimulus], at: np.ndarray, batch_size: int) -> np.ndarray:
    """Probability of the right answer, (n,)."""
    found = [
        asked.probabilities(mllm, asked.prepared(mllm, images_of(shown[start : start + batch_size])))
        for start in range(0, len(shown), batch_size)
    ]
    return np.asarray(np.concatenate(found)[np.arange(len(shown)), at])
