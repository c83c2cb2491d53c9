"""Where the answer is decided: features exchanged between minimal pairs, site by site and token set by token set.

Activation patching (Vig et al. 2020; Meng et al. 2022): a receiver computes with a donor's features at some tokens of one site. If its
answer becomes the donor's, what tells the two apart passes there. The two are a minimal pair, so it is the distortion and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from analysis.choice import choice
from analysis.patching_runs import SIDES, Exchanges, Key, Measured, Plan, strangers
from analysis.patching_table import Resampling, corrected, exchange_row
from hooks.inside import PARTS, with_parts
from hooks.load import Mllm
from hooks.token_sets import GRID, SETS, Regions
from probes.intervals import enough
from stimuli.errors import InputError
from stimuli.pairs import Pair
from stimuli.results import Result
from stimuli.tables import Row, Table
from stimuli.taxonomy import taxonomy as taxonomy_of

DIRECTIONS = tuple(SIDES)
"""``forward``: the image before receives from the one after, does the answer appear; ``reverse``: does it go away."""
BLOCK = "block"
SCORED = ("low", "high", "patched", "effect", "recovery", "recovery_low", "recovery_high", "recovery_control")
"""What is told of the contrast too."""


@dataclass(frozen=True, repr=False)
class Patching(Result):
    """What exchanging features does to the answer, per site, part of it, token set and direction."""

    table: Table
    """A row per ``site``, ``part`` (``block`` also stands for embeddings and the projector), ``set`` and ``direction``: ``tokens``
    (exchanged per pair, mean), ``n`` pairs, ``references``; mean probability of the right answer ``low`` and ``high`` (to the image
    before and after), ``patched`` and ``control``; ``effect`` (patched less the receiver's own) and ``recovery`` (share of the way from
    the receiver's answer to the donor's) with intervals, ``p`` of the effect; the same of the control; ``beyond``, the effect less the
    control's, with interval and p; ``…_holm`` over the rows of a direction. ``contrast_…`` is the same by the score of the right answer
    less that of the clean one, in nats. All intervals are over references. ``recovery`` is None where donor and receiver answer alike,
    ``reason`` says so."""
    pairs: Table
    """A row per pair: ``before``, ``after``, ``reference``, ``label`` (the right answer), ``low``, ``high``, and the donors of its
    controls (``control_forward``, ``control_reverse``)."""
    notes: tuple[str, ...]
    """What was left out, and why."""
    patched: Mapping[Key, Measured] = field(repr=False)
    """Every exchange pair by pair, in the order of ``pairs``; NaN where there was none."""

    def row(self, site: str, set: str, direction: str = "forward", part: str = BLOCK) -> Row:
        """The row of an exchange."""
        wanted = {"site": site, "set": set, "direction": direction, "part": part}
        return next(row for row in self.table if wanted.items() <= row.items())


def patch(
    mllm: Mllm,
    pairs: Sequence[Pair],
    *,
    sites: str | Sequence[str] = "all",
    sets: Sequence[str] = ("image", "region", "question", "last"),
    parts: Sequence[str] = (BLOCK,),
    directions: Sequence[str] = DIRECTIONS,
    taxonomy: str | Path = "paper8",
    donor: Mllm | None = None,
    controls: bool = True,
    batch_size: int = 16,
    grid: int = GRID,
    n_boot: int = 1000,
    seed: int = 0,
    progress: bool = True,
) -> Patching:
    """Exchange features within minimal pairs and see what becomes of the answer.

    The control of each exchange takes its features from the image after of another pair, of another reference: forward of another
    class, which brings along everything but the right answer; reverse of the same class, which brings along everything but a reason to
    take the answer back. (A clean image of another reference would be no control there: it is as clean as the pair's own.) Both tell
    how much comes of the mere exchange.

    Only the prompt's tokens are exchanged. Where wordings are several tokens long, those behind the prompt read the receiver's own prompt
    in the blocks up to the site.

    Args:
        mllm: the model; left as it is.
        pairs: of ``stimuli.pairs``; the right answer is the class of the image after.
        sites: names of sites; by default all that the answer depends on.
        sets: token sets, of ``hooks.token_sets.SETS``; a site that has no such tokens is left out of them. ``region`` and ``outside``
            need stimuli with a mask.
        parts: of ``block``, ``attention`` and ``mlp``.
        directions: of ``DIRECTIONS``.
        taxonomy: name or file; its classes are the answers.
        donor: another model of the same architecture that the features are taken from (a tuned copy), by default the model itself.
        controls: whether to exchange with strangers too, which doubles the time.
        batch_size: pairs per forward pass.
        grid: cells per side by which it is told where a token looks.
        n_boot: resamples of references; more if there are too many rows in a direction for Holm's correction (``probes.intervals.enough``).
        seed: of the controls' donors and of the resamples.
        progress: show a progress bar.

    Raises:
        InputError: no pair, fewer than two references, unknown names, an image after without a class, or a pair whose images have
            other sizes or token counts.
    """
    _refuse_names(sets, parts, directions)
    asked = choice(taxonomy)
    labels = _labels(pairs, taxonomy)
    model, wanted = _sited(mllm, sites, parts)
    giver = model if donor is None or donor.model is mllm.model else _donor(model, donor, wanted, parts)
    sizes = [pair.after.image.shape[:2] for pair in pairs] if controls else []
    others = {name: strangers(pairs, labels, sizes, name == "reverse", seed) for name in directions} if controls else {}
    plan = Plan(tuple(wanted), tuple(sets), tuple(directions), others)
    right, regions = [asked.place(label) for label in labels], Regions(model, asked.question.prompt, grid)
    work = Exchanges(model, giver, asked, pairs, right, plan, regions)
    work.measure(batch_size, progress)
    made = [key for key in ((s, n, d) for s in wanted for n in sets for d in directions) if key in work.patched]
    how = Resampling(enough(n_boot, -(-len(made) // len(directions))), seed)
    table = [{**_named(*key), **_row(work, key, how)} for key in made]
    return Patching(corrected(table), _pair_rows(work, labels), tuple(work.notes), work.patched)


def _refuse_names(sets: Sequence[str], parts: Sequence[str], directions: Sequence[str]) -> None:
    for kind, given, known in (
        ("token sets", sets, SETS), ("parts", parts, (BLOCK, *PARTS)), ("directions", directions, DIRECTIONS)
    ):  # fmt: skip
        if isinstance(given, str) or not given or [name for name in given if name not in known]:
            raise InputError(f"Got the {kind} {given!r}. Expected a list of some of {', '.join(known)}. Use these.")


def _labels(pairs: Sequence[Pair], taxonomy: str | Path) -> list[str]:
    """The right answer of each pair.

    Raises:
        InputError: no pair, one reference, or an image after that has no class.
    """
    if len({pair.reference for pair in pairs}) < 2:
        raise InputError(
            f"Got {len(pairs)} pairs of {len({pair.reference for pair in pairs})} references. Expected at least 2 references, for "
            "intervals and controls. Make pairs with stimuli.pairs."
        )
    known = taxonomy_of(taxonomy)
    found = [known.label(pair.after) for pair in pairs]
    for pair, label in zip(pairs, found, strict=True):
        if label is None:
            raise InputError(
                f"'{pair.after.id}' ({pair.after.type}, level {pair.after.level}) has no class in '{known.name}', so no answer to it is "
                "right. Expected stimuli with a class. Leave it out, or choose another taxonomy."
            )
    return [label for label in found if label is not None]


def _sited(mllm: Mllm, sites: str | Sequence[str], parts: Sequence[str]) -> tuple[Mllm, list[str]]:
    """The model with the parts asked for, and the sites to exchange at, in the order of the data's way."""
    stages = mllm.stages
    dead = stages.proof.dead if stages.proof is not None else ()
    asked = [site for site in stages.check(sites) if sites != "all" or site not in dead]
    inner = [part for part in parts if part != BLOCK]
    model = with_parts(mllm, inner) if inner else mllm
    own = [
        site
        for site in model.stages.sites
        if _base(site) in asked and (site in stages.sites and BLOCK in parts or _part(site) in parts)
    ]
    if not own:
        raise InputError(
            f"None of the sites {', '.join(asked)} has the parts {', '.join(parts)}. Expected blocks whose attention and MLP are modules "
            f"of their own. Use parts=('{BLOCK}',), or other sites."
        )
    return model, own


def _donor(mllm: Mllm, donor: Mllm, sites: Sequence[str], parts: Sequence[str]) -> Mllm:
    """The donor with the same sites.

    Raises:
        InputError: it has others.
    """
    inner = [part for part in parts if part != BLOCK]
    found = with_parts(donor, inner) if inner else donor
    without = [site for site in sites if site not in found.stages.sites]
    if without:
        raise InputError(
            f"The donor '{donor.name}' has no site {', '.join(without[:3])}, but '{mllm.name}' has. Expected a model of the same "
            "architecture, such as a tuned copy."
        )
    return found


def _part(site: str) -> str:
    last = site.rpartition(".")[2]
    return last if last in PARTS else BLOCK


def _base(site: str) -> str:
    return site if _part(site) == BLOCK else site.rpartition(".")[0]


def _named(site: str, name: str, direction: str) -> Row:
    return {"site": _base(site), "part": _part(site), "set": name, "direction": direction}


# ---- rows --------------------------------------------------------------------------------------------------------------------


def _row(work: Exchanges, key: Key, how: Resampling) -> Row:
    site, name, direction = key
    receiver, side = SIDES[direction]
    now, control = work.patched[key], work.patched.get((site, name, f"{direction} control"))
    groups = [pair.reference for pair in work.pairs]
    made = partial(_measured, work.own[receiver], work.given[side], now, control, groups, how)
    row: Row = {"tokens": float(work.tokens[site, name][np.isfinite(now[:, 0])].mean()), **_sided(made(0), direction)}
    scores = _sided(made(1), direction)
    return row | {f"contrast_{name}": scores[name] for name in SCORED}


def _measured(
    mine: Measured,
    given: Measured,
    now: Measured,
    control: Measured | None,
    groups: Sequence[str],
    how: Resampling,
    column: int,
) -> Row:
    patched = np.where(np.isfinite(mine[:, column]), now[:, column], np.nan)
    return exchange_row(
        mine[:, column], given[:, column], patched, None if control is None else control[:, column], groups, how
    )


def _sided(row: Row, direction: str) -> Row:
    """Receiver and donor by what they are: the image before (``low``) and after (``high``)."""
    low, high = ("receiver", "donor") if direction == "forward" else ("donor", "receiver")
    named = {"n": row["n"], "references": row["references"], "low": row[low], "high": row[high]}
    return named | {key: value for key, value in row.items() if key not in ("n", "references", "receiver", "donor")}


def _pair_rows(work: Exchanges, labels: Sequence[str]) -> Table:
    table: Table = []
    for i, (pair, label) in enumerate(zip(work.pairs, labels, strict=True)):
        row: Row = {"before": pair.before.id, "after": pair.after.id, "reference": pair.reference, "label": label}
        row |= {"low": float(work.own["before"][i, 0]), "high": float(work.own["after"][i, 0])}
        for name in DIRECTIONS:
            other = work.plan.strangers[name][i] if name in work.plan.strangers else None
            row[f"control_{name}"] = None if other is None else work.pairs[other].after.id
        table.append(row)
    return table
