"""The tuned lens (Belrose et al. 2023): one affine translator per site, trained so that the head reads there what it reads at the end.

A logit lens takes the states of early sites for those of the last, whose basis may be another. A translator h → h + A h + b turns one
into the other: it starts as the logit lens (A = 0, b = 0) and is trained to minimise KL(what the model says in the end ‖ what the lens
says), at the image's tokens and at the position from which the answer is said, of references that nothing else is measured on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from analysis.lens_words import image_positions, prompted, readable, states, words
from analysis.translators import Translator, TunedLens
from hooks.checksum import weights_checksum
from hooks.head import Head, head
from hooks.load import Mllm
from probes.intervals import holm, paired_difference
from stimuli.errors import InputError
from stimuli.progress import tqdm
from stimuli.tables import Row, Table
from stimuli.types import Stimulus, StimulusSet

SPEED = 0.02
"""Adam's step per entry of A is this over √d, and of b this times the states' root mean square over √d: a step then moves a state by
about the same share of its length at every width."""
DECAY = 1e-3
"""Weight decay, towards the logit lens."""
CHECKS = 12
"""How often in a training the validation references are looked at."""


def tune_lens(
    mllm: Mllm,
    stimuli: StimulusSet | Sequence[Stimulus],
    *,
    sites: str | Sequence[str] | None = None,
    taxonomy: str | Path = "paper8",
    rank: int | None = None,
    steps: int = 300,
    tokens: int = 16,
    rows: int = 128,
    batch_size: int = 16,
    n_boot: int = 1000,
    seed: int = 0,
    progress: bool = True,
) -> TunedLens:
    """Train a translator per site; the model is left as it is.

    Of the references half train, a fifth choose when to stop and the rest measure. The states of a few image tokens per stimulus are drawn once
    and kept in memory: 2 to 4 bytes × stimuli × (tokens + 1) × sites × d. Both kinds of positions weigh the same in the loss. What a model
    says at image tokens was often never trained (the loss is taken at answers); the lens then learns to foresee that, as published.

    Args:
        mllm: the model.
        stimuli: of six references or more (better 20: an interval over a few is a guess), none of which is to be read later. Labels are
            not used.
        sites: ``llm.embed`` and every block but the last by default, whose translator would have nothing to do.
        taxonomy: whose question is asked with each image.
        rank: of A; whole by default, which takes 4 · d² bytes per site (64 MiB at d = 4096).
        steps: of Adam, at most, at a rate that falls to zero.
        tokens: image tokens drawn per stimulus.
        rows: states per step, of each kind of position at most this.
        batch_size: images per forward pass.
        n_boot: resamples of references.
        seed: of the split, the draws and the order.
        progress: show a progress bar.

    Raises:
        InputError: fewer than six references, a rank or numbers below one, unknown sites, the last block, or a model whose head cannot
            be told.
    """
    if min(steps, tokens, rows, batch_size, 1 if rank is None else rank) < 1:
        raise InputError(
            f"Got steps={steps}, tokens={tokens}, rows={rows}, batch_size={batch_size}, rank={rank}. Expected 1 or more of each. Change it."
        )
    shown = list(stimuli)
    parts = _parts([stimulus.reference for stimulus in shown], seed)
    own = head(mllm)
    wanted = _trainable(mllm, own, sites)
    kept = _Kept.of(mllm, shown, own, wanted, taxonomy, tokens, batch_size, seed, progress)
    groups = np.array([stimulus.reference for stimulus in shown])
    translators, table = {}, []
    for site in tqdm(wanted, desc="tuning lenses", disable=not progress):
        work = _Site(kept, own, site, {name: np.flatnonzero(np.isin(groups, list(refs))) for name, refs in parts.items()}, seed)
        translators[site], stopped = work.trained(rank, steps, rows)
        table += [{"site": site, **row, "steps": stopped} for row in work.measured(translators[site], groups, n_boot)]
    made: dict[str, object] = {
        "model": weights_checksum(mllm.model),
        "name": mllm.name,
        "references": {k: list(v) for k, v in parts.items()},
    }
    made |= {"taxonomy": str(taxonomy), "rank": rank, "steps": steps, "tokens": tokens, "rows": rows, "seed": seed}
    return TunedLens(translators, _corrected(table), made)


def _parts(references: Sequence[str], seed: int) -> dict[str, tuple[str, ...]]:
    names = sorted(set(references))
    if len(names) < 6:
        raise InputError(
            f"Got stimuli of {len(names)} references. Expected 6 or more: some train the lens, some choose when to stop, some measure it. "
            "Show more."
        )
    order = [names[i] for i in np.random.default_rng([seed, 61]).permutation(len(names))]
    test = max(2, round(0.3 * len(names)))  # an interval takes two references
    cut = test + max(1, round(0.2 * len(names)))
    return {"test": tuple(order[:test]), "validation": tuple(order[test:cut]), "train": tuple(order[cut:])}


def _trainable(mllm: Mllm, own: Head, sites: str | Sequence[str] | None) -> tuple[str, ...]:
    found = [site for site in readable(mllm, own, sites, projector=False) if sites is not None or site != own.last]
    if wrong := [site for site in found if site == own.last or not site.startswith("llm")]:
        why = "the head reads it as it is" if wrong[0] == own.last else "it is no state of the language model"
        raise InputError(
            f"The site '{wrong[0]}' takes no translator: {why}. Expected llm.embed or blocks before the last. Leave it out."
        )
    if not found:
        raise InputError(f"'{mllm.name}' has no block before the last, so there is nothing to translate. Use the logit lens.")
    return tuple(found)


# ---- states that are kept ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Kept:
    """Drawn states of all stimuli, by kind of position."""

    states: Mapping[tuple[str, str], torch.Tensor]
    """Site and kind (``image``, ``last``) to (n, tokens, d), on the CPU, in the model's precision."""
    last: str

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(kind for _, kind in self.states))

    @staticmethod
    def of(
        mllm: Mllm, shown: Sequence[Stimulus], own: Head, sites: Sequence[str], taxonomy: str | Path, tokens: int,
        batch_size: int, seed: int, progress: bool,
    ) -> _Kept:  # fmt: skip
        said, rng = words(mllm, taxonomy), np.random.default_rng([seed, 62])
        wanted = (*sites, own.last)
        shows = image_positions(mllm, said, wanted, shown[0].image.shape[:2])
        found: dict[tuple[str, str], list[torch.Tensor]] = {}
        for start in tqdm(range(0, len(shown), batch_size), desc="states for lenses", disable=not progress):
            batch = prompted(mllm, said, [stimulus.image for stimulus in shown[start : start + batch_size]])
            drawn: list[torch.Tensor] | None = None
            for site, seen in states(mllm, batch, said, wanted, shows):
                if seen.image is not None:
                    drawn = drawn or [_drawn(len(own_rows), tokens, rng) for own_rows in seen.image]
                    found.setdefault((site, "image"), []).extend(
                        own_rows[at.to(own_rows.device)].cpu() for own_rows, at in zip(seen.image, drawn, strict=True)
                    )
                assert seen.last is not None
                found.setdefault((site, "last"), []).extend(row[None].cpu() for row in seen.last)
        return _Kept({key: torch.stack(parts) for key, parts in found.items()}, own.last)


def _drawn(count: int, tokens: int, rng: np.random.Generator) -> torch.Tensor:
    """Token numbers, int (tokens,): without repetition where there are enough."""
    return torch.from_numpy(rng.choice(count, tokens, replace=count < tokens))


# ---- training ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Site:
    """One site's training."""

    kept: _Kept
    head: Head
    site: str
    parts: Mapping[str, np.ndarray]
    """Rows of the stimuli of each part."""
    seed: int

    @property
    def device(self) -> torch.device:
        return next(self.head.model.get_submodule(self.head.output).parameters()).device

    def kl(self, own: Callable[[torch.Tensor], torch.Tensor], kind: str, which: np.ndarray | torch.Tensor) -> torch.Tensor:
        """KL(end ‖ lens) in nats, (stimuli, tokens)."""
        at = torch.as_tensor(which)
        with torch.no_grad():
            end = torch.log_softmax(self.head.logits(self.kept.states[self.kept.last, kind][at]), -1)
        return _kl(end, torch.log_softmax(self.head.logits(own(self._here(kind)[at].to(self.device))), -1))

    def _here(self, kind: str) -> torch.Tensor:
        return self.kept.states[self.site, kind]

    def means(self, own: Callable[[torch.Tensor], torch.Tensor], kind: str, which: np.ndarray, size: int = 16) -> np.ndarray:
        """Mean KL per stimulus, float64 (n,)."""
        with torch.no_grad():
            parts = [self.kl(own, kind, which[i : i + size]).mean(1).double().cpu() for i in range(0, len(which), size)]
        return torch.cat(parts).numpy()

    def validation(self, own: Callable[[torch.Tensor], torch.Tensor]) -> float:
        """The loss on the validation references: the mean of the kinds' means."""
        return float(np.mean([self.means(own, kind, self.parts["validation"]).mean() for kind in self.kept.kinds]))

    def trained(self, rank: int | None, steps: int, rows: int) -> tuple[Translator, int]:
        """The translator that is best on the validation references, the logit lens among them, and after how many steps."""
        best = made = self._initial(rank)
        lowest, stopped, scale = self.validation(made), 0, self._scale()
        parts = (made.left, made.bias) if made.right is None else (made.left, made.bias, made.right)
        free = [part.to(self.device, copy=True).requires_grad_(True) for part in parts]  # the bias in units of the states' size
        optimiser = torch.optim.AdamW(free, lr=SPEED / self.head.width**0.5, weight_decay=DECAY)
        plan = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / steps)

        def now() -> Translator:
            return Translator(free[0], free[2] if len(free) > 2 else None, free[1] * scale)

        for step, chosen in enumerate(self._batches(steps, rows), 1):
            with torch.enable_grad():
                loss = torch.stack([self._loss(now(), kind, *at) for kind, at in chosen.items()]).mean()
            for part, gradient in zip(free, torch.autograd.grad(loss, free), strict=True):  # the model's weights get none
                part.grad = gradient
            optimiser.step()
            plan.step()
            if step % max(1, steps // CHECKS) == 0 or step == steps:
                held = _detached(now())
                if (found := self.validation(held)) < lowest:
                    best, lowest, stopped = held, found, step
        return best, stopped

    def _loss(self, own: Translator, kind: str, which: torch.Tensor, token: torch.Tensor) -> torch.Tensor:
        here, end = self._here(kind)[which, token], self.kept.states[self.kept.last, kind][which, token]
        with torch.no_grad():
            wanted = torch.log_softmax(self.head.logits(end), -1)
        return _kl(wanted, torch.log_softmax(self.head.logits(own(here.to(self.device))), -1)).mean()

    def _initial(self, rank: int | None) -> Translator:
        """The logit lens: A = 0, b = 0. Of a low rank the right factor is drawn, as two factors of zero would never leave it."""
        d = self.head.width
        draw = torch.Generator().manual_seed(self.seed)
        if rank is None or rank >= d:
            return Translator(torch.zeros(d, d), None, torch.zeros(d))
        return Translator(torch.zeros(d, rank), torch.randn(rank, d, generator=draw) / d**0.5, torch.zeros(d))

    def _scale(self) -> float:
        """Root mean square of the states' entries."""
        own = [self._here(kind)[torch.as_tensor(self.parts["train"])].float().square().mean() for kind in self.kept.kinds]
        return float(torch.stack(own).mean().sqrt())

    def _batches(self, steps: int, rows: int) -> Iterator[dict[str, tuple[torch.Tensor, torch.Tensor]]]:
        """Stimulus and token numbers of each kind, step by step."""
        rng, train = np.random.default_rng([self.seed, 63]), self.parts["train"]
        tokens = {kind: self._here(kind).shape[1] for kind in self.kept.kinds}
        for _ in range(steps):
            sizes = {kind: min(rows, len(train) * count) for kind, count in tokens.items()}
            yield {
                kind: (torch.from_numpy(rng.choice(train, size)), torch.from_numpy(rng.integers(0, tokens[kind], size)))
                for kind, size in sizes.items()
            }

    def measured(self, own: Translator, groups: np.ndarray, n_boot: int) -> Iterator[Row]:
        """Rows of the test references, by kind of position."""
        test = self.parts["test"]
        for kind in self.kept.kinds:
            before, after = self.means(lambda h: h, kind, test), self.means(own, kind, test)
            found = paired_difference(before, after, groups[test], n_boot, self.seed)
            row: Row = {"position": kind, "before": float(before.mean()), "after": float(after.mean()), "change": found.value}
            yield row | {
                "low": found.low,
                "high": found.high,
                "p": found.p,
                "n": len(test),
                "references": len(set(groups[test])),
            }


def _kl(wanted: torch.Tensor, found: torch.Tensor) -> torch.Tensor:
    """KL in nats of two log-distributions (…, vocabulary)."""
    return (wanted.exp() * (wanted - found)).sum(-1)


def _detached(own: Translator) -> Translator:
    right = None if own.right is None else own.right.detach().cpu().clone()
    return Translator(own.left.detach().cpu().clone(), right, own.bias.detach().cpu().clone())


def _corrected(table: Table) -> Table:
    """The same rows with Holm's correction over the sites of a kind of position."""
    for kind in dict.fromkeys(row["position"] for row in table):
        own = [row for row in table if row["position"] == kind]
        for row, p in zip(own, holm([row["p"] for row in own]), strict=True):
            row["p_holm"] = p
    return table
