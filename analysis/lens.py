"""Which distortion the states inside a language model already say: each site read with the model's own output head.

The logit lens (nostalgebraist 2020) takes a state for the last block's output and reads it through the final norm and the output
embeddings; the tuned lens (Belrose et al. 2023; ``analysis.tuned_lens``) translates it first. A word that ranks high at a site can be
said from there; one that ranks low may still be encoded in other directions, which is for probes to tell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from analysis.lens_table import PERMUTATIONS, Reading, Truth, compared, corrected, rows
from analysis.lens_words import States, Words, image_positions, prompted, readable, states, words
from analysis.translators import TunedLens
from hooks.head import Head, head
from hooks.load import Mllm
from probes.intervals import enough, holm
from stimuli.errors import InputError
from stimuli.progress import tqdm
from stimuli.results import Result
from stimuli.tables import Row, Table
from stimuli.taxonomy import taxonomy as taxonomy_of
from stimuli.types import Stimulus, StimulusSet

POSITIONS = ("image", "image max", "last")
"""``image``: log-probabilities averaged over the image's tokens; ``image max``: each word where it is most probable among them; ``last``:
the position from which the answer is said."""
ROOM = 2**25
"""Logits that are held at a time, of image tokens: 128 MiB."""


@dataclass(frozen=True, repr=False)
class Lens(Result):
    """What each site says, by reference."""

    table: Table
    """A row per ``site``, ``position`` and ``class`` (``all`` first): ``n``, ``references``; ``rank`` of the right word's token in the whole
    vocabulary (median) and ``mrr`` (mean reciprocal rank); ``class_rank`` among the classes' tokens (mean, 1 to k) and its chance;
    ``accuracy``, how often it is first among them (of ``all``: mean recall over the classes) and ``chance``, 1/k; ``probability`` among
    them; ``gain``, the log-probability of the word less that on the clean image of the same reference (nats), with ``gain_p`` and
    ``pairs``; each with ``_low`` and ``_high`` over references. A lens that says one word whatever it is shown has a recall of 1 in that
    class: the rows of ``all`` and ``gain`` see through it. Of ``all`` also ``p``, that of a class rank as good with labels shuffled within
    references, and what these score: ``rank_control``, ``mrr_control``, ``class_rank_control``, ``accuracy_control`` (with 95 % of them).
    ``…_holm`` is corrected over the sites. ``lens`` is ``logit`` or ``tuned``."""
    words: Table
    """Which token stands for each class; see ``analysis.lens_words.Words.table``."""
    notes: tuple[str, ...]
    """What was left out, and why."""
    readings: Mapping[tuple[str, str], Reading] = field(repr=False)
    """Site and position to scores and ranks, stimulus by stimulus."""
    truth: Truth = field(repr=False)
    ids: tuple[str, ...] = field(repr=False)
    """Of the stimuli, in the order of the readings."""

    def row(self, site: str, position: str = "last", label: str = "all") -> Row:
        """The row of a site, a position and a class."""
        wanted = {"site": site, "position": position, "class": label}
        return next(row for row in self.table if wanted.items() <= row.items())


def lens(
    mllm: Mllm,
    stimuli: StimulusSet | Sequence[Stimulus],
    *,
    sites: str | Sequence[str] | None = None,
    positions: Sequence[str] = POSITIONS,
    taxonomy: str | Path = "paper8",
    tuned: TunedLens | None = None,
    batch_size: int = 16,
    n_boot: int = 1000,
    seed: int = 0,
    progress: bool = True,
) -> Lens:
    """Read the right distortion word at every site with the model's own output head.

    Args:
        mllm: the model; left as it is. Edits (``hooks.edit.edit``) around the call are read too.
        stimuli: with classes of the taxonomy, of two references or more; those without a class are left out.
        sites: the projector, ``llm.embed`` and the blocks by default; of an encoder-decoder its decoder's.
        positions: of ``POSITIONS``.
        taxonomy: name or file; its wordings are the words.
        tuned: translators of ``analysis.tuned_lens.tune_lens`` for this model; a site without one is read as it is. Its training
            references must be others than those of the stimuli.
        batch_size: images per forward pass.
        n_boot: resamples of references; more, like the permutations, if there are too many sites for Holm's correction.
        seed: of resamples and permutations.
        progress: show a progress bar.

    Raises:
        InputError: unknown sites or positions, fewer than two references with a class, a model whose head cannot be told, words that
            are not told apart by a token, or translators of another model or trained with the same references.
    """
    _refuse_positions(positions)
    chosen, labels, twins, notes = labelled(stimuli, taxonomy)
    own, said = head(mllm), words(mllm, taxonomy)
    wanted = readable(mllm, own, sites)
    if tuned is not None:
        tuned.check(mllm, [stimulus.reference for stimulus in chosen])
    shows = image_positions(mllm, said, wanted, chosen[0].image.shape[:2])
    if not shows:
        notes = (*notes, "The language model's sequence holds no image tokens, so the last position alone is read.")
        wanted = tuple(site for site in wanted if site.startswith("llm"))
        positions = [name for name in positions if name == "last"]
    found = _read(mllm, chosen, own, said, wanted, positions, tuned, shows, batch_size, progress)
    groups = np.array([stimulus.reference for stimulus in chosen])
    truth = Truth(said.classes, labels, groups, twins, enough(n_boot, len(wanted)), seed, enough(PERMUTATIONS, len(wanted)))
    table = [
        {"site": site, "component": mllm.stages.component(site), "position": position,
         "lens": "tuned" if tuned is not None and site in tuned.sites else "logit", **row}
        for (site, position), reading in found.items()
        for row in rows(reading, truth)
    ]  # fmt: skip
    ids = tuple(stimulus.id for stimulus in chosen)
    return Lens(corrected(table), said.table(mllm.processor.tokenizer), (*said.notes, *notes), found, truth, ids)


def compare_lenses(before: Lens, after: Lens) -> Table:
    """Paired change from one lens to another on the same stimuli: logit to tuned, or of a model before and after tuning.

    Returns:
        A row per ``site``, ``position`` and ``measure`` (``mrr``, ``class_rank``, ``accuracy``, here the plain mean over stimuli):
        ``before``, ``after``, ``change`` with ``low`` and ``high`` over references, ``p`` and ``p_holm`` over the sites.

    Raises:
        InputError: they read other stimuli or classes, or have no site and position in common.
    """
    keys = [key for key in before.readings if key in after.readings]
    if before.ids != after.ids or before.truth.classes != after.truth.classes or not keys:
        raise InputError(
            f"Got lenses of {len(before.ids)} and {len(after.ids)} stimuli with {len(keys)} sites and positions in common. Expected the same "
            "stimuli and classes in the same order. Read both with the same stimuli."
        )
    table: Table = []
    for key in keys:
        site, position = key
        changes = compared(before.readings[key], after.readings[key], before.truth)
        table += [{"site": site, "position": position, **row} for row in changes]
    for own in dict.fromkeys((row["position"], row["measure"]) for row in table):
        same = [row for row in table if (row["position"], row["measure"]) == own]
        for row, p in zip(same, holm([row["p"] for row in same]), strict=True):
            row["p_holm"] = p
    return table


def labelled(
    stimuli: StimulusSet | Sequence[Stimulus], taxonomy: str | Path
) -> tuple[list[Stimulus], np.ndarray, np.ndarray, tuple[str, ...]]:
    """Stimuli with a class, its column, their clean twins (int (n,), -1 for none, and of the clean ones), and what was left out.

    Raises:
        InputError: fewer than two references.
    """
    known = taxonomy_of(taxonomy)
    named = [(stimulus, known.label(stimulus)) for stimulus in stimuli]
    chosen = [stimulus for stimulus, label in named if label is not None]
    if len({stimulus.reference for stimulus in chosen}) < 2:
        raise InputError(
            f"Of {len(named)} stimuli, {len(chosen)} have a class in '{known.name}', of {len({s.reference for s in chosen})} references. "
            "Expected at least 2 references, for intervals. Show more, or choose another taxonomy."
        )
    classes = list(known.classes)
    labels = np.array([classes.index(label) for _, label in named if label is not None])
    clean = {stimulus.reference: i for i, stimulus in reversed(list(enumerate(chosen))) if stimulus.type is None}
    twins = np.array([-1 if s.type is None or s.is_identity else clean.get(s.reference, -1) for s in chosen])
    left = len(named) - len(chosen)
    notes = (f"{left} stimuli have no class in '{known.name}' and are left out.",) if left else ()
    return chosen, labels, twins, notes


def _refuse_positions(positions: Sequence[str]) -> None:
    if isinstance(positions, str) or not positions or [name for name in positions if name not in POSITIONS]:
        raise InputError(f"Got the positions {positions!r}. Expected a list of some of {', '.join(POSITIONS)}. Use these.")


# ---- reading -----------------------------------------------------------------------------------------------------------------


def _read(
    mllm: Mllm, stimuli: Sequence[Stimulus], own: Head, said: Words, sites: Sequence[str], positions: Sequence[str],
    tuned: TunedLens | None, shows: bool, batch_size: int, progress: bool,
) -> dict[tuple[str, str], Reading]:  # fmt: skip
    tokens = torch.tensor(said.tokens)
    found: dict[tuple[str, str], list[tuple[np.ndarray, np.ndarray]]] = {}
    for start in tqdm(range(0, len(stimuli), batch_size), desc="reading lenses", disable=not progress):
        images = [stimulus.image for stimulus in stimuli[start : start + batch_size]]
        for site, seen in states(mllm, prompted(mllm, said, images), said, sites, shows):
            for position, logp in distributions(own, site, seen, positions, tuned):
                found.setdefault((site, position), []).append(read(logp, tokens))
    order = [(site, position) for site in sites for position in positions if (site, position) in found]
    return {key: Reading(*(np.concatenate(parts) for parts in zip(*found[key], strict=True))) for key in order}


def distributions(
    own: Head, site: str, seen: States, positions: Sequence[str], tuned: TunedLens | None
) -> Iterator[tuple[str, torch.Tensor]]:
    """What a site says at each position: log-probabilities of the whole vocabulary, float32 (n, vocabulary).

    Of ``image max`` each word's are of another token, so they are no distribution.
    """
    spoken = says(own, site, tuned)
    if "last" in positions and seen.last is not None:
        yield "last", spoken(seen.last)
    wanted = [name for name in positions if name.startswith("image")]
    if wanted and seen.image is not None:
        both = [_over_tokens(spoken, rows, own.vocabulary) for rows in seen.image]
        for name, found in zip(("image", "image max"), zip(*both, strict=True), strict=True):
            if name in wanted:
                yield name, torch.stack(found)


def says(own: Head, site: str, tuned: TunedLens | None) -> Callable[[torch.Tensor], torch.Tensor]:
    """States (…, d) to log-probabilities float32 (…, vocabulary), by way of the site's translator if there is one."""

    def spoken(states: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return torch.log_softmax(own.logits(states if tuned is None else tuned(site, states)), -1)

    return spoken


def _over_tokens(
    spoken: Callable[[torch.Tensor], torch.Tensor], rows: torch.Tensor, vocabulary: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and maximum over the tokens (tokens, d) of their log-probabilities, float32 (vocabulary,) each."""
    total, highest = 0.0, None
    for part in rows.split(max(1, ROOM // vocabulary)):
        logp = spoken(part)
        total = total + logp.sum(0)
        top = logp.max(0).values
        highest = top if highest is None else torch.maximum(highest, top)
    assert isinstance(total, torch.Tensor) and highest is not None
    return total / len(rows), highest


def read(logp: torch.Tensor, tokens: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Score and rank of some tokens in the whole vocabulary.

    Args:
        logp: (n, vocabulary).
        tokens: int (k,).

    Returns:
        Log-probability and rank (1 the most probable, ties their mean rank), float64 (n, k) each.

    Raises:
        InputError: scores that are not numbers.
    """
    own = logp[:, tokens.to(logp.device)]
    if bool(own.isnan().any()):
        raise InputError(
            "The model's logits are not numbers: something overflows. Expected finite ones. Load it in another precision (dtype='bfloat16' "
            "or 'float32')."
        )
    ranks = [(logp > one[:, None]).sum(1) + ((logp == one[:, None]).sum(1) + 1) / 2 for one in own.T]
    return own.double().cpu().numpy(), torch.stack(ranks, 1).double().cpu().numpy()
