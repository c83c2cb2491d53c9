"""Controls: shuffled labels keep the design and lose the meaning; content is told from noise."""

import re
from pathlib import Path

import numpy as np
import pytest

from probes.controls import classes_of, content_accuracy, shuffled_labels
from stimuli.errors import InputError
from stimuli.statistics import NAMES
from tests.test_sweep import store

GROUPS = np.repeat(np.arange(12), 8)
LABELS = np.tile(list("aabbccdd"), 12)


def test_shuffled_labels_keep_each_references_counts_and_lose_their_place() -> None:
    shuffled = shuffled_labels(LABELS, GROUPS, 0)
    for group in range(12):
        assert sorted(shuffled[GROUPS == group]) == sorted(LABELS[GROUPS == group])
    agreement = np.mean([np.mean(shuffled_labels(LABELS, GROUPS, seed) == LABELS) for seed in range(20)])
    assert abs(agreement - 0.25) < 0.04


def test_labels_that_belong_to_whole_references_are_shuffled_all_the_same() -> None:
    labels = np.repeat(list("abcd") * 3, 8)
    shuffled = shuffled_labels(labels, GROUPS, 0)
    assert sorted(shuffled) == sorted(labels)
    assert np.mean(shuffled == labels) < 0.5


def test_the_seed_decides_and_the_labels_given_are_left_alone() -> None:
    given = LABELS.copy()
    a, b, c = (shuffled_labels(given, GROUPS, seed) for seed in (1, 1, 2))
    assert np.array_equal(a, b) and not np.array_equal(a, c)
    assert np.array_equal(given, LABELS)


def test_content_is_found_where_it_is_and_chance_where_not() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(96, 16))
    accuracy, chance = content_accuracy(noise + 3 * rng.normal(size=(12, 16))[GROUPS], GROUPS)
    assert accuracy > 0.95
    assert chance == 1 / 12
    assert content_accuracy(noise, GROUPS)[0] < 0.25


def test_content_is_judged_on_held_out_versions_only() -> None:
    rng = np.random.default_rng(1)
    found = [content_accuracy(rng.normal(size=(96, 500)), GROUPS, seed)[0] for seed in range(5)]
    assert np.mean(found) < 0.2


def test_content_of_references_shown_once_cannot_be_judged() -> None:
    accuracy, chance = content_accuracy(np.random.default_rng(0).normal(size=(10, 4)), np.arange(10))
    assert np.isnan(accuracy)
    assert chance == 0.1
    mixed = np.array([0, 0, 1, 1, 2])
    assert content_accuracy(np.array([[0.0], [0], [5], [5], [9]]), mixed) == (1, 0.5)


def test_the_page_of_controls_lists_every_pixel_statistic_and_nothing_else() -> None:
    page = (Path(__file__).parent.parent / "docs" / "controls.md").read_text()
    rows = page.split("## The pixel statistics")[1].splitlines()
    named = [name for row in rows if row.startswith("| `") for name in re.findall(r"`(\w+)`", row.split(" | ")[0])]
    second = [name[:-1] + "2" for row in rows if "`…_2`" in row for name in re.findall(r"`(\w+_1)`", row)]
    assert sorted(named + second) == sorted(NAMES)
    assert f"**pixel statistics**, {len(NAMES)} of them" in page


def test_numbers_are_no_classes_and_that_is_said() -> None:
    own = store({"vision.0": 1.0}, references=4)
    assert classes_of(own, "distortion", "paper8", None).kind == "classes"
    with pytest.raises(
        InputError, match="The target 'size' is of numbers; this comparison is made for classes. Use 'level', or"
    ):
        classes_of(own, "size", "paper8", {id: float(i) for i, id in enumerate(own.ids)})
