"""What answers tell of the image, the prompt and the class: known cases, and what the correction is for."""

import json

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from analysis.answer_information import information, information_with_labels
from stimuli.errors import InputError

GROUPS = np.repeat(np.arange(20), 8)
IMAGES, PROMPTS = len(GROUPS), 4
LABELS = np.tile(list("abcdefgh"), 20)
"""Each class once in each reference."""
FAST = {"n_boot": 60, "permutations": 20}


def noise(rng: np.random.Generator, kinds: int = 4, shape: tuple[int, ...] = (IMAGES, PROMPTS)) -> np.ndarray:
    return rng.integers(0, kinds, shape).astype(str)


def bits(found: np.ndarray, other: np.ndarray) -> float:
    return float(mutual_info_score(found.ravel(), other.ravel()) / np.log(2))


def test_answers_that_follow_the_image_alone_tell_all_of_it_and_nothing_of_the_prompt() -> None:
    found = information(np.repeat(LABELS[:, None], PROMPTS, 1), GROUPS, **FAST)
    image, prompt = found.row("image"), found.row("prompt")
    assert [image["plug_in"], image["corrected"], found.entropy.value, image["share"]] == pytest.approx([3, 3, 3, 1])
    assert image["share_low"] == image["share_high"] == pytest.approx(1)
    assert [prompt["plug_in"], prompt["permuted"], prompt["corrected"]] == pytest.approx([0, 0, 0], abs=1e-9)
    assert found.image_over_prompt is not None and found.image_over_prompt.low == pytest.approx(3)


def test_answers_that_follow_the_prompt_alone_tell_all_of_it_and_nothing_of_the_image() -> None:
    found = information(np.tile(["a", "b", "c", "c"], (IMAGES, 1)), GROUPS, **FAST)
    image, prompt = found.row("image"), found.row("prompt")
    assert [prompt["plug_in"], prompt["corrected"], found.entropy.value] == pytest.approx([1.5, 1.5, 1.5])
    assert prompt["share"] == pytest.approx(1)
    assert [image["plug_in"], image["corrected"], image["corrected_high"]] == pytest.approx([0, 0, 0], abs=1e-9)
    assert found.row("image given prompt")["corrected"] == 0, "nothing is left to tell"
    assert found.image_over_prompt is not None and found.image_over_prompt.high == pytest.approx(-1.5)


def test_answers_that_name_both_tell_a_bit_of_each() -> None:
    answers = np.char.add(np.tile(["u", "v"], (IMAGES, 2)), np.tile(["x", "y"], IMAGES // 2)[:, None])
    found = information(answers, GROUPS, **FAST)
    assert [found.row(name)["corrected"] for name in ("image", "prompt")] == pytest.approx([1, 1])
    assert [found.row(name)["share"] for name in ("image", "prompt")] == pytest.approx([0.5, 0.5])
    assert found.image_over_prompt is not None and found.image_over_prompt.value == pytest.approx(0)


def test_random_answers_seem_to_tell_much_and_are_corrected_to_nothing() -> None:
    rng = np.random.default_rng(0)
    runs = [information(noise(rng), GROUPS, **FAST, seed=run) for run in range(6)]
    image, prompt = ([run.row(name) for run in runs] for name in ("image", "prompt"))
    assert min(row["plug_in"] for row in image) > 0.6
    assert np.mean([row["corrected"] for row in image]) == pytest.approx(0, abs=0.03)
    assert np.mean([row["corrected"] for row in prompt]) == pytest.approx(0, abs=0.01)
    assert sum(row["corrected_low"] <= 0 <= row["corrected_high"] for row in (*image, *prompt)) >= 10


def test_half_followed_images_are_between_and_nearer_the_truth_than_plug_in_or_subtraction() -> None:
    rng = np.random.default_rng(1)
    own, rest = np.repeat(LABELS[:, None], 5, 1), rng.choice(list("abcdefgh"), (IMAGES, 5))
    row = information(np.where(rng.random((IMAGES, 5)) < 0.75, own, rest), GROUPS, **FAST).row("image")
    p = np.r_[0.75 + 0.25 / 8, np.full(7, 0.25 / 8)]
    truth = 3 + (p * np.log2(p)).sum()  # 1.63 bits
    others = (row["plug_in"], row["plug_in"] - row["permuted"])
    assert abs(row["corrected"] - truth) < 0.3 < min(abs(value - truth) for value in others)


def test_plug_in_values_agree_with_scikit_learn() -> None:
    answers = noise(np.random.default_rng(2), 3, (40, 3, 2))
    found = information(answers, GROUPS[:40], **FAST)
    image, prompt = (
        np.broadcast_to(np.arange(size).reshape(shape), answers.shape) for size, shape in ((40, (-1, 1, 1)), (3, (1, -1, 1)))
    )
    assert found.row("image")["plug_in"] == pytest.approx(bits(answers, image))
    assert found.row("prompt")["plug_in"] == pytest.approx(bits(answers, prompt))
    given = np.mean([bits(answers[:, j], image[:, j]) for j in range(3)])
    assert found.row("image given prompt")["plug_in"] == pytest.approx(given)
    labelled = information_with_labels(answers, LABELS[:40], GROUPS[:40], **FAST)
    label = np.broadcast_to(LABELS[:40, None, None], answers.shape)
    assert labelled.row("class")["plug_in"] == pytest.approx(bits(answers, label))
    assert labelled.row("class given prompt")["plug_in"] == pytest.approx(
        np.mean([bits(answers[:, j], label[:, j]) for j in range(3)])
    )
    assert (found.n, found.prompts, found.repeats, found.references) == (40, 3, 2, 5)


def test_what_depends_on_image_and_prompt_together_needs_repeats() -> None:
    once = noise(np.random.default_rng(3))
    alone = information(once, GROUPS, **FAST).row("image given prompt")
    assert (
        alone["plug_in"] == pytest.approx(alone["permuted"])
        and alone["plug_in"] > 1.9
        and np.isnan([alone["corrected"], alone["corrected_low"], alone["share"]]).all()
    )
    twice = information(np.repeat(once[:, :, None], 2, 2), GROUPS, **FAST).row("image given prompt")
    assert twice["corrected"] == pytest.approx(twice["plug_in"]), "it says the same again, so it is no noise"
    drawn = information(noise(np.random.default_rng(4), shape=(IMAGES, PROMPTS, 2)), GROUPS, **FAST).row("image given prompt")
    assert drawn["plug_in"] > 0.7 and drawn["corrected"] == pytest.approx(0, abs=0.1)


def test_prompts_are_permuted_by_reference_as_its_images_are_not_independent() -> None:
    rng = np.random.default_rng(5)
    answers = [
        noise(rng, shape=(20, PROMPTS))[GROUPS] for _ in range(8)
    ]  # one draw per reference and prompt, for all its images
    rows = [information(own, GROUPS, n_boot=10, permutations=20).row("prompt") for own in answers]
    assert np.mean([row["permuted"] for row in rows]) > 0.07, "permuted image by image, it would be 0.01"
    assert np.mean([row["corrected"] for row in rows]) == pytest.approx(0, abs=0.04)


def test_answers_that_follow_the_class_tell_it_and_those_that_follow_the_reference_do_not() -> None:
    right = information_with_labels(np.repeat(LABELS[:, None], 2, 1), LABELS, GROUPS, **FAST).row("class")
    assert [right["corrected"], right["corrected_low"], right["share"]] == pytest.approx([3, 3, 1])
    content = information_with_labels(noise(np.random.default_rng(6), shape=(20, 2))[GROUPS], LABELS, GROUPS, **FAST)
    assert content.row("class")["corrected"] == pytest.approx(0, abs=1e-9), "every class has the same contents"
    assert content.image_over_prompt is None
    rng = np.random.default_rng(7)
    runs = [information_with_labels(noise(rng), LABELS, GROUPS, **FAST) for _ in range(6)]
    rows = [row for run in runs for row in run.table]
    assert all(row["corrected_low"] <= row["corrected"] <= row["corrected_high"] for row in rows), "resamples alone are higher"
    assert np.mean([run.row("class given prompt")["plug_in"] for run in runs]) > 0.08
    assert all(
        np.mean([run.row(name)["corrected"] for run in runs]) == pytest.approx(0, abs=0.02)
        for name in ("class", "class given prompt")
    )


def test_labels_are_exchanged_between_references_where_each_has_one_class() -> None:
    rng = np.random.default_rng(8)
    labels = rng.choice(["a", "b"], 20)[GROUPS]
    content = rng.choice(["x", "y"], 20)[GROUPS]
    null = [
        information_with_labels(rng.choice(["x", "y"], 20)[GROUPS], labels, GROUPS, n_boot=10, permutations=20).row("class")
        for _ in range(10)
    ]
    assert np.mean([row["permuted"] for row in null]) > 0.02, "permuted by image, it would be 0.005"
    assert np.mean([row["corrected"] for row in null]) == pytest.approx(0, abs=0.03)
    assert information_with_labels(content, content, GROUPS, n_boot=10, permutations=20).row("class")["share"] == pytest.approx(
        1
    )


def test_many_kinds_of_answers_can_tell_no_more_than_the_class_has() -> None:
    rng = np.random.default_rng(10)
    labels = np.tile(["a", "b"], IMAGES // 2)
    answers = np.char.add(labels[:, None], rng.integers(0, 20, (IMAGES, 1)).astype(str))
    row = information_with_labels(answers, labels, GROUPS, **FAST).row("class")
    assert row["plug_in"] == pytest.approx(1) and row["corrected"] == pytest.approx(1), "all of the one bit"
    assert row["permuted"] > 0.1 and row["share"] < 0.3


def test_one_answer_for_all_tells_nothing() -> None:
    found = information(np.full((IMAGES, 2), "blur"), GROUPS, **FAST)
    assert all(row["corrected"] == 0 for row in found.table) and np.isnan(found.row("image")["share"])


def test_seeds_and_json() -> None:
    answers = noise(np.random.default_rng(9))
    first, again, other = (information(answers, GROUPS, **FAST, seed=seed) for seed in (0, 0, 1))
    assert first.row("image") == again.row("image") != other.row("image")
    json.dumps(first.as_dict())


def test_bad_answers_are_refused_in_words() -> None:
    with pytest.raises(InputError, match="Got one answer per image. Expected at least two"):
        information(np.full((IMAGES, 1), "a"), GROUPS)
    with pytest.raises(InputError, match="Expected images × prompts, or images × prompts × repeats"):
        information(np.full((2, 2, 2, 2), "a"), GROUPS)
    with pytest.raises(InputError, match="Got 0 permutations"):
        information(np.full((IMAGES, 2), "a"), GROUPS, permutations=0)
    with pytest.raises(InputError, match="Got 3 labels for 160 images"):
        information_with_labels(np.full((IMAGES, 2), "a"), ["a"] * 3, GROUPS)
