"""Pooling: means, maxima, cells, drawn rows and grids, summed in float32."""

import numpy as np
import pytest
import torch

from hooks.load import Mllm
from hooks.patches import Patches
from hooks.pool import Pooling, grid_of_pixels, pool, pooling, processed_rows
from hooks.ragged import Ragged
from hooks.tokens import TokenLayout
from stimuli.errors import InputError

ROW = {"vision.0": "image", "llm.0": "sequence"}


def layout(*shown: list[int], positions: int = 8, cls: int = 0) -> TokenLayout:
    """Stimuli with image tokens at these positions."""
    image = torch.zeros(len(shown), positions, dtype=torch.bool)
    for i, at in enumerate(shown):
        image[i, at] = True
    counts = tuple(map(len, shown))
    return TokenLayout(
        image, ~torch.ones_like(image), torch.zeros_like(image), ROW, Patches(counts, (1,) * len(shown), cls=cls)
    )


def vectors(value: torch.Tensor | Ragged) -> torch.Tensor:
    assert isinstance(value, torch.Tensor)
    return value


def test_pools_are_what_they_say(llava: Mllm) -> None:
    shown = llava.inputs([np.zeros((128, 128, 3), np.uint8)] * 2, ["What?", "Which one?"]).layout
    value = torch.randn(2, 65, 4, dtype=torch.float64).bfloat16()
    mean = vectors(pool(shown, "vision.0", value, "mean"))
    assert torch.allclose(mean, value[:, 1:].float().mean(1), atol=1e-6) and mean.dtype == torch.float32
    assert torch.equal(vectors(pool(shown, "vision.0", value, "max")), value[:, 1:].float().amax(1))
    cls = vectors(pool(shown, "vision.0", value.float(), "cls"))
    assert torch.equal(cls, value[:, 0].float()) and cls.data_ptr() != value.data_ptr()


@pytest.mark.parametrize("shown", [([1, 2, 3], [1, 2, 3]), ([1, 2, 3], [4, 5, 6]), ([0, 2, 5], [1, 2, 3, 7])])
def test_a_view_for_all_gives_what_each_stimulus_gives_alone(shown: tuple[list[int], ...]) -> None:
    found, value = layout(*shown), torch.randn(2, 8, 5)
    block = found.block("llm.0", value)
    assert (block is not None) == (shown[0] == shown[1])
    expected = torch.stack([value[i, at].mean(0) for i, at in enumerate(shown)])
    assert torch.allclose(vectors(pool(found, "llm.0", value, "mean")), expected, atol=1e-6)
    if block is not None:
        assert block.data_ptr() == value[:, 1].data_ptr()  # a view


def test_sums_are_taken_in_float32_under_bfloat16() -> None:
    value = torch.ones(1, 8, 1).bfloat16()
    value[0, 0] = 256  # in bfloat16 256 + 1 is 256
    assert vectors(pool(layout(list(range(8))), "llm.0", value, "mean")).item() == pytest.approx(263 / 8)


def test_rows_are_kept_as_they_are_all_some_or_every_so_many() -> None:
    found, value = layout([0, 2, 5], [1, 2, 3, 7]), torch.randn(2, 8, 3).bfloat16()
    rows = pool(found, "llm.0", value, "none")
    assert isinstance(rows, Ragged) and rows.counts == (3, 4) and rows.rows.dtype == torch.bfloat16
    assert torch.equal(rows.rows, torch.cat([value[0, [0, 2, 5]], value[1, [1, 2, 3, 7]]]))
    value.zero_()  # what the model does afterwards is not seen
    assert bool(rows.rows.any())
    assert pool(found, "llm.0", value, "stride:2").counts == (2, 2)  # type: ignore[union-attr]


def test_a_stimulus_keeps_the_same_random_rows_in_any_batch_and_at_any_site() -> None:
    value = torch.arange(8.0)[None, :, None].expand(3, 8, 1).clone()
    found = layout(*[list(range(8))] * 3)
    together = pool(found, "llm.0", value, "random:3", ids=["a", "b", "c"], seed=1)
    alone = pool(layout(list(range(8))), "llm.0", value[:1], "random:3", ids=["b"], seed=1)
    other = pool(layout(list(range(8))), "llm.0", value[:1], "random:3", ids=["b"], seed=2)
    assert isinstance(together, Ragged) and isinstance(alone, Ragged) and isinstance(other, Ragged)
    assert torch.equal(together[1:2].rows, alone.rows) and not torch.equal(other.rows, alone.rows)
    assert len(set(together.rows[:3, 0].tolist())) == 3 and together.counts == (3, 3, 3)


def test_cells_are_means_over_the_rows_that_look_there() -> None:
    value = torch.arange(8.0)[None, :, None]
    weights = torch.tensor([[1.0, 0], [1, 0], [0.5, 0.5], [0, 1]])
    (cells,) = vectors(pool(layout([0, 1, 2, 3]), "llm.0", value, "grid:1", places=[weights]))
    assert cells.tolist() == pytest.approx([(0 + 1 + 0.5 * 2) / 2.5, (0.5 * 2 + 3) / 1.5])


def test_poolings_are_read_and_refused_in_words() -> None:
    assert pooling("grid:3") == Pooling("grid", 3) and str(pooling("random")) == "random:64" and str(pooling("mean")) == "mean"
    for text, words in [
        ("sum", "Unknown pooling 'sum'. Expected one of mean, max, last, cls"),
        ("mean:2", "Unknown pooling 'mean:2'"),
        ("grid:0", "expected a whole number above zero behind the colon, such as grid:4"),
        ("stride:x", "Got pooling 'stride:x'"),
    ]:
        with pytest.raises(InputError, match=words):
            pooling(text)


def test_grids_average_areas() -> None:
    image = torch.arange(3 * 16 * 16).reshape(3, 16, 16)
    assert grid_of_pixels(image)[0] == image[0, :2, :2].float().mean() and len(grid_of_pixels(image)) == 192
    rows = torch.arange(20.0).reshape(10, 2)
    means = torch.stack([rows[:4].mean(0), rows[4:].mean(0)])
    assert torch.equal(processed_rows({"pixel_values": rows}, Patches((1, 2), grid=(4, 6))), means)


def test_what_the_model_sees_is_averaged_without_padding_and_over_crops() -> None:
    images = torch.rand(2, 3, 16, 32)
    cut = processed_rows({"pixel_values": images, "image_sizes": torch.tensor([[16, 16], [16, 32]])}, Patches((1, 2), (1, 1)))
    assert torch.allclose(cut[0], grid_of_pixels(images[0, :, :, :16])) and torch.allclose(cut[1], grid_of_pixels(images[1]))
    tiles = torch.rand(2, 3, 3, 16, 16)
    tiles[0, 1:] = 0
    tiled = processed_rows({"pixel_values": tiles}, Patches((1, 2), (1, 3)))
    assert torch.allclose(tiled[0], grid_of_pixels(tiles[0, 0]))
    assert torch.allclose(tiled[1], torch.stack([grid_of_pixels(tile) for tile in tiles[1]]).mean(0))
    flat = processed_rows({"pixel_values": tiles[1]}, Patches((1, 2), (1, 2)))
    assert torch.allclose(flat[1], (grid_of_pixels(tiles[1, 1]) + grid_of_pixels(tiles[1, 2])) / 2)
