"""The plane: joint projection, fallback, trustworthiness."""

import numpy as np
import pytest

from analysis import plane as module
from analysis.plane import plane


def parts(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str], list[str]]:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, n)
    before, words = rng.normal(size=(n, 8)), rng.normal(size=(2, 8))
    return before, words[label] + 0.1 * before, words, [f"c{i}" for i in label], [f"s{i}" for i in range(n)]


def test_pca_puts_tuned_features_by_their_words() -> None:
    before, after, words, labels, ids = parts(40)
    found = plane(before, after, words, labels, ids, ["c0", "c1"], method="pca")
    assert found.method == "PCA" and 0.5 < found.trustworthiness <= 1 and len(found.points) == 80
    spot = {word["label"]: np.array([word["x"], word["y"]]) for word in found.words}
    for point in found.points[40:]:
        here = np.array([point["x"], point["y"]])
        nearest = min(spot, key=lambda name: np.linalg.norm(here - spot[name]))
        assert nearest == point["label"] and point["when"] == "after"


def test_few_points_and_a_failing_umap_fall_back_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    few = plane(*parts(5), ["c0", "c1"])
    assert few.method == "PCA" and "needs at least 30 points, got 12" in few.note

    def fails(*_: object) -> np.ndarray:
        raise ImportError("no umap")

    monkeypatch.setattr(module, "_umap", fails)
    assert "UMAP could not be used (ImportError: no umap)" in plane(*parts(40), ["c0", "c1"]).note


@pytest.mark.slow
def test_umap_is_reproducible() -> None:
    first, again = (plane(*parts(40), ["c0", "c1"], seed=1) for _ in range(2))
    assert first.method == "UMAP" and first.points == again.points
