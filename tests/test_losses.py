"""Losses do what their names say."""

import math
from collections.abc import Callable

import pytest
import torch

from tuning.losses import align_cosine, align_infonce, answer_nll, decorrelate, distill, keep_content, order_ranknet, span

Loss = Callable[[torch.Tensor], torch.Tensor]


def aside(words: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """What of a vector lies outside the centred words' span, by least squares."""
    centred = words - words.mean(0)
    return value - torch.linalg.lstsq(centred.T, value).solution @ centred


def descend(loss: Loss, start: torch.Tensor, rate: float, steps: int = 100) -> torch.Tensor:
    tokens = start.clone().requires_grad_()
    for _ in range(steps):
        (gradient,) = torch.autograd.grad(loss(tokens), tokens)
        tokens = (tokens - rate * gradient).detach().requires_grad_()
    return tokens.detach()


def test_answer_nll_averages_over_the_answers_tokens_row_by_row() -> None:
    logits = torch.zeros(2, 4, 8)
    logits[0, 2, 5] = logits[1, 1, 1] = 100.0  # position t is read off at t - 1
    labels = torch.tensor([[-100, -100, -100, 5], [-100, -100, 1, 2]])
    assert answer_nll(logits, labels).tolist() == pytest.approx([0, math.log(8) / 2])


def test_infonce_is_lowest_at_the_right_word_and_log_k_without_information() -> None:
    words = torch.eye(4)
    centred = words - words.mean(0)
    right, wrong = align_infonce(centred, words, torch.arange(4)), align_infonce(centred, words, torch.tensor([1, 2, 3, 0]))
    assert right.max() < 1e-4 < wrong.min() and right.shape == (4,)
    assert align_infonce(torch.ones(1, 4), words, torch.tensor([2])).item() == pytest.approx(math.log(4), abs=1e-5)
    assert torch.allclose(align_infonce(7 * centred, words, torch.arange(4)), right)


def test_cosine_is_0_at_the_word_2_opposite_and_1_across_whatever_the_length() -> None:
    words, targets = torch.eye(4), torch.tensor([2, 2, 2, 2])
    own = (words - words.mean(0))[2]
    tokens = torch.stack([own, 7 * own, -own, torch.ones(4)])
    assert align_cosine(tokens, words, targets).tolist() == pytest.approx([0, 0, 2, 1], abs=1e-6)


@pytest.mark.parametrize("loss", [align_infonce, align_cosine])
def test_alignment_ignores_what_all_words_share_and_draws_tokens_to_their_word(loss: Callable[..., torch.Tensor]) -> None:
    torch.manual_seed(0)
    tokens, words, targets = torch.randn(6, 8), torch.randn(3, 8), torch.tensor([0, 1, 2, 0, 1, 2])
    shifted = loss(tokens, words + 5 * torch.randn(8), targets)
    assert torch.allclose(shifted, loss(tokens, words, targets), rtol=1e-3)
    after = descend(lambda tokens: loss(tokens, words, targets).mean(), tokens, 3.0, 200)
    nearest = torch.nn.functional.cosine_similarity(after[:, None], (words - words.mean(0))[None], dim=2).argmax(1)
    assert torch.equal(nearest, targets)


def test_a_word_can_be_written_and_nothing_else_moved() -> None:
    torch.manual_seed(0)
    words, untouched = torch.randn(3, 8), torch.randn(10, 8)
    centred = words - words.mean(0)
    assert keep_content(untouched, untouched, words, 2.0).tolist() == [0] * 10
    assert keep_content(untouched + 2 * centred[1], untouched, words, 2.0).max() < 1e-10
    other = aside(words, torch.randn(8))
    moved = keep_content(untouched + other, untouched, words, 2.0)
    assert moved.tolist() == pytest.approx([float(other.square().mean()) / 2] * 10, rel=1e-4)


def test_distillation_leaves_no_direction_free() -> None:
    torch.manual_seed(0)
    words, untouched = torch.randn(3, 8), torch.randn(4, 8)
    step = 2 * (words - words.mean(0))[1]
    assert distill(untouched, untouched, 2.0).tolist() == [0] * 4
    assert distill(untouched + step, untouched, 2.0).tolist() == pytest.approx([float(step.square().mean()) / 2] * 4, rel=1e-4)
    home = descend(lambda tokens: distill(tokens, untouched, 2.0).mean(), untouched + step, 16.0)
    assert torch.allclose(home, untouched, atol=1e-3)


def test_the_more_severe_image_must_lie_further_along_its_word() -> None:
    torch.manual_seed(0)
    words, mild, targets = torch.eye(4), torch.randn(3, 4), torch.tensor([0, 1, 2])
    unit = torch.nn.functional.normalize(words - words.mean(0), dim=1)[targets]
    assert order_ranknet(mild, mild, words, targets, 4.0).tolist() == pytest.approx([math.log(2)] * 3)
    ahead = order_ranknet(mild, mild + 6 * unit, words, targets, 4.0)
    assert ahead.tolist() == pytest.approx([math.log1p(math.exp(-3))] * 3, rel=1e-4), "6 are 3 standard deviations"
    assert torch.allclose(order_ranknet(3 * mild, 3 * mild + 18 * unit, words, targets, 36.0), ahead, rtol=1e-4), "no unit"
    assert torch.allclose(order_ranknet(mild, mild + 6 * unit + 9, words + 5, targets, 4.0), ahead, rtol=1e-4), "shared: no use"
    severe = descend(lambda tokens: order_ranknet(mild, tokens, words, targets, 4.0).sum(), mild, 1.0)
    assert (((severe - mild) * unit).sum(1) > 1).all()


def test_correlation_with_the_content_is_the_variance_that_it_explains() -> None:
    torch.manual_seed(0)
    n, words = 40, torch.randn(3, 8)
    free = span(words)
    outside = torch.stack([aside(words, row) for row in torch.randn(2, 8)])
    causes = torch.randn(n, 2) * torch.tensor([1.0, 0.2])
    content = causes @ outside + torch.randn(n, 2) @ free
    written = causes[:, :1] + torch.randn(n, 1)
    tokens = written @ free[:1] + torch.randn(n, 1) @ outside[:1]
    design = causes - causes.mean(0)
    own = written - written.mean(0)
    left = own - design @ torch.linalg.lstsq(design, own).solution
    share = float(1 - left.square().sum() / own.square().sum())
    assert decorrelate(tokens, content, words, 1.0).item() == pytest.approx(share / 2, abs=1e-4), (
        "the second coordinate is constant"
    )
    assert decorrelate(5 + 3 * tokens, 7 * content, words, 1.0).item() == pytest.approx(share / 2, abs=1e-4)
    freed = descend(lambda tokens: decorrelate(tokens, content, words, 1.0), tokens, 40.0, 300)
    assert decorrelate(freed, content, words, 1.0) < 0.2 * share / 2
    assert torch.allclose(tokens - tokens @ free.T @ free, freed - freed @ free.T @ free, atol=1e-4), "only the span is moved"


def test_chance_correlation_is_as_documented_and_two_images_tell_nothing() -> None:
    torch.manual_seed(0)
    words = torch.randn(4, 32)
    for n, components in ((33, 8), (9, 4)):
        drawn = [decorrelate(torch.randn(n, 32), torch.randn(n, 32), words, 1.0).item() for _ in range(200)]
        assert sum(drawn) / 200 == pytest.approx(components / (n - 1), rel=0.1), "at most half of what n images can tell apart"
    assert decorrelate(torch.randn(2, 32), torch.randn(2, 32), words, 1.0) == 0


def test_the_span_is_as_wide_as_the_words_tell_it() -> None:
    torch.manual_seed(0)
    words = torch.randn(3, 8)
    assert span(words).shape == (2, 8) and torch.allclose(span(words) @ span(words).T, torch.eye(2), atol=1e-5)
    assert span(torch.cat([words, words[:1]])).shape == (2, 8), "two classes with one wording"


def test_half_precision_tokens_are_computed_in_float32() -> None:
    torch.manual_seed(0)
    tokens, words, targets = torch.randn(6, 8).bfloat16(), torch.randn(3, 8), torch.tensor([0, 1, 2, 0, 1, 2])
    exact = [align_infonce(tokens.float(), words, targets), keep_content(tokens.float(), tokens.float() + 1, words, 1.0)]
    with torch.autocast("cpu", torch.bfloat16):
        assert (tokens @ words.T).dtype == torch.bfloat16, "autocast is on"
        found = [align_infonce(tokens, words, targets), keep_content(tokens, tokens.float() + 1, words, 1.0)]
        likelihood = answer_nll(torch.randn(2, 4, 8).bfloat16(), torch.ones(2, 4, dtype=torch.long))
    assert all(torch.equal(a, b) for a, b in zip(exact, found, strict=True)) and likelihood.dtype == torch.float32
