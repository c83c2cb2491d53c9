"""Attribution to stages: how much of the change of the answer from the clean to the distorted image passes each site and its tokens.

Conductance (Dhamdhere et al. 2019) of a site is integrated gradients with the image's path followed by the site's features: summed over
all features of a site that everything passes, it is the whole change of the contrast. The path leads from the clean image of a pair to
the distorted one, so that all that changes is the distortion.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from analysis.attribution.curves import ratio
from analysis.attribution.maps import local_pairs
from analysis.attribution.methods import Case, Places
from analysis.attribution.objective import ANSWERS, Objective
from analysis.choice import choice
from hooks.edit import edit
from hooks.load import Mllm
from hooks.tokens import TokenLayout
from stimuli.errors import InputError
from stimuli.pairs import Pair
from stimuli.progress import tqdm
from stimuli.regions import cell_shares
from stimuli.results import Result
from stimuli.tables import Row, Table
from stimuli.taxonomy import CLEAN
from stimuli.types import Stimulus, StimulusSet

SETS = ("all", "inside", "outside", "question", "last", "answer", "other")
"""Tokens of a site: all; those of the image, by their share in and out of the region; of a language model also the text of the question,
the last position of the prompt, and the answer's; ``other`` is what is left (class tokens)."""
STEPS = 16
"""Of the path, by the trapezoidal rule."""


@dataclass(frozen=True, repr=False)
class Conductance(Result):
    """How much of the contrast's change each site and set of tokens carries."""

    table: Table
    """A row per ``site`` and ``set`` (of ``SETS``): ``n``, ``references``, ``nats`` (mean), ``share`` of the mean change of the contrast,
    with interval over references; ``whole``, whether everything passes the site, so that its share of all tokens should be one; of
    ``all`` of such a site ``gap``, the mean distance of the sum from the change, as a share of the mean change."""
    change: np.ndarray = field(repr=False)
    """float64 (n,), contrast of the distorted less that of the clean image, in nats."""
    ids: tuple[str, ...] = field(repr=False)

    def row(self, site: str, tokens: str = "all") -> Row:
        """The row of a site and a set."""
        return next(row for row in self.table if (row["site"], row["set"]) == (site, tokens))


def conductance(
    mllm: Mllm,
    stimuli: StimulusSet | Sequence[Stimulus] | Sequence[Pair],
    *,
    sites: Sequence[str] | None = None,
    steps: int = STEPS,
    grid: int = 8,
    taxonomy: str | Path = "paper8",
    prompt: str | None = None,
    batch_size: int = 16,
    n_boot: int = 1000,
    seed: int = 0,
    progress: bool = True,
) -> Conductance:
    """Follow the answer's change from each clean image to its locally distorted version through the model.

    Args:
        mllm: the model; left as it is. With ``hooks.inside.with_parts``, attention and MLP of each block are sites too.
        stimuli: as in ``attribute``.
        sites: names of sites; by default all but dead ends of the vision tower.
        steps: of the path from clean to distorted, at least 2.
        grid: cells per side, by which image tokens are told to be in or out of the region.
        taxonomy: as in ``attribute``.
        prompt: as in ``attribute``.
        batch_size: sequences per forward and backward pass, two per step.
        n_boot: resamples of references.
        seed: of the resamples.
        progress: show a progress bar.

    Raises:
        InputError: as ``attribute``; an unknown site, fewer than two steps, or a site that does not fire.
    """
    if steps < 2:
        raise InputError(f"Got {steps} steps; expected at least 2. Take {STEPS}.")
    found, labels = local_pairs(stimuli, taxonomy)
    wanted = mllm.stages.check(live_sites(mllm) if sites is None else sites)
    asked, places = choice(taxonomy, prompt), Places()
    parts: list[dict[tuple[str, str], float]] = []
    change = np.empty(len(found))
    for i, pair in enumerate(tqdm(found, desc="conductance", disable=not progress)):
        objective = Objective(mllm, asked, pair.after.image, labels[i], CLEAN, batch_size)
        case = Case(objective, grid, places, pair.after.id, seed)
        mask = pair.after.mask
        assert mask is not None
        inside = cell_shares(mask, grid, grid).ravel()
        carried, change[i] = along(objective, objective.pixels_of(pair.before.image), wanted, steps)
        parts.append(
            {(site, name): value for site, own in carried.items() for name, value in _sets(case, site, own, inside).items()}
        )
    groups = [pair.reference for pair in found]
    return Conductance(_table(parts, change, groups, mllm, n_boot, seed), change, tuple(pair.after.id for pair in found))


def live_sites(mllm: Mllm) -> tuple[str, ...]:
    """The sites through which the answer goes: vision blocks behind the one that the projector reads are dead ends."""
    names = tuple(mllm.stages.sites)
    last = names.index(mllm.stages.read_layer)
    return tuple(site for i, site in enumerate(names) if i <= last or not site.startswith("vision"))


@dataclass
class Carried:
    """What a site carries: by token, summed over features and steps."""

    image: torch.Tensor
    """float64 (tokens,), the image's."""
    said: tuple[torch.Tensor, ...]
    """float64 (positions,) per answer, of a site of the language model; empty for others."""
    total: float
    layout: TokenLayout
    """Of the two answers."""


def along(objective: Objective, start: torch.Tensor, sites: Sequence[str], steps: int) -> tuple[dict[str, Carried], float]:
    """Conductance of sites along the straight path from one tensor of pixels to the objective's own.

    The trapezoidal rule: the mean of the gradients at both ends of a step times the features' change over it.

    Args:
        objective: the contrast of answers about the image at the end of the path.
        start: its beginning, (1, …).
        sites: names of sites.
        steps: of the path.

    Returns:
        Site to what it carries, and the contrast's change, in nats.
    """
    room = max(2, objective.batch_size // ANSWERS)
    at = torch.linspace(0, 1, steps + 1, device=start.device)
    carried: dict[str, Carried] = {}
    ends: list[float] = []
    for first in range(0, steps, room - 1):  # a run begins where the last one ended
        share = at[first : first + room].view(-1, *[1] * (start.ndim - 1))
        values = _run(objective, start + share * (objective.pixels - start), sites, carried)
        ends += [float(values[0]), float(values[-1])]
    return carried, ends[-1] - ends[0]


def _run(objective: Objective, pixels: torch.Tensor, sites: Sequence[str], carried: dict[str, Carried]) -> torch.Tensor:
    kept: dict[str, list[torch.Tensor]] = {site: [] for site in sites}
    with edit(objective.mllm, {site: _keeping(own) for site, own in kept.items()}), torch.enable_grad():
        batch = objective.expanded(pixels.detach().clone().requires_grad_(True))
        values = objective.of(batch)
    if silent := [site for site, own in kept.items() if not own]:
        raise InputError(f"The site '{silent[0]}' did not fire. Expected one that every pass goes through. Leave it out.")
    flat = [value for own in kept.values() for value in own]
    slopes = iter(torch.autograd.grad(values.sum(), flat, allow_unused=True))
    for site, own in kept.items():
        grads = [
            torch.zeros_like(value) if slope is None else slope for value, slope in ((value, next(slopes)) for value in own)
        ]
        found = _carried(objective, batch.layout, site, [value.detach() for value in own], grads)
        before = carried.get(site)
        if before is not None:
            said = tuple(a + b for a, b in zip(before.said, found.said, strict=True))
            found = Carried(before.image + found.image, said, before.total + found.total, found.layout)
        carried[site] = found
    return values.detach()


def _keeping(own: list[torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    def keep(value: torch.Tensor) -> torch.Tensor:
        if not value.requires_grad:
            value.requires_grad_(True)
        own.append(value)
        return value

    return keep


def _carried(
    objective: Objective, layout: TokenLayout, site: str, values: list[torch.Tensor], grads: list[torch.Tensor]
) -> Carried:
    """One run's share, from every firing of a site and its gradients."""
    alone = objective.layout(objective.batch.tensors, objective.batch.labels)
    n = layout.n
    total = sum(
        float(_steps(a.reshape(n, -1), g.reshape(n, -1)).sum()) for a, g in zip(values, grads, strict=True) if not a.numel() % n
    )
    rows = [torch.stack(list(layout.rows(site, own))) for own in (values, grads)]
    image = _steps(*rows).sum(0)
    said: tuple[torch.Tensor, ...] = ()
    if site.startswith("llm") and values[-1].ndim == 3 and len(values[-1]) == n:
        said = tuple(_steps(values[-1], grads[-1]))
    return Carried(image, said, total, alone)


def _steps(values: torch.Tensor, grads: torch.Tensor) -> torch.Tensor:
    """The trapezoidal rule over versions of the image, from (k * answers, …, d): float64 (answers, …), summed over features."""
    y, g = (own.double().cpu().unflatten(0, (-1, ANSWERS)) for own in (values, grads))
    return ((g[1:] + g[:-1]) / 2 * y.diff(dim=0)).sum(0).sum(-1)


def _sets(case: Case, site: str, own: Carried, inside: np.ndarray) -> dict[str, float]:
    """What each set of tokens carries."""
    share = torch.from_numpy(case.tokens_inside(site, len(own.image), inside))
    found = {"all": own.total, "inside": float(own.image @ share), "outside": float(own.image @ (1 - share))}
    if own.said:
        front = len(own.said[0]) - own.layout.image.shape[1]
        for i, value in enumerate(own.said):
            behind = value[front:]
            last = torch.arange(len(behind)) == int(own.layout.last_prompt[i])
            answer = own.layout.answer[i].cpu()
            text = ~own.layout.image[i].cpu() & ~own.layout.padding[i].cpu() & ~answer & ~last
            for name, rows in (("question", text), ("last", last), ("answer", answer)):
                found[name] = found.get(name, 0.0) + float(behind[rows].sum())
    return found | {"other": found["all"] - sum(value for name, value in found.items() if name != "all")}


def _table(
    parts: Sequence[dict[tuple[str, str], float]], change: np.ndarray, groups: Sequence[str], mllm: Mllm, n_boot: int, seed: int
) -> Table:
    rows: Table = []
    for site, name in parts[0]:
        values = np.array([own[site, name] for own in parts])
        share = ratio(values, change, groups, n_boot, seed)
        whole = re.fullmatch(r"projector|(vision|llm)(\.\w+)?\.(\d+|embed)|(vision|llm)\.embed", site) is not None
        row: Row = {
            "site": site,
            "set": name,
            "component": mllm.stages.component(site),
            "n": len(parts),
            "references": len(set(groups)),
        }
        row |= {
            "nats": float(values.mean()),
            "share": share.value,
            "low": share.low,
            "high": share.high,
            "whole": whole,
            "gap": None,
        }
        if whole and name == "all":
            row["gap"] = float(np.abs(values - change).mean() / np.abs(change).mean())
        rows.append(row)
    return rows
