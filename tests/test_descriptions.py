"""Descriptions: masked templates and their variety, and contradictions between description and level."""

import itertools
import json

import numpy as np
import pytest

from analysis.descriptions import contradictions, levels_of, masked, template_counts, usual_slots
from analysis.parsing import UNPARSED
from probes.intervals import group_bootstrap
from stimuli.errors import InputError

SLOTS = {"class": ["quantization", "color quantization", "blur"], "quality": ["poor", "good"]}


@pytest.mark.parametrize(
    ("text", "template"),
    [
        ("The image has Blur.", "the image has ‹class›"),
        ("Color-Quantization, then quantization!", "‹class› then ‹class›"),  # the longest first
        ("colour quantization", "‹class›"),
        ("unblurred blurry blur", "unblurred blurry ‹class›"),  # whole words
        ("Score: 4.5/5 (about 80 %), 1,200 px", "score ‹number› ‹number› about ‹number› ‹number› px"),
        ("a 3d jpeg2000 picture", "a 3d jpeg2000 picture"),
        ("‹class› is text of its own", "class is text of its own"),
        ("", ""),
    ],
)
def test_slots_are_masked_by_whole_words_the_longest_first(text: str, template: str) -> None:
    assert masked(text, SLOTS) == template


def test_the_first_of_two_slots_with_a_word_gets_it_and_content_can_be_masked() -> None:
    assert masked("A good dog", {"quality": ["good"], "content": ["good dog", "dog"]}) == "a ‹content›"
    assert masked("dog", {"a": ["dog"], "b": ["dog"]}) == "‹a›"


def test_usual_slots_have_the_taxonomys_words_and_the_levels() -> None:
    slots = usual_slots("depictqa12")
    assert "color quantization" in slots["class"] and slots["quality"] == ("excellent", "good", "fair", "poor", "bad")
    assert masked("Noise, so the quality is poor.", slots) == masked("Compression, so the quality is bad.", slots)


def test_one_template_is_found_behind_different_texts() -> None:
    texts = [
        "The blur is poor.",
        "The blur is good.",
        "the quantization is good",
        "Color quantization is it",
        "So what",
        "So what",
    ]
    found = template_counts(texts, SLOTS, list("ppqqrr"), n_boot=50)
    assert (found.masked.distinct, found.masked.distinct_share) == (3, 0.5)
    assert found.masked.top_share.value == 0.5 and found.masked.top_five_share.value == 1
    assert found.masked.entropy.value == pytest.approx(0.5 + np.log2(6) / 6 + np.log2(3) / 3)
    assert found.unmasked.distinct == 5 and found.unmasked.entropy.value == pytest.approx(4 * np.log2(6) / 6 + np.log2(3) / 3)
    first = found.templates[0]
    assert first == {
        "template": "the ‹class› is ‹quality›",
        "n": 3,
        "share": 0.5,
        "references": 2,
        "example": "The blur is poor.",
    }
    assert [row["n"] for row in found.templates] == [3, 2, 1] and found.templates[1]["references"] == 1
    json.dumps(found.as_dict(), allow_nan=False)


def test_same_is_the_share_of_equal_pairs_of_different_references() -> None:
    rng = np.random.default_rng(0)
    texts, groups = rng.choice(["a", "b", "c", "d e"], 60), rng.integers(0, 8, 60)
    pairs = [(i, j) for i, j in itertools.combinations(range(60), 2) if groups[i] != groups[j]]
    found = template_counts(texts, {}, groups, 200).masked
    assert found.same.value == pytest.approx(np.mean([texts[i] == texts[j] for i, j in pairs]))
    assert found.same.low < found.same.value < found.same.high
    top = max(("a", "b", "c", "d e"), key=list(texts).count)
    own = group_bootstrap(texts == top, groups, 200)
    assert (found.top_share.value, found.top_share.low, found.top_share.high) == pytest.approx((own.value, own.low, own.high))


def test_texts_that_are_all_different_have_an_interval_about_their_entropy() -> None:
    texts = [chr(97 + i // 26) + chr(97 + i % 26) for i in range(64)]
    found = template_counts(texts, {}, np.arange(64) // 4 + np.arange(64) % 3 * 100, 200).unmasked
    assert found.entropy.value == pytest.approx(6) and found.entropy.low < 6 < found.entropy.high, "resamples alone have less"
    assert (found.same.value, found.same.high) == (0, 0)


def test_two_references_of_which_one_may_be_drawn_twice_are_enough() -> None:
    found = template_counts(["a", "a", "b"], {}, ["p", "q", "q"], 50).masked
    assert found.same.value == 0.5 and np.isfinite([found.same.low, found.same.high]).all()


CASES = [
    ("The image is clear and sharp.", "poor", "praised"),  # the example of arXiv 2512.09555
    ("The image is clear and sharp.", "good", "consistent"),
    ("The image is clear and sharp.", "fair", "fair"),
    ("The image is clear and sharp.", UNPARSED, UNPARSED),
    ("The picture is blurry.", "excellent", "blamed"),
    ("The picture is blurry.", "bad", "consistent"),
    ("The picture isn't blurry, and it is free of noise.", "bad", "praised"),
    ("The colors are vivid but the image is noisy.", "bad", "mixed"),
    ("A dog on the grass.", "bad", "silent"),
    ("A dog on the grass.", UNPARSED, UNPARSED),
]


def test_each_image_has_one_outcome() -> None:
    texts, levels, expected = zip(*CASES, strict=True)
    found = contradictions(texts, levels, list("aabbccddee"), 100)
    assert [row["outcome"] for row in found.table] == list(expected)
    assert [row["contradiction"] for row in found.table[:3]] == [True, False, None]
    assert found.table[6]["positive"] == ["not blurry", "not noise"] and found.table[6]["negative"] == []
    assert found.judged == 5 and found.rate.value == 3 / 5
    assert sum(row["share"] for row in found.outcomes) == pytest.approx(1)
    assert {row["outcome"]: row["n"] for row in found.outcomes}[UNPARSED] == 2
    json.dumps(found.as_dict(), allow_nan=False)
    assert "table" not in found.as_dict()


def test_attributes_are_counted_apart_and_can_be_chosen() -> None:
    texts = ["A sharp image of poor quality.", "It has no noise.", "blurry and noisy", "vivid"]
    levels = ["poor", "bad", "good", "good"]
    found = contradictions(texts, levels, list("aabb"), 50)
    assert [row["outcome"] for row in found.table] == ["mixed", "praised", "blamed", "consistent"]
    rows = {row["attribute"]: row for row in found.by_attribute}
    assert (rows["noise"]["positive"], rows["noise"]["negative"], rows["noise"]["contradictions"]) == (0.25, 0.25, 2)
    assert (rows["sharpness"]["positive"], rows["sharpness"]["negative"], rows["sharpness"]["contradictions"]) == (
        0.25,
        0.25,
        1,
    )
    assert (rows["color"]["positive"], rows["color"]["contradictions"]) == (0.25, 0)
    chosen = contradictions(texts, levels, list("aabb"), 50, only=["sharpness"])
    assert [row["outcome"] for row in chosen.table] == ["praised", "silent", "blamed", "silent"]
    assert [row["attribute"] for row in chosen.by_attribute] == ["sharpness"]


def test_rates_are_over_the_judged_with_intervals_over_references() -> None:
    rng = np.random.default_rng(1)
    texts, groups = rng.choice(["sharp", "blurry", "a dog"], 90), np.repeat(np.arange(15), 6)
    levels = np.repeat(rng.choice(["good", "poor", "fair"], 15), 6)
    found = contradictions(texts, levels, groups, 300, 2)
    against = [np.nan if row["contradiction"] is None else float(row["contradiction"]) for row in found.table]
    own = group_bootstrap(np.array(against), groups, 300, 2)
    assert found.rate.value == pytest.approx(own.value) == np.nanmean(against)
    assert found.rate.low < found.rate.value - 0.05 < found.rate.value + 0.05 < found.rate.high
    nothing = contradictions(["a dog"] * 4, ["good"] * 4, list("aabb"), 20)
    assert nothing.judged == 0 and np.isnan([nothing.rate.value, nothing.rate.low]).all()


def test_levels_are_five_equal_parts_of_the_range() -> None:
    assert levels_of([1, 1.79, 1.81, 3, 4.21, 5, np.nan]) == ["bad", "bad", "poor", "fair", "excellent", "excellent", UNPARSED]
    assert levels_of([0, 50, 100], 0, 100) == ["bad", "fair", "excellent"]
    with pytest.raises(InputError, match="scores from 2 to 7. Expected 1 to 5"):
        levels_of([2, 7])


def test_bad_input_is_refused_in_words() -> None:
    with pytest.raises(InputError, match="'ok' is no level. Expected bad, poor, fair, good, excellent, unparsed"):
        contradictions(["a", "b"], ["ok", "bad"], ["p", "q"])
    with pytest.raises(InputError, match="'smell' is no attribute. Expected sharpness, noise"):
        contradictions(["a", "b"], ["bad", "bad"], ["p", "q"], only=["smell"])
    with pytest.raises(InputError, match="Got 1 levels for 2 images"):
        contradictions(["a", "b"], ["bad"], ["p", "q"])
    with pytest.raises(InputError, match="among the descriptions"):
        template_counts(["a", None], {}, ["p", "q"])  # type: ignore[list-item]
