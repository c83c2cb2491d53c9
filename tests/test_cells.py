"""The rows of a spatial probe: labels from masks, draws in which place tells nothing, and tokens laid on the grid."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from hooks.activations import Activations
from probes.cells import Cells, cells_of
from stimuli.errors import InputError
from stimuli.types import Stimulus


class Store:
    """Activations of some stimuli, (n, rows * d) or with offsets."""

    def __init__(self, ids: Sequence[str], values: np.ndarray, pool: str = "grid:4", rows: int | None = None) -> None:
        self.ids, self.sites, self.config = tuple(ids), ("vision.0",), {"pool": pool}
        offsets = None if rows is None else np.arange(len(ids) + 1) * rows
        self.given = Activations(self.ids, values, offsets)

    def read(self, site: str) -> Activations:
        return self.given

    def metadata(self, id: str) -> dict[str, Any]:
        return {}


def _masked(mask: np.ndarray) -> Callable[[], np.ndarray]:
    return lambda: mask


def shown(references: int = 6, types: tuple[str | None, ...] = (None, "jpeg", "white_noise", "mean_shift")) -> list[Stimulus]:
    """Every type in the same box of a reference, which lies in another corner each time; the last type everywhere."""
    found = []
    for r in range(references):
        mask = np.zeros((16, 16), bool)
        mask[4 * (r % 3) : 4 * (r % 3) + 6, 4:12] = True
        for type in types:
            area = None if type in (None, "mean_shift") else _masked(mask)
            pixels = np.zeros((16, 16, 3), np.uint8)
            found.append(Stimulus(f"r{r}-{type}", f"r{r}", type, 5 if type else None, pixels=pixels, area=area))
    return found


def cells(**options: Any) -> Cells:
    stimuli = shown()
    store = Store([s.id for s in stimuli], np.zeros((len(stimuli), 16 * 3)))
    given = {"target": "any", "taxonomy": "paper8", "places": None, "sites": None, **options}
    return cells_of(store, stimuli, **given)


def test_shares_are_those_of_the_mask_or_of_all_or_of_nothing() -> None:
    found = cells()
    assert found.grid == 4 and found.shares.shape == (24, 4, 4)
    np.testing.assert_allclose(found.shares[1], np.outer([1, 0.5, 0, 0], [0, 1, 1, 0]))
    assert found.shares[0].max() == 0 and found.shares[3].min() == 1
    assert found.masked.tolist() == [False, True, True, False] * 6
    assert found.counterparts[:5].tolist() == [0, 0, 0, 0, 4]
    assert found.target.values[:4].tolist() == ["clean", "compression", "noise", "brightness"]


def test_a_target_leaves_the_other_distortions_out() -> None:
    assert cells(target="noise").target.ids[:2] == ("r0-None", "r0-white_noise")
    assert cells(target="jpeg").target.ids[:2] == ("r0-None", "r0-jpeg")
    with pytest.raises(InputError, match="of 6 stimuli .'blur'. 0 have distorted and clean cells on a grid of 4 x 4"):
        cells(target="blur")


def test_drawn_rows_have_as_many_distorted_as_clean_of_each_place() -> None:
    found = cells()
    chosen = np.arange(4, 24)
    stimulus, place = found.drawn(found.flat, chosen, 10**6, [0])
    distorted = found.flat[stimulus, place] > 0.5
    assert set(stimulus) <= set(chosen) and len(stimulus) > 40
    for p in range(16):
        assert distorted[place == p].sum() == (~distorted[place == p]).sum()
    assert not ((found.flat[stimulus, place] >= 0.1) & (found.flat[stimulus, place] <= 0.5)).any()
    assert len(set(zip(stimulus.tolist(), place.tolist(), strict=True))) == len(stimulus)
    few, _ = found.drawn(found.flat, chosen, 40, [0])
    assert len(few) <= 40 + 2 * 16
    again = found.drawn(found.flat, chosen, 40, [0])[0]
    np.testing.assert_array_equal(few, again)


def test_tokens_share_what_they_look_at_and_are_laid_on_the_grid() -> None:
    found = cells()
    pairs = np.zeros((9, 16))  # eight tokens look at two cells side by side, the last one nowhere
    for t in range(8):
        pairs[t, 2 * t : 2 * t + 2] = 0.5
    shares = found.row_shares(pairs)
    np.testing.assert_allclose(shares[1], [0.5, 0.5, 0.25, 0.25, 0, 0, 0, 0, 0.3])
    own = np.arange(9.0)[None]
    np.testing.assert_allclose(found.on_grid(pairs, own)[0], np.repeat(np.arange(8), 2))
    np.testing.assert_array_equal(found.on_grid(None, own), own)


def test_token_rows_are_joined_by_stimulus() -> None:
    stimuli = shown()
    values = np.arange(24 * 9 * 2).reshape(24 * 9, 2)
    store = Store([s.id for s in stimuli], values, "none", 9)
    found = cells_of(store, stimuli[::-1], "any", "paper8", {"vision.0": np.full((9, 16), 1 / 16)}, None)
    assert found.grid == 4 and found.inputs["vision.0"].ids[0] == stimuli[-1].id
    np.testing.assert_array_equal(found.inputs["vision.0"].values[0].reshape(9, 2), values[-9:])
    with pytest.raises(InputError, match=r"shape \(9, 2\), but the places are of 5 tokens"):
        cells_of(store, stimuli, "any", "paper8", {"vision.0": np.full((5, 16), 1 / 16)}, None)


def test_a_store_without_cells_is_refused() -> None:
    stimuli = shown()
    store = Store([s.id for s in stimuli], np.zeros((24, 3)), "mean")
    with pytest.raises(InputError, match="got activations with pool='mean'.*Extract with pool='grid:8'"):
        cells_of(store, stimuli, "any", "paper8", None, None)
