"""Repeated answers: resamples of references by group sums equal a loop over rows; what cannot be used is refused in words."""

import numpy as np
import pytest

from analysis.repeated import divide, numbers, resampled, strings, told
from probes.intervals import group_bootstrap, resampled_rows
from stimuli.errors import InputError

GROUPS = np.array(list("aabbbcddde"))
VALUES = np.random.default_rng(0).random(10)


def test_means_are_those_of_the_group_bootstrap() -> None:
    holed = np.where(np.arange(10) == 3, np.nan, VALUES)
    sample = resampled(GROUPS, 10, 200, 4)
    found = {name: told(draws) for name, draws in sample.means({"whole": VALUES, "holed": holed}).items()}
    for name, values in (("whole", VALUES), ("holed", holed)):
        expected = group_bootstrap(values, GROUPS, 200, 4)
        assert (found[name].value, found[name].low, found[name].high) == pytest.approx(
            (expected.value, expected.low, expected.high)
        )


def test_sums_are_those_of_the_rows_drawn() -> None:
    columns = np.stack([VALUES, np.ones(10)], axis=1)
    drawn = resampled(GROUPS, 10, 20, 1).sums(columns)
    assert drawn[0] == pytest.approx(columns.sum(0)) and drawn.shape == (21, 2)
    for row, rows in zip(drawn[1:], resampled_rows(GROUPS, 20, 1), strict=True):
        assert row == pytest.approx(columns[rows].sum(0))


def test_pairs_count_as_often_as_both_images_are_drawn_and_never_an_image_with_its_copy() -> None:
    first, second = np.triu_indices(10, 1)
    drawn = resampled(GROUPS, 10, 20, 2).pair_means(np.abs(VALUES[first] - VALUES[second]), first, second)
    assert drawn[0] == pytest.approx(np.abs(VALUES[first] - VALUES[second]).mean())
    for value, rows in zip(drawn[1:], resampled_rows(GROUPS, 20, 2), strict=True):
        pairs = [(a, b) for i, a in enumerate(rows) for b in rows[i + 1 :] if a != b]
        assert value == pytest.approx(np.mean([abs(VALUES[a] - VALUES[b]) for a, b in pairs]))


def test_nothing_divided_is_not_known() -> None:
    assert divide(np.array([1.0, 0.0, 3.0]), np.array([0, 0, 2])) == pytest.approx([np.nan, np.nan, 1.5], nan_ok=True)


@pytest.mark.parametrize(
    ("values", "columns", "words"),
    [
        (["blur"], 2, r"Got answers of shape \(1,\). Expected a row per image and a column per time it was asked"),
        ([["blur", "noise"], ["blur"]], 2, r"Got answers of shape \(2,\)"),
        ([["blur"]], 0, r"Got answers of shape \(1, 1\). Expected one per image"),
        ([[]], 2, r"Got answers of shape \(1, 0\)"),
        ([["blur"], ["noise"]], 2, "Got 1 of the answers per image. Expected at least 2. Ask every image again"),
        ([["blur", None]], 2, "Got None among the answers. Expected strings. Give 'unparsed' for what could not be read"),
        ([["blur", float("nan")]], 2, "Got nan among the answers"),
        ([[1, 2]], 2, "Got 1 among the answers"),
    ],
)
def test_answers_that_are_no_strings_are_refused(values: object, columns: int, words: str) -> None:
    with pytest.raises(InputError, match=words):
        strings(values, "answers", columns)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([1.0, 2.0], r"Got scores of shape \(2,\). Expected a row per image and a column per time it was asked"),
        (np.zeros((0, 2)), r"Got scores of shape \(0, 2\)"),
        ([[1.0], [2.0]], "Got 1 of the scores per image. Expected at least 2. Ask every image again"),
        ([[1.0, float("inf")]], "Got infinite scores. Expected finite numbers. Give NaN"),
        ([[float("nan"), 1.0], [2.0, float("nan")]], "No image has two scores that could be read"),
    ],
)
def test_numbers_that_cannot_be_compared_are_refused(values: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        numbers(values, "scores")


def test_every_image_needs_its_group_and_an_interval_two_of_them() -> None:
    with pytest.raises(InputError, match="Got 10 groups for 9 images. Expected one per image"):
        resampled(GROUPS, 9, 10, 0)
    with pytest.raises(InputError, match="needs at least 2 of them, got 1"):
        resampled(["a"] * 9, 9, 10, 0)
