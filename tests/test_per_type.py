"""Binary probes per type on sites where we planted which type can be told from the clean image, and from which level on."""

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from probes.per_type import TypeResult, _threshold, type_sweep
from stimuli.errors import InputError
from tests.stores import InMemory

TYPES = ("gaussian_blur", "white_noise", "mean_shift")


class Store(InMemory):
    """Clean, and three types at three levels, of each reference; a type on few references, and an identity."""

    def __init__(self, references: int = 16, clean: bool = True) -> None:
        rng = np.random.default_rng(0)
        rows: list[tuple[int, str | None, int | None, bool]] = []
        for r in range(references):
            rows += [(r, None, None, False)] if clean else []
            rows += [(r, type, level, False) for type in TYPES for level in (1, 3, 5)]
        rows += [(r, "jpeg", 3, False) for r in range(4)] + [(r, "contrast_change", 3, True) for r in range(references)]
        self.rows = {
            f"r{r}-{type}-{level}": {"reference": f"r{r}", "type": type, "level": level, "is_identity": same}
            for r, type, level, same in rows
        }
        content, noise = rng.normal(size=(references, 8))[[r for r, *_ in rows]], rng.normal(size=(len(rows), 8)) * 0.3
        along, strength = rng.normal(size=8), {None: 0.0, 1: 0.0, 3: 2.0, 5: 4.0}
        blurred = np.array([strength[level] if type != "white_noise" and not same else 0.0 for _, type, level, same in rows])
        self.values = {"vision.0": content + noise + np.outer(blurred, along), "projector": content + noise}


@pytest.fixture(scope="module")
def result() -> TypeResult:
    return type_sweep(Store(), n_boot=200, progress=False, penalties=[10.0])


def test_a_type_is_found_where_it_was_planted(result: TypeResult) -> None:
    blur, noise = result.row("vision.0", "gaussian_blur"), result.row("vision.0", "white_noise")
    assert blur["auc_low"] > 0.6 and blur["balanced_low"] > 0.6 and blur["component"] == "vision" and blur["dim"] == 8
    assert noise["auc_low"] - 0.1 < 0.5 < noise["auc_high"] + 0.1
    assert result.row("projector", "gaussian_blur")["auc_low"] - 0.1 < 0.5
    assert abs(np.mean([row["control"] for row in result.table]) - 0.5) < 0.1
    assert blur["n"] == 48 and blur["references"] == 16
    for row in (*result.table, *result.levels):
        assert row["auc_low"] <= row["auc"] <= row["auc_high"]


def test_scores_are_of_the_type_and_the_clean_images_of_its_references_alone(result: TypeResult) -> None:
    ids, p = result.scores["vision.0", "gaussian_blur"]
    assert len(ids) == 64 and all("blur" in id or "None" in id for id in ids)
    assert result.row("vision.0", "gaussian_blur")["auc"] == pytest.approx(roc_auc_score(["blur" in id for id in ids], p))
    fifth = [i for i, id in enumerate(ids) if id.endswith(("-5", "None-None"))]
    expected = roc_auc_score(["blur" in ids[i] for i in fifth], p[fifth])
    row = next(r for r in result.levels if (r["site"], r["type"], r["level"]) == ("vision.0", "gaussian_blur", 5))
    assert row["auc"] == pytest.approx(expected) and row["n"] == 16


def test_levels_that_cannot_be_told_are_below_the_threshold(result: TypeResult) -> None:
    row = result.row("vision.0", "gaussian_blur")
    first, *others = (r for r in result.levels if (r["site"], r["type"]) == ("vision.0", "gaussian_blur"))
    assert first["auc"] < 0.75 < min(r["auc"] for r in others)
    assert row["threshold"] == 3
    assert result.row("projector", "gaussian_blur")["threshold"] is None
    signed = result.row("vision.0", "mean_shift")
    assert signed["signed"] and signed["threshold"] is None and signed["auc"] > 0.75


def test_a_threshold_holds_for_every_higher_level() -> None:
    def rows(*areas: float) -> list[dict[str, Any]]:
        return [{"level": i + 1, "auc": area, "auc_low": area - 0.2} for i, area in enumerate(areas)]

    assert _threshold(rows(0.6, 0.8, 0.9)) == 2
    assert _threshold(rows(0.9, 0.6, 0.9)) == 3
    assert _threshold(rows(0.9, 0.9, 0.7)) is None
    assert _threshold(rows(0.9, 0.9, 0.9)) == 1


def test_unequal_numbers_do_not_bend_the_balanced_accuracy(result: TypeResult) -> None:
    """Three distorted stimuli stand against one clean one; a probe that knows nothing must not call everything distorted."""
    ids, p = result.scores["projector", "white_noise"]
    clean = np.array(["None" in id for id in ids])
    assert 0.55 < p.mean() < 0.9 and 0.2 < np.mean(p[clean] > 0.75) < 0.8


def test_types_on_few_references_are_left_out_and_named(result: TypeResult) -> None:
    assert result.left_out == {"jpeg": 4}
    assert {row["type"] for row in result.table} == set(TYPES)
    with pytest.raises(
        InputError, match=r"clean images of 5 or more of its own references; got jpeg: 4\. Show more references"
    ):
        type_sweep(Store(), types=["gaussian_blur", "jpeg"], progress=False)
    with pytest.raises(InputError, match="got no distorted image at all"):
        type_sweep(Store(clean=False), progress=False)
