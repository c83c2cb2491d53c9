"""Agreement of repeated answers: published kappas, exact chance by enumeration, votes, changes."""

import json
from itertools import product

import numpy as np
import pytest

from analysis.agreement import agreement, changed, independent
from probes.intervals import resampled_rows
from stimuli.errors import InputError

PSYCHIATRISTS = [  # Fleiss 1971, table 1: 30 patients, 6 diagnoses each, of 5 kinds
    "00060", "03003", "01401", "00006", "03030", "20400", "00402", "20310", "20040", "00006",
    "10050", "11040", "03300", "10050", "02031", "00501", "30012", "51000", "02040", "10203",
    "00006", "01050", "02013", "20040", "10041", "05010", "40002", "02040", "10500", "00006",
]  # fmt: skip
FOURTEEN = [[0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1], [7, 7, 0, 0, 0],
            [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7]]  # fmt: skip
FOUR = np.array([
    ["blur", "blur", "noise", "unparsed"],
    ["noise", "noise", "noise", "noise"],
    ["blur", "blur", "noise", "noise"],
    ["unparsed", "unparsed", "unparsed", "blur"],
])  # fmt: skip
PAIRS = np.array(["r1", "r1", "r2", "r2"])


def spelt(counts: list[list[int]]) -> np.ndarray:
    """Answers that have these counts."""
    return np.array([[f"answer {j}" for j, count in enumerate(row) for _ in range(count)] for row in counts])


def kappa(answers: np.ndarray) -> float:
    """Fleiss' kappa by its definition, pair by pair."""
    n, m = answers.shape
    agreeing = np.mean([np.mean([row[i] == row[j] for i in range(m) for j in range(m) if i != j]) for row in answers])
    by_chance = sum(np.mean(answers == name) ** 2 for name in np.unique(answers))
    return float((agreeing - by_chance) / (1 - by_chance))


def sampled(seed: int, n: int = 60, m: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Answers that hold to their image half of the time, and their references."""
    rng = np.random.default_rng(seed)
    names = np.array(["blur", "noise", "clean", "unparsed"])
    own, other = rng.choice(names, (n, 1), p=[0.5, 0.2, 0.2, 0.1]), rng.choice(names, (n, m), p=[0.5, 0.2, 0.2, 0.1])
    return np.where(rng.random((n, m)) < 0.5, own, other), np.arange(n) // 5


def test_kappa_is_the_published_one() -> None:
    psychiatrists = spelt([[int(digit) for digit in row] for row in PSYCHIATRISTS])
    found = agreement(psychiatrists, np.arange(30))
    assert found.kappa.value == pytest.approx(0.430, abs=5e-4) and found.pairwise.value == pytest.approx(0.556, abs=5e-4)
    assert list(found.response_distribution.values()) == pytest.approx([0.144, 0.144, 0.167, 0.306, 0.239], abs=1e-3)
    well_known = agreement(spelt(FOURTEEN), np.arange(10))
    assert well_known.kappa.value == pytest.approx(0.210, abs=5e-4)
    assert well_known.chance["pairwise"].value == pytest.approx(0.213, abs=5e-4)


def test_statistics_by_hand() -> None:
    found = agreement(FOUR, PAIRS, n_boot=50)
    values = {
        name: round(getattr(found, name).value, 6) for name in ("mode_share", "unanimous", "distinct", "unparsed", "tied")
    }
    assert values == {"mode_share": (2 + 4 + 2 + 3) / 16, "unanimous": 0.25, "distinct": (3 + 1 + 2 + 2) / 4,
                      "unparsed": 0.25, "tied": 0.25}  # fmt: skip
    assert found.pairwise.value == pytest.approx((1 + 6 + 2 + 3) / 24)
    three_to_one = -(0.75 * np.log2(0.75) + 0.25 * np.log2(0.25))
    assert found.entropy.value == pytest.approx((1.5 + 0 + 1 + three_to_one) / 4)
    assert found.entropy_corrected.value == pytest.approx(found.entropy.value + (2 + 0 + 1 + 1) / (8 * np.log(2)) / 4)
    assert (found.images, found.references, found.times) == (4, 2, 4)
    assert found.response_distribution == pytest.approx({"blur": 5 / 16, "noise": 7 / 16, "unparsed": 4 / 16})
    assert [row["mode"] for row in found.table] == ["blur", "noise", "unparsed", "unparsed"], "a tie has no mode"
    assert [row["tied"] for row in found.table] == [False, False, True, False]
    assert [row["distinct"] for row in found.table] == [3, 1, 2, 2] and found.table[0]["entropy"] == 1.5


def test_kappa_and_its_chance_are_computed_anew_on_resamples_of_references() -> None:
    answers, groups = sampled(0)
    found = agreement(answers, groups, n_boot=60, seed=3)
    drawn = [answers[rows] for rows in resampled_rows(groups, 60, 3)]
    kappas = [kappa(own) for own in drawn]
    assert found.kappa.value == pytest.approx(kappa(answers))
    assert [found.kappa.low, found.kappa.high] == pytest.approx(np.quantile(kappas, [0.025, 0.975]))
    squares = [sum(np.mean(own == name) ** 2 for name in np.unique(own)) for own in drawn]
    assert [found.chance["pairwise"].low, found.chance["pairwise"].high] == pytest.approx(np.quantile(squares, [0.025, 0.975]))


@pytest.mark.parametrize(("shares", "times"), [((0.5, 0.3, 0.2), 4), ((0.9, 0.1), 5), ((0.25,) * 4, 3), ((1.0, 0.0), 2)])
def test_chance_is_exact(shares: tuple[float, ...], times: int) -> None:
    expected = {name: 0.0 for name in ("mode_share", "unanimous", "pairwise", "entropy", "distinct")}
    for draw in product(range(len(shares)), repeat=times):
        chance = float(np.prod([shares[j] for j in draw]))
        counts = np.unique(draw, return_counts=True)[1]
        own = counts / times
        expected["mode_share"] += chance * own.max()
        expected["unanimous"] += chance * (len(counts) == 1)
        expected["pairwise"] += chance * (counts * (counts - 1)).sum() / (times * (times - 1))
        expected["entropy"] -= chance * (own * np.log2(own)).sum()
        expected["distinct"] += chance * len(counts)
    found = independent(np.array([shares, shares[::-1]]), times)
    for name, value in expected.items():
        assert found[name] == pytest.approx([value, value], abs=1e-12), name


def test_independent_answers_agree_by_chance_and_an_own_answer_per_image_beyond_it() -> None:
    rng = np.random.default_rng(1)
    unrelated = agreement(rng.choice(["blur", "noise", "clean"], (600, 6), p=[0.8, 0.1, 0.1]), np.arange(600) // 5, n_boot=200)
    assert unrelated.kappa.low < 0 < unrelated.kappa.high and unrelated.mode_share.value > 0.75
    for name in ("mode_share", "unanimous", "pairwise", "entropy", "distinct"):
        assert getattr(unrelated, name).value == pytest.approx(unrelated.chance[name].value, rel=0.06), name
    answers, groups = sampled(2, 400)
    own = agreement(answers, groups)
    assert own.kappa.low > 0.1 and own.mode_share.low > own.chance["mode_share"].high


def test_always_the_same_answer_agrees_by_chance_and_has_no_kappa() -> None:
    found = agreement(np.full((6, 3), "blur"), np.arange(6) // 2)
    assert found.mode_share.value == found.chance["mode_share"].value == found.unanimous.value == 1
    assert found.entropy.value == found.chance["entropy"].value == 0
    assert np.isnan([found.kappa.value, found.kappa.low, found.kappa.high]).all()


def test_correction_brings_the_entropy_nearer_to_the_truth() -> None:
    shares = np.array([0.6, 0.3, 0.1])
    truth = float(-(shares * np.log2(shares)).sum())
    found = agreement(np.random.default_rng(3).choice(list("abc"), (2000, 6), p=shares), np.arange(2000), n_boot=10)
    assert found.entropy.high < truth and abs(found.entropy_corrected.value - truth) < (truth - found.entropy.value) / 2


def test_votes_are_compared_with_single_answers_and_a_tie_is_wrong() -> None:
    found = agreement(FOUR, PAIRS, ["noise", "noise", "blur", "unparsed"])
    assert found.vote is not None and found.single is not None and found.gain is not None
    assert found.vote.value == 0.25, "the first is outvoted, the third is tied, and unparsed is never right"
    assert found.single.value == pytest.approx((1 + 4 + 2 + 0) / 16)
    assert found.gain.value == pytest.approx(found.vote.value - found.single.value) and 0 < found.gain.p <= 1
    assert agreement(FOUR, PAIRS).gain is None


def test_voting_helps_when_errors_are_not_shared() -> None:
    rng = np.random.default_rng(4)
    labels = rng.choice(["blur", "noise"], 200)
    found = agreement(np.where(rng.random((200, 9)) < 0.7, labels[:, None], "clean"), np.arange(200) // 5, labels)
    assert found.gain is not None and found.gain.low > 0.1 and found.gain.p < 0.01


def test_intervals_are_over_references() -> None:
    stable = np.repeat(np.random.default_rng(5).random(12) < 0.5, 20)  # all images of a reference stand or fall together
    answers = np.where(stable[:, None], "blur", np.array(["blur", "noise"]))
    grouped, alone = agreement(answers, np.arange(240) // 20), agreement(answers, np.arange(240))
    assert grouped.unanimous.high - grouped.unanimous.low > 3 * (alone.unanimous.high - alone.unanimous.low)


def test_changes_are_counted_over_all_and_each_apart() -> None:
    first, others = FOUR[:, 0], FOUR[:, 1:]
    found = changed(first, others, PAIRS, names=["crop", "flip", "resave"])
    assert [row["change"] for row in found.table] == ["crop", "flip", "resave"]
    assert [row["changed"] for row in found.table] == [0, 0.5, 0.75] and found.value == pytest.approx(5 / 12)
    assert [row["unparsed"] for row in found.table] == [0.25, 0.25, 0.25]
    p = np.array([2, 1, 1]) / 4  # blur, noise, unparsed
    expected = [1 - p @ np.array(q) / 4 for q in ([2, 1, 1], [0, 3, 1], [1, 2, 1])]
    assert [row["chance"] for row in found.table] == pytest.approx(expected)
    assert found.chance.value == pytest.approx(np.mean(expected))
    assert [row["change"] for row in changed(first, others, PAIRS).table] == ["1", "2", "3"]


def test_changes_have_intervals_over_references() -> None:
    answers, groups = sampled(6)
    found = changed(answers[:, 0], answers[:, 1:], groups, 80, 2)
    drawn = [np.mean(answers[rows][:, 1:] != answers[rows][:, :1]) for rows in resampled_rows(groups, 80, 2)]
    assert found.value == pytest.approx(np.mean(answers[:, 1:] != answers[:, :1]))
    assert [found.low, found.high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]))
    row = found.table[1]
    one = [np.mean(answers[rows][:, 2] != answers[rows][:, 0]) for rows in resampled_rows(groups, 80, 2)]
    assert [row["low"], row["high"]] == pytest.approx(np.quantile(one, [0.025, 0.975]))
    assert row["chance_low"] < row["chance"] < row["chance_high"] and row["unparsed_low"] < row["unparsed_high"]


def test_results_are_plain() -> None:
    answers, groups = sampled(7)
    plain = json.loads(json.dumps(agreement(answers, groups, answers[:, 0]).as_dict(), allow_nan=False))
    assert "table" not in plain and set(plain["chance"]["entropy"]) == {"value", "low", "high"} and "p" in plain["gain"]
    assert json.loads(json.dumps(changed(answers[:, 0], answers[:, 1:], groups).as_dict()))["table"][0]["change"] == "1"


def test_refusals_are_in_words() -> None:
    with pytest.raises(InputError, match="Got 1 of the answers per image. Expected at least 2"):
        agreement(FOUR[:, :1], PAIRS)
    with pytest.raises(InputError, match="Got 3 labels for 4 images. Expected one per image"):
        agreement(FOUR, PAIRS, ["blur"] * 3)
    with pytest.raises(InputError, match="Got 3 first answers for 4 images"):
        changed(["blur"] * 3, FOUR, PAIRS)
    with pytest.raises(InputError, match="Got 1 names for 4 changes. Expected one per column"):
        changed(FOUR[:, 0], FOUR, PAIRS, names=["crop"])
