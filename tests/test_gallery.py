"""Examples: whose, in which order, and that their pixels are the stimulus's own."""

import base64
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from analysis.gallery import SHOWN, gallery
from analysis.unsaid import CELLS, Unsaid
from stimuli.errors import InputError
from stimuli.tables import Row
from stimuli.types import Stimulus
from tests.test_unsaid import found


def row(number: int, cell: str, label: str, reference: str, confidence: float | None = None) -> Row:
    return {"id": f"s{number}", "reference": reference, "type": "jpeg", "level": 3, "label": label, "probe": "noise",
            "answer": "clean", "confidence": confidence, "cell": cell}  # fmt: skip


def result(rows: list[Row]) -> Unsaid:
    return replace(found(), stimuli=rows)


def stimuli(n: int, shape: tuple[int, int] = (20, 30), **more: Any) -> list[Stimulus]:
    rng = np.random.default_rng(0)
    return [Stimulus(f"s{i}", "a", "jpeg", 3, pixels=rng.integers(0, 255, (*shape, 3), np.uint8), **more) for i in range(n)]


def decoded(uri: str) -> np.ndarray:
    assert uri.startswith("data:image/png;base64,")
    return np.asarray(Image.open(BytesIO(base64.b64decode(uri.split(",")[1]))))


def test_the_most_confident_wrong_answer_comes_first_and_classes_are_spread() -> None:
    unsaid = "encoded, not said"
    rows = [row(0, unsaid, "blur", "a", 0.5), row(1, unsaid, "blur", "b", 0.9), row(2, unsaid, "blur", "b", 0.8),
            row(3, unsaid, "noise", "c", 0.4), row(4, unsaid, "noise", "a", None)]  # fmt: skip
    chosen = gallery(result(rows), stimuli(5), per_cell=4)
    assert [example["id"] for example in chosen] == ["s1", "s3", "s0", "s4"], "another class, then another reference"


def test_cells_stand_in_order_and_the_draw_is_fixed_by_its_seed() -> None:
    rows = [row(i, CELLS[i % 4], "blur", "a") for i in range(40)]
    first, same, other = (gallery(result(rows), stimuli(40), 3, seed) for seed in (0, 0, 1))
    assert [example["cell"] for example in first] == [cell for cell in CELLS for _ in range(3)]
    assert first == same and [e["id"] for e in first] != [e["id"] for e in other]
    again = gallery(result(rows), stimuli(40)[:20], 3)
    assert {int(example["id"][1:]) for example in again} <= set(range(20)), "stimuli without an image are left out"


def test_small_images_are_whole_and_large_ones_cut_but_never_scaled() -> None:
    rows = [row(0, CELLS[0], "blur", "a")]
    (small,) = stimuli(1)
    (example,) = gallery(result(rows), [small])
    assert np.array_equal(decoded(example["png"]), small.image) and example["shown"] == "whole"
    (large,) = stimuli(1, (400, 100))
    (example,) = gallery(result(rows), [large])
    assert np.array_equal(decoded(example["png"]), large.image[120:280]) and SHOWN == 160
    assert example["shown"] == "100 × 160 px of 100 × 400, not scaled"


def test_a_local_distortion_is_in_the_picture() -> None:
    area = np.zeros((400, 400), np.uint8)
    area[380:390, 10:20] = 1
    (local,) = stimuli(1, (400, 400), area=area)
    (example,) = gallery(result([row(0, CELLS[0], "blur", "a")]), [local])
    assert np.array_equal(decoded(example["png"]), local.image[240:, :160])


def test_other_stimuli_are_refused() -> None:
    with pytest.raises(InputError, match="None of the 1 stimuli is among the 8 that were probed and asked. Give the same"):
        gallery(found(), [Stimulus("elsewhere", "a", None, None)])
