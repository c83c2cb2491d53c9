"""The control task: random labels by key, learnable by memorising keys alone, and refused where they cannot be learnt."""

from typing import Any

import numpy as np
import pytest

from probes.control_task import content_clusters, control_labels, control_task, recurring, selectivity
from probes.splits import grouped_folds
from stimuli.errors import InputError
from tests.test_sweep import FakeStore, rows, store

CELLS = np.tile(np.repeat(np.arange(8), 2), 12)
GROUPS = np.repeat(np.arange(12), 16)
LABELS = np.array(list("aabbccdd"))[CELLS]
FOLDS = grouped_folds(LABELS, GROUPS, 3)
OPTIONS: dict[str, Any] = {"penalties": [10.0], "n_boot": 200}


def noise(d: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(192, d))


def test_the_same_key_has_the_same_random_label_and_shares_stay_the_tasks() -> None:
    found = control_labels(CELLS, LABELS, 0)
    assert all(len(set(found[cell == CELLS])) == 1 for cell in range(8))
    assert sorted(found) == sorted(LABELS)
    assert np.array_equal(found, control_labels(CELLS, LABELS, 0))
    drawn = [control_labels(CELLS, LABELS, seed) for seed in range(300)]
    assert abs(np.mean([own == LABELS for own in drawn]) - 0.25) < 0.02
    alike = np.mean([[own[CELLS == a][0] == own[CELLS == a + 1][0] for a in (0, 2, 4, 6)] for own in drawn])
    assert abs(alike - 1 / 7) < 0.04  # of the seven other cells one has the same label


@pytest.mark.parametrize("seed", range(5))
def test_shares_of_unequal_classes_are_met_as_nearly_as_whole_keys_allow(seed: int) -> None:
    labels = np.repeat(list("ab"), (144, 48))
    share = np.mean(control_labels(CELLS, labels, seed) == "b")
    assert share == pytest.approx(0.25)
    few = control_labels(np.array(list("xxxxxxxy")), np.array(list("aaaaaaab")), seed)
    assert set(few) == {"a", "b"}


def test_one_key_is_no_control() -> None:
    with pytest.raises(InputError, match="needs at least 2 keys, got 1. Give a key that tells stimuli apart"):
        control_labels(np.zeros(4), np.array(list("abab")), 0)


def test_a_site_that_names_the_class_alone_is_selective_and_one_that_names_every_cell_is_not() -> None:
    by_class = 4 * np.eye(4)[np.unique(LABELS, return_inverse=True)[1]]
    by_cell = 5 * np.eye(8)[CELLS]
    first, second, third = (
        selectivity(values, LABELS, GROUPS, CELLS, FOLDS, **OPTIONS)
        for values in (noise(4) + by_class, noise(8) + by_cell, noise())
    )
    assert (
        first.score.value > 0.95
        and first.selectivity.value > 0.3
        and first.selectivity.low > 0.2
        and first.selectivity.p < 0.05
    )
    assert second.score.value > 0.95 and second.control.value > 0.9 and abs(second.selectivity.value) < 0.08
    assert abs(third.control.value - third.chance) < 0.08 and third.selectivity.low < 0 < third.selectivity.high
    for found in (first, second, third):
        assert found.selectivity.value == pytest.approx(found.score.value - found.control.value)
        assert found.chance == 0.25 and found.keys == 8 and found.recurs == 1


def test_a_content_key_is_learnt_from_content_and_not_from_distortion() -> None:
    shape = np.array(list("xyzw"))[GROUPS % 4]
    content = noise(4) + 4 * np.eye(4)[GROUPS % 4]
    distortion = noise(4) + 4 * np.eye(4)[np.unique(LABELS, return_inverse=True)[1]]
    learnt, unlearnt = (selectivity(v, LABELS, GROUPS, shape, FOLDS, **OPTIONS) for v in (content, distortion))
    assert learnt.control.value > 0.9 and learnt.selectivity.high < 0
    assert unlearnt.control.value < 0.4 and unlearnt.selectivity.low > 0.5


def test_a_key_that_no_other_reference_shares_is_refused_since_any_score_would_look_selective() -> None:
    assert recurring(GROUPS, FOLDS) == 0 and recurring(CELLS, FOLDS) == 1
    half = np.where(GROUPS % 2, -1, GROUPS)
    assert 0.3 < recurring(half, FOLDS) < 0.7
    for key in (GROUPS, np.arange(192)):
        with pytest.raises(InputError, match="comes back in training for 0% of the held-out stimuli; expected at least 50%"):
            selectivity(noise(), LABELS, GROUPS, key, FOLDS, **OPTIONS)


def test_content_clusters_hold_whole_references_that_look_alike() -> None:
    kind = GROUPS % 3
    found = content_clusters(noise(6) + 5 * np.eye(6)[kind], GROUPS, 3)
    assert all(len(set(found[kind == own])) == 1 for own in range(3)) and len(set(found)) == 3
    with pytest.raises(InputError, match="Got 7 content clusters for 12 references. Expected 2 to 6"):
        content_clusters(noise(), GROUPS, 7)


def test_every_site_has_a_row_with_holm_over_sites() -> None:
    own = store({"vision.0": 2.0, "llm.0": 0.0})
    result = control_task(own, assignments=2, penalties=[10.0], n_boot=200, progress=False)
    strong, none = result.row("vision.0"), result.row("llm.0")
    assert strong["keys"] == 7 and strong["control_chance"] == 0.25 and strong["assignments"] == 2 and result.key == "cell"
    assert strong["selectivity_low"] > 0 > none["selectivity_low"] and strong["p_holm"] == pytest.approx(2 * strong["p"])
    assert strong["p"] < 0.05 < none["p"]


def test_a_column_or_a_mapping_may_be_the_key_and_every_stimulus_needs_one() -> None:
    shown = [{**row, "attributes": {"shape": "abc"[int(row["reference"][1:]) % 3]}} for row in rows(9)]
    own = FakeStore(shown, {"vision.0": np.random.default_rng(0).normal(size=(len(shown), 4))})
    options: dict[str, Any] = {"assignments": 1, "folds": 3, "progress": False, **OPTIONS}
    given = {row["id"]: row["attributes"]["shape"] for row in shown}
    by_name, by_map = (control_task(own, key=key, **options) for key in ("shape", given))
    assert by_name.table[0] == by_map.table[0] | {"control_spread": by_name.table[0]["control_spread"]}
    assert by_name.row("vision.0")["keys"] == 3 and (by_name.key, by_map.key) == ("shape", "given")
    with pytest.raises(InputError, match=r"71 of 72 stimuli have no control key \(first: r0-None-5\)"):
        control_task(own, key={"r0-None-1": "a"}, **options)
    with pytest.raises(InputError, match="At site 'vision.0': The control key comes back in training for 0%"):
        control_task(own, key="reference", **options)
