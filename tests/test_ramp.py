"""A ramp is told from a scrambled one, and what is padded from what is image."""

import numpy as np

from hooks.ramp import allowed, box, ramp, roughness

SIZE = (48, 64)
RISING, FALLING = ramp(SIZE) / 255, (255 - ramp(SIZE)) / 255


def test_a_ramp_is_smooth_and_anything_scrambled_is_not() -> None:
    assert roughness(RISING) < allowed(SIZE)
    patches = RISING.reshape(6, 8, 8, 8, 3)
    shuffled = patches[np.random.default_rng(0).permutation(6)].reshape(48, 64, 3)
    for wrong in (shuffled, RISING[:, ::-1], RISING[::-1], RISING[..., ::-1], RISING.transpose(1, 0, 2)):
        assert roughness(wrong) > 4 * allowed(SIZE)


def test_only_what_moves_with_the_image_is_image() -> None:
    for grey in (0.0, 0.5, 1.0):
        tiles = [np.pad(tile, ((3, 5), (7, 0), (0, 0)), constant_values=grey) for tile in (RISING, FALLING)]
        assert box(*tiles) == (slice(3, 51), slice(7, 71)), grey
    assert box(RISING * 0, FALLING * 0) is None
    assert box(RISING, RISING) is None
