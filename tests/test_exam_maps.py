"""Maps within an exam: of its own references, with examples; what cannot be mapped says so."""

import base64
from collections import Counter
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hooks.load import Mllm
from snellen.config import build
from snellen.exam_maps import GRID, _examples, told
from stimuli.generated import exam_set

SURVIVAL: Any = SimpleNamespace(best=lambda component: f"{component}.0")


@pytest.mark.heavy
def test_places_are_mapped_at_the_best_vision_site_and_the_projector_with_examples(llava: Mllm, tmp_path: Path) -> None:
    settings = build(None, {"references": 4, "maps": 4, "levels": (5,), "folds": 2, "n_boot": 20})
    shown = exam_set(4, levels=(5,), seed=0, measure=False)
    found = told(llava, shown, SURVIVAL, settings, tmp_path, False)
    assert found.results["references"] == 4 and found.results["site"] in ("vision.0", "projector")
    sites = [row["site"] for row in found.results["table"]]
    assert sites[:2] == ["vision.0", "projector"] and "baseline:centre" in sites
    assert all(0 <= row["low"] <= row["score"] <= row["high"] <= 1 for row in found.results["table"])
    assert found.pictures["pairs"] and len({pair["type"] for pair in found.pictures["pairs"]}) == len(found.pictures["pairs"])
    pair = found.pictures["pairs"][0]
    clean, distorted = (
        np.asarray(Image.open(BytesIO(base64.b64decode(text))).convert("RGB"))
        for text in (found.pictures["clean"][pair["clean"]], pair["distorted"])
    )
    changed, mask = (clean != distorted).any(2), np.array(pair["map"]["mask"])
    side = clean.shape[0] // GRID
    seen = changed.reshape(GRID, side, GRID, side).any((1, 3))
    assert not seen[mask == 0].any() and seen[mask > 0.5].any(), "the mask is where the images differ"
    assert np.shape(pair["map"]["values"]) == (GRID, GRID) and set(
        pair["reference"] for pair in found.pictures["pairs"]
    ) <= set(shown.references)


def test_what_is_not_mapped_says_why(llava: Mllm, tmp_path: Path) -> None:
    shown = exam_set(2, levels=(5,), seed=0, measure=False)
    assert told(llava, shown, SURVIVAL, build(None, {"maps": 0}), tmp_path, False).results == {
        "skipped": "It was switched off (maps: 0)."
    }
    of_others = told(llava, shown, SURVIVAL, build(None, {"images": "kadid10k:/nowhere", "maps": 4}), tmp_path, False)
    assert "where pristine images are given" in of_others.results["skipped"] and of_others.pictures["pairs"] == []


def test_examples_are_of_references_in_turn() -> None:
    shown = exam_set(3, levels=(5,), seed=0, measure=False)
    dim, count = np.zeros((GRID, GRID)), len(shown)
    found: Any = SimpleNamespace(
        ids=[s.id for s in shown], maps={"vision.0": np.stack([dim] * count)}, shares=np.stack([dim] * count)
    )
    pairs = _examples(found, list(shown), "vision.0")["pairs"]
    by_reference = Counter(pair["reference"] for pair in pairs)
    assert len({pair["type"] for pair in pairs}) == len(pairs) > 4
    assert len(by_reference) == 3 and max(by_reference.values()) - min(by_reference.values()) <= 1
