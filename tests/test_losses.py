"""Losses do what their names say."""

import math

import pytest
import torch

from tuning.losses import align_infonce, answer_nll, keep_content


def test_answer_nll_averages_over_the_answers_tokens_then_over_rows() -> None:
    logits = torch.zeros(2, 4, 8)
    logits[0, 2, 5] = logits[1, 1, 1] = 100.0  # position t is read off at t - 1
    labels = torch.tensor([[-100, -100, -100, 5], [-100, -100, 1, 2]])
    assert answer_nll(logits, labels).item() == pytest.approx(math.log(8) / 4)


def test_infonce_is_lowest_at_the_right_word_and_log_k_without_information() -> None:
    words = torch.eye(4)
    centred = words - words.mean(0)
    right, wrong = align_infonce(centred, words, torch.arange(4)), align_infonce(centred, words, torch.tensor([1, 2, 3, 0]))
    assert right < 1e-4 < wrong
    assert align_infonce(torch.ones(1, 4), words, torch.tensor([2])).item() == pytest.approx(math.log(4), abs=1e-5)
    assert torch.allclose(align_infonce(7 * centred, words, torch.arange(4)), right)


def test_what_all_words_share_does_not_count() -> None:
    torch.manual_seed(0)
    tokens, words, targets = torch.randn(5, 8), torch.randn(3, 8), torch.tensor([0, 1, 2, 0, 1])
    shifted = align_infonce(tokens, words + 5 * torch.randn(8), targets)
    assert shifted.item() == pytest.approx(align_infonce(tokens, words, targets).item(), rel=1e-4)


def test_infonce_draws_tokens_towards_their_word() -> None:
    torch.manual_seed(0)
    tokens, words = torch.randn(6, 8, requires_grad=True), torch.randn(3, 8)
    targets = torch.tensor([0, 1, 2, 0, 1, 2])
    optimizer = torch.optim.SGD([tokens], lr=1.0)
    for _ in range(100):
        optimizer.zero_grad()
        align_infonce(tokens, words, targets).backward()
        optimizer.step()
    centred = words - words.mean(0)
    nearest = torch.nn.functional.cosine_similarity(tokens[:, None], centred[None], dim=2).argmax(1)
    assert torch.equal(nearest, targets)


def test_a_word_can_be_written_and_nothing_else_moved() -> None:
    torch.manual_seed(0)
    words, untouched = torch.randn(3, 8), torch.randn(10, 8)
    centred = words - words.mean(0)
    assert keep_content(untouched, untouched, words) == 0
    assert keep_content(untouched + 2 * centred[1], untouched, words) < 1e-10
    aside = torch.randn(8)
    aside -= torch.linalg.lstsq(centred.T, aside).solution @ centred
    moved = keep_content(untouched + aside, untouched, words)
    assert moved.item() == pytest.approx(float(aside.square().mean() / untouched.var()), rel=1e-4)
