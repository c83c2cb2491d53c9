"""The plane: joint projection, fallback, trustworthiness."""

import numpy as np
import pytest

from analysis import plane as module
from analysis.plane import plane
from stimuli.errors import InputError


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


def test_arrows_lead_from_class_mean_to_class_mean() -> None:
    found = plane(*parts(40), ["c0", "c1"], method="pca", seed=4)
    assert {arrow["label"] for arrow in found.arrows} == {"c0", "c1"} and sum(arrow["n"] for arrow in found.arrows) == 40
    for arrow in found.arrows:
        for when, x, y in (("before", "x0", "y0"), ("after", "x1", "y1")):
            own = [(p["x"], p["y"]) for p in found.points if p["label"] == arrow["label"] and p["when"] == when]
            assert (arrow[x], arrow[y]) == pytest.approx(tuple(np.mean(own, axis=0)))
    assert found.seed == 4 and found.as_dict()["arrows"] == found.arrows


def test_variance_along_the_axes_is_that_of_the_whole_union() -> None:
    before, after, words, *rest = parts(40)
    found = plane(before, after, words, *rest, ["c0", "c1"], method="pca")
    union = np.vstack([module._centred_unit(part) for part in (before, after, words)])
    values = np.linalg.eigvalsh(np.cov(union.T))[::-1]
    assert found.explained == pytest.approx(tuple(values[:2] / values.sum()))


def test_trustworthiness_of_many_points_is_taken_from_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = plane(*parts(200), ["c0", "c1"], method="pca").trustworthiness
    monkeypatch.setattr(module, "TRUSTED", 300)
    assert plane(*parts(200), ["c0", "c1"], method="pca").trustworthiness == pytest.approx(whole, abs=0.06)


def test_parts_that_do_not_match_are_refused() -> None:
    before, after, words, labels, ids = parts(40)
    with pytest.raises(InputError, match=r"shapes \(40, 8\) and \(39, 8\).*40 labels.*2 classes. Expected the same stimuli"):
        plane(before, after[1:], words, labels, ids, ["c0", "c1"])


@pytest.mark.heavy
def test_umap_is_reproducible() -> None:
    first, again = (plane(*parts(40), ["c0", "c1"], seed=1) for _ in range(2))
    assert first.method == "UMAP" and first.points == again.points and first.explained is None and first.seed == 1
