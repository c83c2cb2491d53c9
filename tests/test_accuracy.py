"""Numbers of answers: scikit-learn's macro-F1, bins of severity, McNemar's tests, and what guessing would bring."""

import json
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.metrics import f1_score

from analysis.accuracy import accuracy_by, macro_f1, mcnemar, mcnemar_by_reference, response_profile
from probes.intervals import group_bootstrap, resampled_rows
from stimuli.errors import InputError

CLASSES = ("blur", "noise", "clean", "never")


def answered(n: int = 160, references: int = 20) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels of three classes, the third of one reference alone; answers of all four and unparsed ones; references."""
    rng = np.random.default_rng(0)
    labels, groups = rng.choice(CLASSES[:2], n, p=[0.7, 0.3]), rng.integers(0, references, n)
    labels = np.where((groups == 0) & (rng.random(n) < 0.7), "clean", labels)
    answers = np.where(rng.random(n) < 0.5, labels, rng.choice([*CLASSES, "unparsed"], n))
    return labels, answers, groups


def row(reference: str, type: str | None, correct: bool, **more: Any) -> dict[str, Any]:
    return {"reference": reference, "type": type, "level": None, "psnr": None, "ssim": None, "correct": correct, **more}


def test_macro_f1_is_that_of_scikit_learn_in_the_whole_and_in_every_resample() -> None:
    labels, answers, groups = answered()
    present = sorted(set(labels))
    found = macro_f1(labels, answers, CLASSES, groups, n_boot=60, seed=3)
    assert found.value == pytest.approx(f1_score(labels, answers, labels=present, average="macro", zero_division=0))
    draws = [
        f1_score(labels[rows], answers[rows], labels=sorted(set(labels[rows])), average="macro", zero_division=0)
        for rows in resampled_rows(groups, 60, 3)
    ]
    assert any(len(set(labels[rows])) < 3 for rows in resampled_rows(groups, 60, 3)), "some resample lacks a class"
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])))


def test_an_unparsed_answer_is_wrong_and_no_class() -> None:
    labels, groups = ["blur", "blur", "noise", "noise"], ["a", "b", "a", "b"]
    found = macro_f1(labels, ["blur", "unparsed", "noise", "noise"], ("blur", "noise"), groups)
    assert found.value == pytest.approx((2 / 3 + 1) / 2), "blur: recall 1/2, precision 1; there is no third class in the mean"
    found = macro_f1(labels, ["blur", "noise", "noise", "noise"], ("blur", "noise"), groups)
    assert found.value == pytest.approx((2 / 3 + 4 / 5) / 2), "a named class counts against its precision"


def test_what_is_no_class_is_refused() -> None:
    with pytest.raises(InputError, match="The answer 'blurr' is none of blur, noise, unparsed. Give answers and labels of one"):
        macro_f1(["blur", "noise"], ["blur", "blurr"], ("blur", "noise"), ["a", "b"])
    with pytest.raises(InputError, match="The label 'unparsed' is none of blur, noise. Give"):
        macro_f1(["blur", "unparsed"], ["blur", "blur"], ("blur", "noise"), ["a", "b"])
    with pytest.raises(InputError, match="The answer 'x' is none of"):
        response_profile(["x"], ["blur"], ("blur", "noise"))
    with pytest.raises(InputError, match="There are no answers to describe"):
        response_profile([], [], ("blur", "noise"))


def test_accuracy_by_type_names_clean_first_and_has_intervals_over_references() -> None:
    rows = [row(f"r{i // 3}", type, i % 4 > 0) for i, type in enumerate(["jpeg", "blur", None] * 8)]
    found = accuracy_by(rows, "type", n_boot=200, seed=5)
    assert [r["type"] for r in found] == ["clean", "jpeg", "blur"] and {r["n"] for r in found} == {8}
    own = [r for r in rows if r["type"] == "jpeg"]
    expected = group_bootstrap(np.array([r["correct"] for r in own]), [r["reference"] for r in own], 200, 5)
    jpeg = found[1]
    assert (jpeg["accuracy"], jpeg["low"], jpeg["high"]) == (expected.value, expected.low, expected.high)
    assert jpeg["references"] == 8 and jpeg["low"] < jpeg["accuracy"] < jpeg["high"]


def test_accuracy_by_level_sorts_them_and_leaves_out_distorted_images_without_one() -> None:
    rows = [row("a", "jpeg", True, level=5), row("b", "jpeg", False, level=2), row("a", None, True), row("a", "mixed", False)]
    found = accuracy_by(rows, "level")
    assert [(r["level"], r["accuracy"]) for r in found] == [("clean", 1.0), (2, 0.0), (5, 1.0)]
    assert all(r["references"] == 1 and r["low"] is None and r["high"] is None for r in found), "one reference has no interval"
    assert accuracy_by([], "level") == []


def test_accuracy_by_severity_has_fixed_bins_from_mild_to_severe() -> None:
    shown = (12.0, 14.99, 15.0, 27.0, 44.9, 45.0, 99.0, 100.0, None, float("nan"))
    found = accuracy_by([row("a", "jpeg", True, psnr=psnr) for psnr in shown], "severity")
    assert [(r["severity"], r["n"]) for r in found] == [
        ("identical", 1), ("45 dB or more", 2), ("40 to 45 dB", 1), ("25 to 30 dB", 1), ("15 to 20 dB", 1), ("below 15 dB", 2),
    ]  # fmt: skip
    found = accuracy_by([row("a", "jpeg", False, ssim=ssim) for ssim in (1.0, 0.97, 0.95, 0.55, -0.1, None)], "ssim")
    assert [(r["ssim"], r["n"]) for r in found] == [("identical", 1), ("0.95 to 0.98", 2), ("0.5 to 0.6", 1), ("below 0.5", 1)]


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(InputError, match="Cannot tell accuracy by 'mood'. Expected one of type, level, severity, ssim"):
        accuracy_by([], "mood")


def test_mcnemar_is_exact_and_knows_only_what_differs() -> None:
    a = np.array([1] * 10 + [0] * 2 + [1] * 30 + [0] * 30, bool)
    b = np.array([0] * 10 + [1] * 2 + [1] * 30 + [0] * 30, bool)
    found = mcnemar(a, b)
    assert (found.only_a, found.only_b) == (10, 2)
    assert found.p == pytest.approx(2 * binom.cdf(2, 12, 0.5)) and found.statistic == pytest.approx(64 / 12)
    assert mcnemar(b, a).p == pytest.approx(found.p)
    assert mcnemar(a, a).as_dict() == {"only_a": 0, "only_b": 0, "p": 1.0, "statistic": 0.0}
    json.dumps(found.as_dict())
    with pytest.raises(InputError, match="2 and 3 answers cannot be paired"):
        mcnemar([True, False], [True, False, True])


def obuchowski(a: np.ndarray, b: np.ndarray, groups: np.ndarray) -> float:
    """The statistic by its variances and covariance under the common accuracy, cluster by cluster (Obuchowski 1998)."""
    names, n = np.unique(groups), len(a)
    k, common = len(names), (a.mean() + b.mean()) / 2
    residual = np.array([[(hits[groups == g] - common).sum() for g in names] for hits in (a.astype(float), b.astype(float))])
    cov = k / (k - 1) * residual @ residual.T / n**2
    return float((a.mean() - b.mean()) ** 2 / (cov[0, 0] + cov[1, 1] - 2 * cov[0, 1]))


def test_mcnemar_by_reference_is_obuchowskis() -> None:
    rng = np.random.default_rng(1)
    groups = rng.integers(0, 15, 100)
    a, b = rng.random(100) < 0.6, rng.random(100) < 0.4
    found = mcnemar_by_reference(a, b, groups)
    assert found.statistic == pytest.approx(obuchowski(a, b, groups))
    alone = mcnemar_by_reference(a, b, np.arange(100))
    assert alone.statistic == pytest.approx(99 / 100 * mcnemar(a, b).statistic), "one image per reference is McNemar's own case"
    assert mcnemar_by_reference(a, a, groups).p == 1
    with pytest.raises(InputError, match="needs at least 2 of them, got 1"):
        mcnemar_by_reference(a, b, np.zeros(100))


def test_mcnemar_by_reference_keeps_its_level_where_images_of_a_reference_stand_or_fall_together() -> None:
    rng = np.random.default_rng(2)
    groups = np.repeat(np.arange(40), 6)
    pairs = [[(rng.random(40) < 0.5)[groups] for _ in range(2)] for _ in range(300)]
    by_reference = np.mean([mcnemar_by_reference(a, b, groups).p < 0.05 for a, b in pairs])
    by_image = np.mean([mcnemar(a, b).p < 0.05 for a, b in pairs])
    assert 0.02 < by_reference < 0.09 and by_image > 0.25


def test_the_profile_of_answers_is_theirs_and_that_of_blind_guessing() -> None:
    labels, answers = ["blur", "blur", "noise", "clean"], ["blur", "blur", "blur", "unparsed"]
    found = response_profile(answers, labels, ("blur", "noise", "clean"))
    assert found["shares"] == {"blur": 0.75, "noise": 0, "clean": 0, "unparsed": 0.25}
    assert found["entropy"] == pytest.approx(-0.75 * np.log2(0.75) + 0.5) and found["entropy_of_truth"] == pytest.approx(1.5)
    assert (found["top"], found["top_share"]) == ("blur", 0.75)
    assert found["if_image_ignored"] == pytest.approx(0.75 * 0.5), "unparsed is never right"
    assert (found["chance"], found["majority"]) == (pytest.approx(1 / 3), 0.5)
    json.dumps(found)


def test_if_the_image_is_ignored_is_the_accuracy_of_shuffled_answers() -> None:
    labels, answers, _ = answered(400)
    rng = np.random.default_rng(3)
    shuffled = np.mean([np.mean(rng.permutation(answers) == labels) for _ in range(500)])
    assert response_profile(list(answers), list(labels), CLASSES)["if_image_ignored"] == pytest.approx(shuffled, abs=0.005)
    assert response_profile(["blur"] * 3, ["blur"] * 3, CLASSES)["entropy"] == 0
