"""Fits of psychometric functions: gradient, brute force, weights, and how often the tests of form cry wolf."""

import numpy as np
import pytest
from scipy.optimize import check_grad
from scipy.special import expit
from scipy.stats import binom

from analysis.psychometric_fit import Observed, deviance, fit, flat_p, goodness, loss, refits
from probes.intervals import resamples


def observed(
    threshold: float = 0.1, beta: float = 5.0, guess: float = 0.1, lapse: float = 0.03, n: int = 400, seed: int = 0
) -> Observed:
    """An observer of known threshold, shown each of 40 references ``n / 40`` times and clean once."""
    rng = np.random.default_rng(seed)
    z = rng.uniform(-1, 1, n)
    told = rng.random(n) < guess + (1 - guess - lapse) * expit(beta * (z - threshold))
    return Observed(z, told.astype(float), np.arange(n) % 40, (rng.random(40) < guess).astype(float), np.arange(40))


def test_the_gradient_is_that_of_the_loss() -> None:
    rng = np.random.default_rng(1)
    z, told, weights = rng.uniform(-1, 1, 50), (rng.random(50) < 0.5).astype(float), rng.integers(1, 4, 50).astype(float)
    for parameters in ([0.2, 1.5, 0.05], [-0.7, -1.0, 0.0], [0.0, 3.0, 0.08]):
        error = check_grad(*(lambda x, i=i: loss(x, z, told, weights, 0.15)[i] for i in (0, 1)), np.array(parameters))
        assert error < 1e-5


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("threshold", "beta"), [(0.1, 5.0), (0.92, 6.0), (-0.95, 3.0), (0.0, 60.0), (0.3, 1.0)])
def test_no_point_of_a_fine_grid_is_likelier_than_the_fit(threshold: float, beta: float, seed: int) -> None:
    own = observed(threshold, beta, n=200, seed=seed)
    found = fit(own)
    assert found.guess == own.guessed.mean() and 0 <= found.lapse <= 0.1 * (1 - found.guess) + 1e-12
    grid = np.meshgrid(np.linspace(-2, 2, 81), np.geomspace(0.1, 100, 40), np.linspace(0, 0.1, 6) * (1 - found.guess))
    a, b, lapse = (axis.reshape(-1, 1) for axis in grid)
    p = np.clip(found.guess + (1 - found.guess - lapse) * expit(b * (own.z - a)), 1e-9, 1 - 1e-9)
    best = (np.log(p) @ own.told + np.log(1 - p) @ (1 - own.told)).max()
    assert found.log_likelihood >= best - 0.02


def test_the_likelihood_is_that_of_the_curve() -> None:
    own = observed()
    found = fit(own)
    p = found.p(own.z)
    assert found.log_likelihood == pytest.approx(binom.logpmf(own.told, 1, p).sum(), abs=1e-6)
    assert found.p(np.array(found.threshold)) == pytest.approx(found.guess + (1 - found.guess - found.lapse) / 2)


def test_weights_count_like_repetitions_of_a_reference() -> None:
    own, rng = observed(n=120), np.random.default_rng(3)
    weights = rng.multinomial(40, np.full(40, 1 / 40)).astype(float)
    times = weights.astype(int)
    z, told, number = (np.repeat(values, times[own.number]) for values in (own.z, own.told, own.number))
    guessed, clean_number = (np.repeat(values, times[own.clean_number]) for values in (own.guessed, own.clean_number))
    many = Observed(z, told, number, guessed, clean_number)
    found, expected = fit(own, weights), fit(many)
    assert (found.threshold, found.steepness, found.lapse) == pytest.approx(
        (expected.threshold, expected.steepness, expected.lapse), abs=2e-3
    )
    assert found.guess == expected.guess and found.log_likelihood == pytest.approx(expected.log_likelihood, abs=1e-4)


def test_refits_from_nearby_find_what_fits_from_the_grid_find() -> None:
    own = observed(n=200)
    thresholds, steepnesses = refits(own, fit(own), 15, 4)
    again = [fit(own, weights) for weights in resamples(40, 15, 4)]
    assert thresholds == pytest.approx([curve.threshold for curve in again], abs=5e-3)
    assert steepnesses == pytest.approx([curve.steepness for curve in again], rel=0.05)


def test_a_constant_is_rarely_taken_for_a_curve_and_a_curve_never_for_a_constant() -> None:
    rng = np.random.default_rng(5)
    p = []
    for seed in range(60):
        own = observed(seed=seed)
        flat = (rng.random(400) < 0.4).astype(float)
        constant = Observed(own.z, flat, own.number, own.guessed, own.clean_number)
        p.append(flat_p(fit(constant), flat))
        assert seed > 5 or flat_p(fit(own), own.told) < 1e-10
    assert np.mean(np.array(p) < 0.05) < 0.08


def test_flat_p_is_the_likelihood_ratios() -> None:
    own = observed(beta=0.5, n=80)
    found, share = fit(own), own.told.mean()
    p = flat_p(found, own.told)
    constant = binom.logpmf(own.told, 1, share).sum()
    assert 0.001 < p < 0.9 and p == pytest.approx(np.exp(constant - found.log_likelihood), rel=1e-6), (
        "exp(-x / 2): chi-squared, 2"
    )


def test_a_falling_share_is_no_curve() -> None:
    own = observed()
    falling = Observed(-own.z, own.told, own.number, own.guessed, own.clean_number)
    assert flat_p(fit(falling), own.told) == 1


def test_deviance_compares_each_bin_with_the_mean_of_the_curve_in_it() -> None:
    told, place = np.array([1.0, 1, 0, 0, 0, 0]), np.array([0, 0, 0, 0, 1, 1])
    p = np.array([0.2, 0.4, 0.2, 0.4, 0.3, 0.5])
    by_hand = 2 * (2 * np.log(0.5 / 0.3) + 2 * np.log(0.5 / 0.7) + 2 * np.log(1 / 0.6))
    assert deviance(told, p, place) == pytest.approx(by_hand)
    assert deviance(told, np.array([0.5, 0.5, 0.5, 0.5, 0.0, 0.0]), place) == pytest.approx(0, abs=1e-7)


def test_the_wrong_form_shows_and_the_right_one_does_not() -> None:
    right = observed(n=800)
    place = np.digitize(right.z, np.linspace(-1, 1, 9)[1:-1])
    assert goodness(right, fit(right), place, 40, 0)[1] > 0.1
    rng = np.random.default_rng(6)
    hump = (rng.random(800) < np.where(abs(right.z) < 0.3, 0.9, 0.3 + 0.2 * right.z)).astype(float)
    wrong = Observed(right.z, hump, right.number, right.guessed, right.clean_number)
    found, p = goodness(wrong, fit(wrong), place, 40, 0)
    assert p == pytest.approx(1 / 41) and found == pytest.approx(deviance(hump, fit(wrong).p(wrong.z), place))
