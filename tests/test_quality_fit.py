"""The logistic: recovers what made the data, agrees with scipy's own search, and says when it is a line."""

import numpy as np
import pytest
from scipy.optimize import curve_fit

from analysis.quality_fit import Fit, fit_logistic, refit


def logistic(s: np.ndarray, b1: float, b2: float, b3: float, b4: float) -> np.ndarray:
    return (b1 - b2) / (1 + np.exp(-(s - b3) / abs(b4))) + b2


def noisy(true: tuple[float, float, float, float], noise: float = 0.05, n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    s = rng.uniform(-2, 3, n)
    return s, logistic(s, *true) + noise * rng.normal(size=n)


@pytest.mark.parametrize("true", [(5.0, 1.0, 0.4, 0.5), (1.0, 5.0, 0.4, 0.5), (90.0, 10.0, 0.0, 0.3)])
def test_parameters_that_made_the_data_are_found(true: tuple[float, float, float, float]) -> None:
    found = fit_logistic(*noisy(true, 1e-6))
    assert found.kind == "logistic" and found.note == ""
    assert found.parameters[:3] == pytest.approx(true[:3], abs=1e-4)
    assert abs(found.parameters[3]) == pytest.approx(true[3], abs=1e-4)
    assert found.rises == (true[0] > true[1])


def test_a_steep_fall_is_found_from_the_falling_side() -> None:
    rng = np.random.default_rng(97)
    s = rng.uniform(-2, 3, 140)
    q = logistic(s, 1.0, 5.0, 2.4, 0.05) + 0.16 * rng.normal(size=140)
    assert fit_logistic(s, q).rmse(s, q) < 0.17, "from the rising side the search ends at 1.2"


def test_fit_agrees_with_curve_fit_from_the_published_start() -> None:
    s, q = noisy((4.5, 1.2, 0.4, 0.5), 0.4)
    theirs, _ = curve_fit(logistic, s, q, p0=[q.max(), q.min(), s.mean(), s.std() / 4], maxfev=10_000)
    ours = fit_logistic(s, q)
    assert ours.predict(s) == pytest.approx(logistic(s, *theirs), abs=1e-4)
    assert ours.rmse(s, q) == pytest.approx(np.sqrt(np.mean((logistic(s, *theirs) - q) ** 2)))


def test_scale_of_scores_and_truth_does_not_matter() -> None:
    s, q = noisy((4.5, 1.2, 0.4, 0.5), 0.4)
    assert fit_logistic(0.5 + s / 1000, q * 20).predict(0.5 + s / 1000) == pytest.approx(
        20 * fit_logistic(s, q).predict(s), abs=1e-3
    )


def test_few_different_scores_get_a_line() -> None:
    s, q = np.array([1.0, 2, 3, 1, 2, 3]), np.array([1.0, 3, 5, 3, 5, 7])
    found = fit_logistic(s, q)
    assert found.kind == "linear" and found.parameters == pytest.approx((2, 0))
    assert found.note == "there are fewer than 4 different scores, so a straight line is fitted"
    assert found.predict(np.array([4.0])) == pytest.approx([8]) and found.rises


def test_what_does_not_converge_or_fits_worse_gets_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    s, q = noisy((5.0, 1.0, 0.4, 0.5))
    monkeypatch.setattr("analysis.quality_fit.EVALUATIONS", 2)
    found = fit_logistic(s, q)
    assert (found.kind, found.note) == ("linear", "the logistic does not converge, so a straight line is fitted")
    assert found.parameters == pytest.approx(np.polyfit(s, q, 1))
    monkeypatch.setattr("analysis.quality_fit._search", lambda *_: (True, Fit("logistic", (1.0, 1.0, 0.0, 1.0))))
    assert fit_logistic(s, q).note == "the logistic fits worse than a straight line, so a straight line is fitted"


def test_refit_on_other_data_is_as_good_as_a_fit_from_scratch() -> None:
    s, q = noisy((4.5, 1.2, 0.4, 0.5), 0.4)
    whole, rows = fit_logistic(s, q), np.random.default_rng(1).integers(0, len(s), len(s))
    warm, cold = refit(whole, s[rows], q[rows]), fit_logistic(s[rows], q[rows])
    assert warm.predict(s) == pytest.approx(cold.predict(s), abs=1e-4)
    assert warm.parameters != whole.parameters


def test_a_line_stays_a_line_and_too_few_rows_keep_the_curve() -> None:
    s, q = noisy((4.5, 1.2, 0.4, 0.5))
    assert refit(Fit("linear", (0.0, 0.0)), s, q).parameters == pytest.approx(np.polyfit(s, q, 1))
    whole = fit_logistic(s, q)
    assert refit(whole, s[:3], q[:3]) is whole
