"""What tuning minimises; each a short function of tensors, computed in float32 also where the model is not."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

import torch
from torch.nn import functional

TEMPERATURE = 0.07
DIRECTIONS = 8
"""Principal directions of the content that ``decorrelate`` looks at."""
P = ParamSpec("P")
Loss = Callable[Concatenate[torch.Tensor, P], torch.Tensor]


def _in_float32(loss: Loss[P]) -> Loss[P]:
    """Switch autocast off inside, where it would multiply float32 matrices in half precision."""

    @wraps(loss)
    def exact(first: torch.Tensor, /, *args: P.args, **kwargs: P.kwargs) -> torch.Tensor:
        with torch.autocast(first.device.type, enabled=False):
            return loss(first, *args, **kwargs)

    return exact


@_in_float32
def answer_nll(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean negative log-likelihood of each row's answer, (n,), in nats per token.

    Args:
        logits: (n, positions, vocabulary).
        labels: (n, positions), the token at each position, -100 outside the answer. Position t is predicted from t - 1.
    """
    target = labels[:, 1:]
    loss = functional.cross_entropy(logits[:, :-1].float().transpose(1, 2), target, ignore_index=-100, reduction="none")
    spoken = (target >= 0).sum(1).clamp(min=1)
    return loss.sum(1) / spoken


@_in_float32
def align_infonce(
    tokens: torch.Tensor, words: torch.Tensor, targets: torch.Tensor, temperature: float = TEMPERATURE
) -> torch.Tensor:
    """Draw the mean visual token of an image towards the embedding of its distortion's word, away from the other words.

    InfoNCE (van den Oord, Li and Vinyals 2018) over the classes' words, cosine similarity. Words are centred by their mean,
    so that what all of them share does not count; the choice of mean token and centring is ours.

    Args:
        tokens: (n, d) mean visual tokens in the language model's input space.
        words: (k, d) mean input embeddings of each class's wording.
        targets: (n,) class numbers.
        temperature: of the softmax.

    Returns:
        (n,), at least 0; log k for a token that lies equally far from all words.
    """
    visual = functional.normalize(tokens.float(), dim=1)
    return functional.cross_entropy(visual @ _units(words).T / temperature, targets, reduction="none")


@_in_float32
def align_cosine(tokens: torch.Tensor, words: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """One minus the cosine between the mean visual token and its own distortion's centred word, (n,), 0 to 2.

    The other words do not push. The cosine embedding loss; mean token and centring as in ``align_infonce``, ours.

    Args:
        tokens: (n, d) mean visual tokens.
        words: (k, d) mean input embeddings of each class's wording.
        targets: (n,) class numbers.
    """
    return 1 - functional.cosine_similarity(tokens.float(), _units(words)[targets], dim=1)


@_in_float32
def keep_content(tokens: torch.Tensor, untouched: torch.Tensor, words: torch.Tensor, scale: float) -> torch.Tensor:
    """How much visual tokens have moved in all directions but those that tell the words apart, relative to their variance.

    Distillation to the untouched model (Hinton, Vinyals and Dean 2015; as a guard against forgetting, Li and Hoiem 2016)
    that leaves the span of the centred words free, so that a word can be written into the tokens while what else stands in
    them is kept. The choice of the free directions is ours.

    Args:
        tokens: (n, d) visual tokens in the language model's input space.
        untouched: (n, d) the same tokens of the untouched model.
        words: (k, d) mean input embeddings of each class's wording.
        scale: variance of the untouched model's tokens.

    Returns:
        (n,) mean squared change outside the span over ``scale``: 0 where nothing else moved.
    """
    free = span(words)
    change = tokens.float() - untouched.float()
    return (change - change @ free.T @ free).square().mean(1) / scale


@_in_float32
def distill(tokens: torch.Tensor, untouched: torch.Tensor, scale: float) -> torch.Tensor:
    """Mean squared change of visual tokens in all directions over their variance, (n,).

    Feature distillation to the untouched model (Hinton, Vinyals and Dean 2015; Li and Hoiem 2016).

    Args:
        tokens: (n, d) visual tokens.
        untouched: (n, d) the same tokens of the untouched model.
        scale: variance of the untouched model's tokens.
    """
    return (tokens.float() - untouched.float()).square().mean(1) / scale


@_in_float32
def order_ranknet(
    mild: torch.Tensor, severe: torch.Tensor, words: torch.Tensor, targets: torch.Tensor, scale: float
) -> torch.Tensor:
    """The more severe of two images should lie further along the direction of their distortion's word.

    RankNet's pairwise logistic loss (Burges et al. 2005) of the mean tokens' projections on the centred word, in standard
    deviations of a visual token; the projection as the score is ours.

    Args:
        mild: (n, d) mean visual tokens.
        severe: (n, d) those of the same reference and type at a higher level.
        words: (k, d) mean input embeddings of each class's wording.
        targets: (n,) class numbers.
        scale: variance of the untouched model's tokens.

    Returns:
        (n,), above 0; log 2 for two that lie equally far.
    """
    ahead = ((severe.float() - mild.float()) * _units(words)[targets]).sum(1) / scale**0.5
    return functional.softplus(-ahead)


@_in_float32
def decorrelate(
    tokens: torch.Tensor, content: torch.Tensor, words: torch.Tensor, scale: float, directions: int = DIRECTIONS
) -> torch.Tensor:
    """How much of what stands in the words' span is told by the content.

    Squared correlations over the images between each coordinate in the span and the principal components of the content
    outside it, as the off-diagonal terms of Barlow Twins (Zbontar et al. 2021), summed over the components. As these do not
    correlate with each other, that is the share of the coordinate's variance that they explain together. Ours.

    Args:
        tokens: (n, d) mean visual tokens.
        content: (n, d) mean visual tokens of the untouched model that show the content; no gradient.
        words: (k, d) mean input embeddings of each class's wording.
        scale: variance of the untouched model's tokens; a coordinate that varies by less than a hundred-millionth of it counts
            as constant.
        directions: principal components at most; never more than half of what n images can tell apart.

    Returns:
        Mean over the span's coordinates, 0 to 1; by chance m / (n - 1) for m components. 0 of fewer than three images.
    """
    n, free = len(tokens), span(words)
    written = tokens.float() @ free.T  # (n, k - 1)
    if n < 3:
        return written[:0].sum()
    other = content.detach().float()
    other = other - other @ free.T @ free
    components, spread, _ = torch.linalg.svd(other - other.mean(0), full_matrices=False)
    told = int((spread > 1e-4 * (n * scale) ** 0.5).sum())
    components = components[:, : min(directions, (n - 1) // 2, told)]  # (n, m), orthonormal and without mean
    unit = functional.normalize(written - written.mean(0), dim=0, eps=1e-4 * (n * scale) ** 0.5)
    return (unit.T @ components).square().sum(1).mean()


def span(words: torch.Tensor) -> torch.Tensor:
    """Orthonormal directions that tell the words apart, (k - 1, d) for k words in general position."""
    _, spread, directions = torch.linalg.svd((words - words.mean(0)).float(), full_matrices=False)
    return directions[: int((spread > 1e-5 * spread[0]).sum())]


def _units(words: torch.Tensor) -> torch.Tensor:
    """Each word without what all share, of length 1, (k, d)."""
    return functional.normalize((words - words.mean(0)).float(), dim=1)
