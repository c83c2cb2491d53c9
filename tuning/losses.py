"""What tuning minimises; each a short function of tensors."""

from __future__ import annotations

import torch
from torch.nn import functional

TEMPERATURE = 0.07


def answer_nll(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean negative log-likelihood of each row's answer, in nats per token, averaged over rows.

    Args:
        logits: (n, positions, vocabulary).
        labels: (n, positions), the token at each position, -100 outside the answer. Position t is predicted from t - 1.
    """
    target = labels[:, 1:]
    loss = functional.cross_entropy(logits[:, :-1].float().transpose(1, 2), target, ignore_index=-100, reduction="none")
    spoken = (target >= 0).sum(1).clamp(min=1)
    return (loss.sum(1) / spoken).mean()


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
    """
    visual = functional.normalize(tokens.float(), dim=1)
    centred = functional.normalize((words - words.mean(0)).float(), dim=1)
    return functional.cross_entropy(visual @ centred.T / temperature, targets)


def keep_content(tokens: torch.Tensor, untouched: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
    """How much visual tokens have moved in all directions but those that tell the words apart, relative to their variance.

    Distillation to the untouched model (Hinton, Vinyals and Dean 2015; as a guard against forgetting, Li and Hoiem 2016)
    that leaves the span of the centred words free, so that a word can be written into the tokens while what else stands in
    them is kept. The choice of the free directions is ours.

    Args:
        tokens: (n, d) visual tokens in the language model's input space.
        untouched: (n, d) the same tokens of the untouched model.
        words: (k, d) mean input embeddings of each class's wording.

    Returns:
        Mean squared change outside the span over the variance of ``untouched``: 0 where nothing else moved.
    """
    free = torch.linalg.svd((words - words.mean(0)).float(), full_matrices=False)[2][: len(words) - 1]  # (k - 1, d)
    change = tokens.float() - untouched.float()
    change = change - change @ free.T @ free
    return change.square().mean() / untouched.float().var().clamp(min=1e-12)
