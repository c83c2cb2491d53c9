"""Tokens that are noted and tokens that are drawn: by the model's probabilities, each row by a stream of its own."""

import numpy as np
import pytest
import torch
from scipy import special, stats

from hooks.sampling import Drawn, Probabilities

LOGITS = np.array([2.0, 1.0, 0.5, 0.0, -1.0])
NO_TOKENS = torch.empty(0, 0, dtype=torch.long)


def drawn(
    logits: np.ndarray, seeds: range | list[int], temperature: float, top_k: int = 0, top_p: float = 1.0, steps: int = 1
) -> np.ndarray:
    """The tokens that are drawn from the same logits with each seed, int (seeds, steps)."""
    draw = Drawn(seeds, temperature, top_k, top_p)
    scores = torch.tensor(logits, dtype=torch.float32).expand(len(seeds), -1)
    return np.stack([draw(NO_TOKENS, scores).argmax(1).numpy() for _ in range(steps)], 1)


def fits(tokens: np.ndarray, probabilities: np.ndarray) -> bool:
    """Whether the tokens are distributed so; those of no probability do not come at all."""
    counts = np.bincount(tokens.ravel(), minlength=len(probabilities))
    able = probabilities > 0
    sure = able.sum() == 1 or stats.chisquare(counts[able], counts.sum() * probabilities[able]).pvalue > 1e-3
    return bool(sure) and not counts[~able].any()


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_tokens_are_drawn_from_the_softmax_of_the_logits_over_the_temperature(temperature: float) -> None:
    tokens = drawn(LOGITS, range(8000), temperature)
    assert fits(tokens, special.softmax(LOGITS / temperature))
    assert not fits(tokens, special.softmax(LOGITS / (temperature * 1.3)))


@pytest.mark.parametrize("top_k", [1, 2, 4, 5, 9])
def test_only_the_likeliest_k_are_drawn(top_k: int) -> None:
    kept = np.where(np.arange(5) < top_k, LOGITS, -np.inf)
    assert fits(drawn(LOGITS, range(4000), 1.5, top_k=top_k), special.softmax(kept / 1.5))


@pytest.mark.parametrize("top_p", [0.1, 0.5, 0.8, 0.95, 1.0])
def test_only_the_likeliest_tokens_that_have_the_share_are_drawn(top_p: float) -> None:
    probabilities = special.softmax(LOGITS / 1.5)
    before = np.cumsum(probabilities) - probabilities  # LOGITS fall, so these are the likelier ones
    kept = np.where(before < top_p, probabilities, 0)
    assert fits(drawn(LOGITS, range(4000), 1.5, top_p=top_p), kept / kept.sum())


def test_the_share_is_of_the_likeliest_k_where_both_are_given() -> None:
    three = special.softmax(LOGITS[:3])
    kept = np.where(np.cumsum(three) - three < 0.9, three, 0)
    assert fits(drawn(LOGITS, range(4000), 1.0, top_k=3, top_p=0.9), np.append(kept / kept.sum(), [0, 0]))


def test_a_draw_depends_on_its_seed_alone_and_not_on_its_neighbours() -> None:
    seeds = [5, 2**59 + 3, 8, 5]
    together = drawn(LOGITS, seeds, 1.0, steps=40)
    assert np.array_equal(together[0], together[3]) and not np.array_equal(together[0], together[1])
    alone = np.concatenate([drawn(LOGITS, [seed], 1.0, steps=40) for seed in seeds])
    assert np.array_equal(together, alone) and np.array_equal(drawn(LOGITS, seeds[::-1], 1.0, steps=40)[::-1], together)


def test_steps_and_neighbouring_seeds_are_independent() -> None:
    tokens = drawn(LOGITS, range(3000), 2.0, steps=2)
    for one, other in ((tokens[:, 0], tokens[:, 1]), (tokens[:-1, 0], tokens[1:, 0])):
        table = np.zeros((5, 5))
        np.add.at(table, (one, other), 1)
        assert stats.chi2_contingency(table).pvalue > 1e-3


def test_the_world_s_random_numbers_are_left_alone() -> None:
    torch.manual_seed(0)
    state = torch.get_rng_state()
    tokens = drawn(LOGITS, range(10), 1.0)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    assert np.array_equal(drawn(LOGITS, range(10), 1.0), tokens)


def test_half_precision_logits_are_drawn_from_in_full() -> None:
    scores = torch.tensor(LOGITS).bfloat16().expand(2000, -1)
    found = Drawn(range(2000), 1.0)(NO_TOKENS, scores)
    assert found.dtype == torch.float32 and fits(found.argmax(1).numpy(), special.softmax(LOGITS))


def noted(chosen: list[list[int]], logits: np.ndarray) -> Probabilities:
    """What is noted where these tokens are chosen; logits (steps, rows, vocabulary)."""
    notes = Probabilities()
    ids = torch.zeros(len(chosen), 3, dtype=torch.long)
    for step, scores in enumerate(torch.tensor(logits)):
        assert notes(ids, scores) is scores
        ids = torch.cat([ids, torch.tensor(chosen)[:, step : step + 1]], 1)
    return notes


def test_confidence_is_the_mean_probability_of_the_counted_tokens() -> None:
    logits = np.random.default_rng(0).normal(size=(3, 2, 5))
    chosen, counted = [[4, 0, 2], [1, 1, 3]], [[True, True, False], [True, True, True]]
    probabilities = special.softmax(logits, -1)
    wanted = [
        np.mean([probabilities[step, row, chosen[row][step]] for step in range(3) if counted[row][step]]) for row in range(2)
    ]
    notes = noted(chosen, logits)
    assert notes.steps == 3
    assert notes.over(torch.tensor(chosen), torch.tensor(counted)) == pytest.approx(wanted, rel=1e-6)


def test_a_start_token_in_front_that_nothing_predicted_does_not_count() -> None:
    logits = np.random.default_rng(0).normal(size=(2, 1, 5))
    plain = noted([[4, 0]], logits).over(torch.tensor([[4, 0]]), torch.tensor([[True, True]]))
    assert noted([[4, 0]], logits).over(torch.tensor([[1, 4, 0]]), torch.tensor([[False, True, True]])) == plain


def test_an_empty_answer_has_no_confidence() -> None:
    (found,) = noted([[2]], np.zeros((1, 1, 5))).over(torch.tensor([[2]]), torch.tensor([[False]]))
    assert np.isnan(found)


def test_an_answer_with_a_probability_that_is_no_number_is_told() -> None:
    logits = np.zeros((3, 3, 5))
    logits[1, 1, 2] = np.nan
    logits[:, 2, 0] = -np.inf
    notes = noted([[1, 1, 1]] * 3, logits)
    notes.over(torch.ones(3, 3, dtype=torch.long), torch.zeros(3, 3, dtype=torch.bool))
    assert notes.sound == [True, False, True]


def test_nothing_is_noted_before_the_first_step() -> None:
    assert Probabilities().steps == 0


@pytest.mark.parametrize(("count", "steps"), [(1, 1), (3, 1), (3, 4)])
def test_no_logits_are_held_but_those_of_the_last_step(count: int, steps: int) -> None:
    notes = noted([[0] * steps] * count, np.zeros((steps, count, 50)))
    held = [value for value in vars(notes).values() if isinstance(value, torch.Tensor)] + notes._chosen
    assert sum(value.numel() for value in held) == count * 50 + count * (steps - 1)
