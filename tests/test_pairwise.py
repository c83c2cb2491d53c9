"""Comparisons of two images in both orders: by hand, and the pull of the first place apart from the images."""

import json
from dataclasses import astuple
from typing import Any

import numpy as np
import pytest
from scipy import stats

from analysis.bradley_terry import DIGITS
from analysis.pairwise import PairTable, Pairwise, pairwise
from probes.intervals import group_bootstrap, paired_difference
from stimuli.errors import InputError

NAN = float("nan")


def both_orders(references: int = 6, images: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Every pair of a reference's images in both orders: first, second, truth, reference of the comparison."""
    pairs = [
        (r * images + i, r * images + j, r) for r in range(references) for i in range(images) for j in range(images) if i != j
    ]
    first, second, groups = np.array(pairs).T
    return first, second, np.random.default_rng(0).permutation(references * images).astype(float), groups


def told(result: Pairwise, *names: str) -> list[float]:
    return [getattr(result, name).value for name in names]


def test_perfect_reversed_and_biased_models() -> None:
    first, second, truth, groups = both_orders()
    right = (truth[second] > truth[first]).astype(float)
    names = ("accuracy", "says_first", "turns", "stays", "both_right", "srcc")
    assert told(pairwise(first, second, right, truth, groups, 50), *names) == pytest.approx([1, 0.5, 1, 0, 1, 1])
    assert told(pairwise(first, second, 1 - right, truth, groups, 50), *names) == pytest.approx([0, 0.5, 1, 0, 0, -1])
    biased = pairwise(first, second, np.zeros(len(first)), truth, groups, 50)
    assert told(biased, *names[:-1]) == pytest.approx([0.5, 1, 0, 1, 0])
    assert biased.srcc is None and "all scores are equal" in biased.note
    assert biased.says_first_p == pytest.approx(2 / 51)


def test_comparisons_by_hand() -> None:
    """Truth 1 < 2 < 3 = 3: (0, 1) right both times, (1, 2) the second place both times, (2, 3) equal, (0, 2) once and unparsed."""
    first, second = [0, 1, 1, 2, 2, 3, 0], [1, 0, 2, 1, 3, 2, 2]
    said = np.array([1, 0, 1, 1, 0, 1, NAN])
    found = pairwise(first, second, said, np.array([1.0, 2, 3, 3]), list("aabbaab"), 50)
    assert (found.n, found.compared, found.both_orders, found.parts, found.groups) == (7, 5, 3, 1, 2)
    assert told(found, "accuracy", "unparsed", "says_first") == pytest.approx([3 / 5, 1 / 7, 2 / 6])
    assert told(found, "turns", "stays", "both_right") == pytest.approx([2 / 3, 1 / 3, 1 / 2])
    images = {row["image"]: row for row in found.images}
    assert [images[i]["win_share"] for i in range(4)] == pytest.approx([0, 3 / 4, 3 / 4, 0])
    assert [images[i]["compared"] for i in range(4)] == [2, 4, 4, 2]


def test_unparsed_is_wrong_and_turns_neither_way() -> None:
    found = pairwise([0, 1], [1, 0], np.array([1.0, NAN]), np.array([1.0, 2.0]), ["a", "b"], 50)
    assert told(found, "accuracy", "turns", "stays", "both_right", "says_first") == [0.5, 0, 0, 0, 0]
    nothing = pairwise([0, 1], [1, 0], np.full(2, NAN), np.array([1.0, 2.0]), ["a", "b"], 50)
    assert told(nothing, "accuracy", "unparsed") == [0, 1]
    assert (nothing.says_first, nothing.says_first_p, nothing.srcc, nothing.images) == (None, None, None, [])
    assert nothing.note == "no comparison was parsed"


def test_margin_leaves_out_what_is_nearly_equal() -> None:
    first, second, truth, groups = both_orders()
    right = (truth[second] > truth[first]).astype(float)
    gap = np.abs(truth[first] - truth[second])
    wrong_when_close = np.where(gap <= 3, 1 - right, right)
    found = pairwise(first, second, wrong_when_close, truth, groups, 50, margin=3)
    assert told(found, "accuracy") == [1] and found.compared == (gap > 3).sum() < len(gap)
    assert told(pairwise(first, second, wrong_when_close, truth, groups, 50), "accuracy") == pytest.approx([np.mean(gap > 3)])


def test_repeats_are_paired_in_order() -> None:
    table = PairTable(np.array([0, 0, 1, 2, 1, 0]), np.array([1, 1, 0, 3, 0, 1]), np.zeros(6))
    there, back = table.turned()
    assert (there.tolist(), back.tolist()) == ([0, 1], [2, 4]), "the third has no twin, nor has (2, 3)"


def noisy(pull: float = 0.7) -> dict[str, Any]:
    first, second, truth, groups = both_orders(12, 5)
    rng = np.random.default_rng(1)
    chance = 1 / (1 + np.exp(-((truth[first] - truth[second]) / 12 + pull)))
    said = (rng.random(len(first)) > chance).astype(float)
    return {"first": first, "second": second, "said": said, "truth": truth, "groups": groups}


def test_intervals_are_over_groups() -> None:
    case = noisy()
    found = pairwise(**case, n_boot=100, seed=4)
    right = (case["said"] == 0) == (case["truth"][case["first"]] > case["truth"][case["second"]])
    assert found.accuracy == group_bootstrap(right, case["groups"], 100, 4)
    says_first = case["said"] == 0
    assert found.says_first == group_bootstrap(says_first, case["groups"], 100, 4)
    assert found.says_first_p == paired_difference(np.full(len(says_first), 0.5), says_first, case["groups"], 100, 4).p < 0.05


def test_correlation_within_references_is_their_mean_with_its_bootstrap() -> None:
    found = pairwise(**noisy(), n_boot=100, seed=4)
    image = {key: np.array([row[key] for row in found.images]) for key in ("truth", "score", "part", "image")}
    image["score"] = image["score"].round(DIGITS)
    own = np.array([stats.spearmanr(*(image[key][image["part"] == p] for key in ("score", "truth")))[0] for p in range(12)])
    expected = group_bootstrap(own, np.arange(12), 100, 4)
    assert found.parts == 12 and found.srcc and astuple(found.srcc) == pytest.approx(astuple(expected))
    assert 0 < found.srcc.low < found.srcc.value < found.srcc.high < 1


def test_comparisons_between_references_need_the_references_of_the_images() -> None:
    rng = np.random.default_rng(3)
    truth, references = rng.normal(size=30), np.repeat(np.arange(10), 3)
    a, b = np.array([(i, j) for i in range(30) for j in range(i) if rng.random() < 0.4]).T
    first, second = np.r_[a, b], np.r_[b, a]
    said = (truth[second] + rng.normal(size=len(first)) > truth[first]).astype(float)
    pairs = [f"{min(p)}|{max(p)}" for p in zip(references[first], references[second], strict=True)]
    without = pairwise(first, second, said, truth, pairs, 100)
    assert (
        without.srcc
        and np.isnan(without.srcc.low)
        and "srcc has an interval if the references of the images are given" in without.note
    )
    found = pairwise(first, second, said, truth, pairs, 100, references=references)
    assert found.parts == 1 and found.note == "" and found.srcc
    scores = [row["score"] for row in found.images]
    assert found.srcc.value == without.srcc.value == pytest.approx(stats.spearmanr(scores, truth)[0])
    assert found.srcc.low < found.srcc.value < found.srcc.high


def test_parts_of_two_images_have_no_correlation() -> None:
    found = pairwise([0, 2], [1, 3], np.array([0.0, 1.0]), np.array([2.0, 1, 1, 2]), ["a", "b"], 50)
    assert found.srcc is None and found.note == "no 3 images of different true scores are connected by comparisons"
    assert (found.both_orders, found.turns, found.both_right) == (0, None, None)


def test_one_group_has_values_without_intervals() -> None:
    first, second, truth, groups = both_orders()
    right = (truth[second] > truth[first]).astype(float)
    plain = pairwise(first, second, right, truth, np.zeros(len(first)), 50).as_dict()
    assert plain["accuracy"] == 1 and plain["accuracy_low"] is None and plain["says_first_p"] is None
    assert plain["srcc"] == pytest.approx(1) and plain["srcc_low"] is None


def test_dictionary_is_flat_and_plain() -> None:
    found = pairwise(**noisy(), n_boot=50)
    plain = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert found.turns and (plain["turns"], plain["turns_low"], plain["turns_high"]) == astuple(found.turns)
    assert plain["parts"] == 12 and "images" not in plain and json.dumps(found.images, allow_nan=False)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"second": [1, 0, 2, 0]}, "Comparison 2 shows an image beside itself"),
        ({"said": np.array([0, 1, 2.0, 0])}, "Got 2.0 as the answer to a comparison. Expected 0"),
        ({"said": np.array([0.0])}, r"shapes \(4,\), \(4,\), \(1,\)"),
        ({"second": [1, 0, 9, 0]}, "images 0 to 9, but there are 3 true scores"),
        ({"truth": np.array([1.0, NAN, 3.0])}, "2 of the compared images have a true score that is no number"),
        ({"groups": ["a"]}, r"Got \(1,\) groups for \(4,\) comparisons"),
        ({"margin": -1}, "margin of -1. Expected 0 or more"),
        ({"references": ["a"]}, "Got 1 references for 3 true scores"),
    ],
)
def test_unfit_comparisons_are_refused(change: dict[str, Any], words: str) -> None:
    case: dict[str, Any] = {
        "first": [0, 1, 2, 2],
        "second": [1, 0, 0, 0],
        "said": np.zeros(4),
        "truth": np.arange(3.0),
        "groups": list("aabb"),
    }
    with pytest.raises(InputError, match=words):
        pairwise(**(case | change))
