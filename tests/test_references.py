"""Reference images made on demand."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from stimuli import references
from stimuli.errors import InputError
from stimuli.leaves import dead_leaves
from stimuli.references import KEPT, LeavesImage, PhotographImage, SceneImage, builtin_references
from stimuli.scenes import Scene, scene


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The index of every scene that is made, slowly."""
    calls: list[int] = []

    def slow(seed: tuple[int, ...], size: int) -> Scene:
        calls.append(seed[-1])
        time.sleep(0.02)
        return scene(seed, size)

    monkeypatch.setattr(references, "scene", slow)
    references._kept.cache_clear()
    return calls


def test_a_reference_is_made_once_for_all_who_look_at_it(made: list[int]) -> None:
    found = list(builtin_references(6, 3, "exam", 16, photographs=False))
    with ThreadPoolExecutor(4) as pool:
        images = list(pool.map(lambda reference: reference.read(), [r for r in found for _ in range(8)]))
    assert made and Counter(made) == {i: 1 for i in range(6)}
    assert all(np.array_equal(images[8 * i], images[8 * i + 7]) for i in range(6))


def test_no_more_than_a_few_are_kept(made: list[int]) -> None:
    for _ in range(2):
        for reference in builtin_references(KEPT + 1, 3, "exam", 16, photographs=False):
            reference.read()
    assert len(made) == 2 * (KEPT + 1)
    assert references._kept.cache_info().currsize == KEPT


def test_threads_that_want_different_references_do_not_wait_for_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    both = threading.Barrier(2, timeout=20)

    def together(seed: tuple[int, ...], size: int) -> Scene:
        both.wait()
        return scene(seed, size)

    monkeypatch.setattr(references, "scene", together)
    references._kept.cache_clear()
    with ThreadPoolExecutor(2) as pool:
        assert len(list(pool.map(lambda i: SceneImage((9, 9, i), 16)(), range(2)))) == 2


def test_a_failure_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    image = PhotographImage("nobody", 16, 0, 0)
    for _ in range(2):
        with pytest.raises(InputError, match="nobody"):
            image()


def test_what_is_kept_cannot_be_changed_by_who_looks_at_it() -> None:
    for image in (SceneImage((3, 0, 0), 16), LeavesImage((3, 0, 0), (16, 24)), PhotographImage("chelsea", 16, 0, 0)):
        with pytest.raises(ValueError, match="read-only"):
            image()[0, 0, 0] = 1
        assert np.array_equal(image(), image.make())


def test_the_stimuli_of_a_reference_share_what_is_known_of_it() -> None:
    first, last = next(iter(builtin_references(1, 0, "exam", 16, True))), list(builtin_references(10, 0, "exam", 16, True))[-1]
    assert first.id == "scene-exam-0-00000" and set(first.attributes) == {"colour", "shape", "ground"}
    assert last.id == "photo-chelsea-0" and not last.attributes


def test_leaves_are_named_have_no_attributes_and_any_shape() -> None:
    found = list(builtin_references(11, 0, "exam", 16, photographs=True, kind="leaves"))
    assert [r.id for r in found[::10]] == ["leaves-exam-0-00000", "leaves-exam-0-00010"] and found[9].id == "photo-chelsea-0"
    assert {r.source for r in found} == {"leaves", "photo"} and not any(r.attributes for r in found)
    assert LeavesImage((0, 2, 0), (16, 24))().shape == (16, 24, 3)
    assert np.array_equal(found[0].read(), dead_leaves((0, 2, 0), 16))


def test_no_two_kinds_and_splits_share_a_seed() -> None:
    drawn = [
        reference.pixels.seed
        for kind in ("scenes", "leaves")
        for split in ("exam", "train")
        for seed in range(4)
        for reference in builtin_references(5, seed, split, 16, photographs=False, kind=kind)
        if isinstance(reference.pixels, SceneImage | LeavesImage)
    ]
    assert len(drawn) == len(set(drawn)) == 2 * 2 * 4 * 5


def test_scenes_are_the_default() -> None:
    default, named = (list(builtin_references(10, 0, "train", 16, True, *kind)) for kind in ((), ("scenes",)))
    assert default == named and [r.source for r in default] == ["scene"] * 9 + ["photo"]


def test_another_kind_is_refused() -> None:
    with pytest.raises(InputError, match="no built-in references of kind 'trees'. Expected scenes or leaves"):
        next(builtin_references(1, 0, "exam", 16, False, kind="trees"))  # type: ignore[arg-type]
