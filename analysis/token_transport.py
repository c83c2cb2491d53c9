"""Optimal transport between the tokens of an image and the tokens of a word.

Entropic transport (Cuturi 2013) with the entropy relative to the product of the marginals, OT_ε(a, b) = min over couplings π of
⟨π, C⟩ + ε·KL(π | a ⊗ b), solved by Sinkhorn's iterations on the logarithms of the scalings; ε falls to its value by halves, and Newton's
steps on the smaller side help where Sinkhorn's are slow (Brauer et al. 2017). Debiased
(Genevay et al. 2018; Feydy et al. 2019), S_ε = OT_ε(a, b) − ½·OT_ε(a, a) − ½·OT_ε(b, b), it is 0 for equal sets; with cosine cost, which
is half the squared distance of vectors of length 1, it is never negative.

OT_ε is between the exact cost and that plus ε times the smaller entropy of a and b. To a word of one token there is a single coupling:
OT_ε is the mean cost whatever ε is, and transport says no more than the mean over tokens does, less the image's own term.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.distance_measures import margins_of, unit
from stimuli.errors import InputError

if TYPE_CHECKING:
    import torch

    from analysis.word_vectors import WordSet

EPSILON, TOLERANCE, ITERATIONS = 0.05, 1e-6, 2_000
NEWTON = 10
"""Every so many iterations, a step of Newton's is tried: where the best coupling is nearly a tie, Sinkhorn's alone takes 10⁵ steps."""


@dataclass(frozen=True)
class Transport:
    """Entropic transport costs."""

    cost: np.ndarray
    """(batch,): OT_ε; NaN where the iterations did not suffice."""
    violation: np.ndarray
    """(batch,): distance of the coupling's marginals from those asked for, the sum over tokens."""
    iterations: int


def sinkhorn(
    cost: np.ndarray,
    a: np.ndarray | None = None,
    b: np.ndarray | None = None,
    *,
    epsilon: float = EPSILON,
    tolerance: float = TOLERANCE,
    iterations: int = ITERATIONS,
    device: str = "cpu",
) -> Transport:
    """OT_ε of many pairs of sets at once.

    Args:
        cost: (batch, m, t).
        a: (batch, m) or (m,), summing to 1; even by default. A weight of 0 leaves a token out (padding).
        b: (batch, t) or (t,), in the same way.
        epsilon: of the entropy, in the unit of the cost.
        tolerance: on the marginals.
        iterations: at most so many; a pair that needs more has no cost.
        device: where to compute.

    Raises:
        InputError: shapes or numbers that do not fit.
    """
    c, log_a, log_b = _given(cost, a, b, epsilon, device)
    if c.shape[1] < c.shape[2]:
        c, log_a, log_b = c.transpose(1, 2), log_b, log_a
    g, off = c.new_zeros(c.shape[0], c.shape[2]), c.new_full((len(c),), np.inf)
    for step, eps in enumerate(_schedule(c, epsilon, iterations)):
        f = _soft(c, g, log_b, 2, eps)
        new = _soft(c, f, log_a, 1, eps)
        if eps == epsilon:
            off = (log_b.exp() * _off(g - new, eps)).sum(1)
            if bool((off <= tolerance).all()):
                break
        tried = _newton(c, f, g, log_a, log_b, eps) if step % NEWTON == NEWTON - 1 else None
        g = new if tried is None else _better(c, new, tried, log_a, log_b, eps)
    return _transport((log_a.exp() * f).sum(1) + (log_b.exp() * g).sum(1), off, tolerance, step)


def _transport(value: torch.Tensor, off: torch.Tensor, tolerance: float, step: int) -> Transport:
    """Costs of the pairs whose marginals are near enough, NaN for the others."""
    return Transport(value.where(off <= tolerance, np.nan).cpu().numpy(), off.cpu().numpy(), step)


def _newton(
    c: torch.Tensor, f: torch.Tensor, g: torch.Tensor, log_a: torch.Tensor, log_b: torch.Tensor, eps: float
) -> torch.Tensor:
    """Newton's step on the semi-dual in g, whose gradient is what the columns lack of their marginals."""
    import torch

    rows = (log_b.unsqueeze(1) + (f.unsqueeze(2) + g.unsqueeze(1) - c) / eps).exp()
    weighted = log_a.exp().unsqueeze(2) * rows
    sums = weighted.sum(1)
    curved = torch.diag_embed(sums + 1e-12) - rows.transpose(1, 2) @ weighted + 1 / c.shape[2]
    return g + eps * torch.linalg.solve_ex(curved, log_b.exp() - sums)[0]


def _better(
    c: torch.Tensor, new: torch.Tensor, tried: torch.Tensor, log_a: torch.Tensor, log_b: torch.Tensor, eps: float
) -> torch.Tensor:
    """Of two potentials of the columns that of higher dual value, pair by pair; the first where the second has none."""

    def value(g: torch.Tensor) -> torch.Tensor:
        return (log_a.exp() * _soft(c, g, log_b, 2, eps)).sum(1) + (log_b.exp() * g).sum(1)

    return tried.where((value(tried) > value(new)).unsqueeze(1), new)


def self_transport(
    cost: np.ndarray,
    a: np.ndarray | None = None,
    *,
    epsilon: float = EPSILON,
    tolerance: float = TOLERANCE,
    iterations: int = ITERATIONS,
    device: str = "cpu",
) -> Transport:
    """OT_ε(a, a) of many sets by the averaged iteration (Feydy et al. 2019, section 3), which needs few steps.

    Args and errors as of ``sinkhorn``; ``cost`` is (batch, m, m) and symmetric.
    """
    c, log_a, _ = _given(cost, a, a, epsilon, device)
    f, off = c.new_zeros(c.shape[:2]), c.new_full((len(c),), np.inf)
    for step, eps in enumerate(_schedule(c, epsilon, iterations)):  # noqa: B007
        new = _soft(c, f, log_a, 2, eps)
        if eps == epsilon:
            off = (log_a.exp() * _off(f - new, eps)).sum(1)
            if bool((off <= tolerance).all()):
                break
        f = (f + new) / 2
    weight = log_a.exp()
    mass = (weight * ((f - new) / epsilon).exp()).sum(1)
    return _transport(2 * (weight * f).sum(1) - epsilon * (mass - 1), off, tolerance, step)


def debiased(
    x: np.ndarray, y: np.ndarray, a: np.ndarray | None = None, b: np.ndarray | None = None, **options: Any
) -> np.ndarray:
    """S_ε between sets of vectors with cosine cost, (batch,); NaN where one of its three terms did not converge.

    Args:
        x: (batch, m, d).
        y: (t, d), or (batch, t, d).
        a: weights of x; see ``sinkhorn``.
        b: weights of y.
        **options: ``epsilon``, ``tolerance``, ``iterations`` and ``device`` of ``sinkhorn``.
    """
    y = y if y.ndim == 3 else np.broadcast_to(y, (len(x), *y.shape))
    own = self_transport(cosine_cost(x, x), a, **options).cost + self_transport(cosine_cost(y, y), b, **options).cost
    return np.asarray(sinkhorn(cosine_cost(x, y), a, b, **options).cost - own / 2)


def cosine_cost(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """1 − cos of vectors (…, m, d) and (…, t, d): (…, m, t), 0 to 2; a vector of length 0 costs 1."""
    return np.asarray(1 - unit(x) @ np.swapaxes(unit(y), -1, -2))


def _given(cost: Any, a: Any, b: Any, epsilon: float, device: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Cost and logarithms of the weights as float64 tensors, checked."""
    import torch

    c = np.asarray(cost, float)
    if c.ndim != 3 or not c.size or not np.isfinite(c).all() or not epsilon > 0:
        raise InputError(
            f"Got a cost of shape {c.shape}, {int(np.isfinite(c).sum())} of its {c.size} numbers finite, and epsilon {epsilon}. Expected "
            "finite costs (batch, m, t) and an epsilon above 0. Leave out what is not finite."
        )
    logs = []
    for given, size in ((a, c.shape[1]), (b, c.shape[2])):
        weight = np.full(size, 1 / size) if given is None else np.asarray(given, float)
        if weight.shape not in ((size,), (len(c), size)) or (weight < 0).any() or not np.allclose(weight.sum(-1), 1):
            raise InputError(
                f"Got weights of shape {weight.shape} that sum to {weight.sum(-1)}. Expected ({size},) or ({len(c)}, {size}), none below 0, "
                "each set's summing to 1. Divide them by their sum."
            )
        with np.errstate(divide="ignore"):
            logs.append(torch.from_numpy(np.log(np.broadcast_to(weight, (len(c), size)).copy())).to(device))
    return torch.from_numpy(c).to(device), logs[0], logs[1]


def _soft(c: torch.Tensor, potential: torch.Tensor, log_weight: torch.Tensor, dim: int, eps: float) -> torch.Tensor:
    """−ε·log Σ exp(log weight + (potential − cost) / ε) over the tokens in ``dim``."""
    inner = (log_weight + potential / eps).unsqueeze(3 - dim) - c / eps
    return -eps * inner.logsumexp(dim)


def _off(difference: torch.Tensor, eps: float) -> torch.Tensor:
    """How far a coupling's row is from its marginal, as a share of it."""
    return (difference / eps).expm1().abs()


def _schedule(c: torch.Tensor, epsilon: float, iterations: int) -> Any:
    """ε of every step: by halves from half the largest cost, then as asked for."""
    eps, steps = max(epsilon, float(c.max()) / 2), 0
    while eps > epsilon and steps < iterations:
        yield eps
        eps, steps = eps / 2, steps + 1
    for _ in range(steps, iterations):
        yield epsilon


# ---- tokens of images ------------------------------------------------------------------------------------------------

TOKEN_MEASURES = (
    "token_cosine", "token_centred", "token_margin", "token_zero_shot", "transport", "transport_margin", "transport_zero_shot",
)  # fmt: skip


@dataclass(frozen=True)
class Tokens:
    """How measures of single tokens are taken."""

    sites: tuple[str, ...] = ("projector",)
    cap: int = 256
    """Stimuli at most, drawn evenly from the classes and from as many references as there are."""
    pool: str = "none"
    """All tokens, or means over cells (``grid:4``)."""
    synonyms: bool = False
    """Transport to all wordings of a class rather than to the one asked for."""
    centred: bool = True
    """Transport between tokens less the means of images and words; else the cost is the raw cosine's."""
    epsilon: float = EPSILON
    iterations: int = ITERATIONS
    memory: float = 256e6
    """Bytes that a chunk of stimuli may take."""


def token_measures(
    tokens: Sequence[np.ndarray], words: np.ndarray, sets: Sequence[WordSet], targets: np.ndarray, how: Tokens | None = None
) -> dict[str, np.ndarray]:
    """Measures of single tokens, averaged per stimulus, and transport between the tokens of images and words.

    ``token_cosine``, ``token_centred`` and ``token_margin`` are the means over tokens of what ``analysis.distance_measures`` defines for
    mean-pooled features; ``token_zero_shot`` is the share of tokens whose nearest word is the right one; ``transport`` is S_ε to the tokens
    of the right class, ``transport_margin`` how much nearer they are than the nearest wrong class's, and ``transport_zero_shot``
    whether they are the nearest; all three are NaN where transport to a class did not converge. What centres is the mean over the classes
    that have stimuli: of the means of their images, each image with the same weight, and of their words.

    Args:
        tokens: (tokens, d) per stimulus, read when looked at, twice each.
        words: (k, d).
        sets: the tokens of each class.
        targets: (n,) class numbers.
        how: centring, ε, iterations and memory.

    Returns:
        Measure → (n,).
    """
    how = how or Tokens()
    counts = [len(own) for own in tokens]
    width, most, present = words.shape[1], max(counts), np.unique(targets)
    means = np.zeros(words.shape)
    for own, target in zip(tokens, targets, strict=True):
        means[target] += np.asarray(own, float).mean(0) / (targets == target).sum()
    mean, middle = means[present].mean(0), np.mean([sets[c].weights @ sets[c].rows for c in present], 0)
    named = unit(words).T, unit(words - words[present].mean(0)).T
    step = max(1, int(how.memory / 8 / (6 * most**2 + 4 * most * width)))
    pooled, costs = [], []
    for start in range(0, len(counts), step):
        part = [np.asarray(tokens[i], float) for i in range(start, min(start + step, len(counts)))]
        pooled += [_token_means(own, *named, mean, targets[start + i]) for i, own in enumerate(part)]
        costs.append(_to_classes(part, sets, mean * how.centred, middle * how.centred, how))
    cost, rows = np.concatenate(costs), np.arange(len(counts))
    margin = margins_of(-cost)[rows, targets]
    nearest = np.where(np.isnan(margin), np.nan, margin > 0)
    found = [*np.array(pooled).T, cost[rows, targets], margin, nearest]
    return dict(zip(TOKEN_MEASURES, found, strict=True))


def _token_means(own: np.ndarray, plain: np.ndarray, moved: np.ndarray, mean: np.ndarray, target: int) -> list[float]:
    """The first four measures of one stimulus, of words of length 1 (d, k), raw and centred."""
    raw, centred = unit(own) @ plain, unit(own - mean) @ moved
    margin = margins_of(centred)[:, target]
    return [1 - raw[:, target].mean(), 1 - centred[:, target].mean(), margin.mean(), (margin > 0).mean()]


def _to_classes(
    part: Sequence[np.ndarray], sets: Sequence[WordSet], mean: np.ndarray, middle: np.ndarray, how: Tokens
) -> np.ndarray:
    """S_ε between each stimulus (shorter ones padded with weight 0) and each class, (stimuli, k); a row all converged or all NaN."""
    options: Any = {"epsilon": how.epsilon, "iterations": how.iterations}
    most = max(map(len, part))
    x, weights = np.zeros((len(part), most, part[0].shape[1])), np.zeros((len(part), most))
    for i, own in enumerate(part):
        x[i, : len(own)], weights[i, : len(own)] = own - mean, 1 / len(own)
    image = self_transport(cosine_cost(x, x), weights, **options).cost
    found = []
    for named in sets:
        y = named.rows - middle
        word = self_transport(cosine_cost(y, y)[None], named.weights, **options).cost
        found.append(sinkhorn(cosine_cost(x, y), weights, named.weights, **options).cost - (image + word) / 2)
    cost = np.stack(found, 1)
    return np.where(np.isnan(cost).any(1, keepdims=True), np.nan, cost)
