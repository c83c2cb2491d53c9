"""DepictQA-Wild's types at published parameters."""

import numpy as np
import pytest
from scipy import ndimage
from skimage.color import rgb2hsv

from stimuli.distortions import LEVELS, TYPES, Distortion, Options, Setting, distort, parameter, severity
from stimuli.distortions.depictqa import DEPICTQA_WILD
from stimuli.distortions.depictqa_blur import depictqa_blur_glass, depictqa_blur_motion, scattered, trail
from stimuli.distortions.depictqa_noise import chroma_sigma
from stimuli.operations import convolve, luma
from stimuli.photos import photograph
from stimuli.scenes import scene

NAMES = [kind.name for kind in DEPICTQA_WILD]
SCENE = scene((7, 0, 0), 128).image
COFFEE = photograph("coffee", 128)
SMALL = {"64 px": scene((7, 0, 0), 64).image, "33 x 47 px": COFFEE[:33, :47]}
GREY = np.full((256, 256, 3), 128, np.uint8)
RAMP = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2).repeat(32, axis=0)


def psnrs(image: np.ndarray, type: str, options: Options | None = None) -> list[float]:
    return [severity(image, distort(image, type, level, reference="m", options=options or Options()))[0] for level in LEVELS]


def test_there_are_35_types_beside_kadids_25() -> None:
    assert len(TYPES) == 60 and len(set(NAMES)) == 35
    assert [kind.number for kind in DEPICTQA_WILD] == list(range(101, 136))
    assert {kind.family for kind in DEPICTQA_WILD} == {"depictqa"} and len({kind.group for kind in DEPICTQA_WILD}) == 12


@pytest.mark.parametrize("size", SMALL)
@pytest.mark.parametrize("type", NAMES)
def test_every_level_changes_the_pixels_alone_and_the_same_way_twice(type: str, size: str) -> None:
    image, before = SMALL[size], SMALL[size].copy()
    for level in LEVELS:
        first = distort(image, type, level, seed=3, reference="a")
        assert first.shape == image.shape and first.dtype == np.uint8
        assert np.array_equal(image, before) and not np.array_equal(first, image)
        assert np.array_equal(first, distort(image, type, level, seed=3, reference="a"))


@pytest.mark.parametrize("type", NAMES)
def test_flat_and_float_images_pass(type: str) -> None:
    for flat in (np.zeros((32, 32, 3), np.uint8), np.full((32, 32, 3), 255, np.uint8), GREY[:32, :32]):
        assert distort(flat, type, 5).shape == flat.shape
    floats = distort((COFFEE[:32, :40] / 255).astype(np.float32), type, 5)
    assert floats.dtype == np.float32 and 0 <= floats.min() and floats.max() <= 1


@pytest.mark.parametrize("kind", DEPICTQA_WILD, ids=NAMES)
def test_what_is_declared_random_draws_and_what_is_declared_spatial_scales(kind: Distortion) -> None:
    base = distort(COFFEE, kind.name, 5)
    assert np.array_equal(base, distort(COFFEE, kind.name, 5, seed=1)) is not kind.random
    assert np.array_equal(base, distort(COFFEE, kind.name, 5, options=Options(scale=True))) is not kind.spatial


UNORDERED = {"depictqa_quantization_otsu", "depictqa_quantization_histogram"}
"""Both move tones more than they coarsen them: Otsu's class i becomes i/n of the range wherever the class lies, and
equalization changes an image as much with many levels as with few. Their numbers of values do fall, tested below."""


@pytest.mark.parametrize("image", [SCENE, COFFEE], ids=["scene", "coffee"])
@pytest.mark.parametrize("type", sorted(set(NAMES) - UNORDERED))
def test_the_psnr_falls_level_by_level(type: str, image: np.ndarray) -> None:
    one_angle = Options(nested_noise=True) if type == "depictqa_blur_motion" else None  # a motion's angle matters as much
    values = psnrs(image, type, one_angle)
    assert all(high > low for high, low in zip(values, values[1:], strict=False)), values


@pytest.mark.parametrize("type", sorted({*UNORDERED, "depictqa_quantization_mediancut"}))
def test_quantizations_leave_at_most_so_many_values(type: str) -> None:
    counts = []
    for level in LEVELS:
        distorted = distort(COFFEE, type, level)
        together = type == "depictqa_quantization_histogram"
        planes = [distorted] if together else [distorted[..., channel] for channel in range(3)]
        counts.append(max(len(np.unique(plane)) for plane in planes))
        assert 1 < counts[-1] <= parameter(type, level)
    assert counts == sorted(counts, reverse=True) and counts[-1] == parameter(type, 5)


def test_otsu_gives_class_i_of_n_that_share_of_the_range() -> None:
    assert np.unique(distort(RAMP, "depictqa_quantization_otsu", 5)).tolist() == [0, 85, 170]


def test_equalization_of_all_values_alike_keeps_their_distances() -> None:
    assert np.unique(distort(RAMP, "depictqa_quantization_histogram", 5)).tolist() == [0, 85, 170, 255]


@pytest.mark.parametrize("level", LEVELS)
def test_noises_have_the_published_spread(level: int) -> None:
    def noise(name: str) -> np.ndarray:
        image = np.full((256, 256, 3), 0.5)
        return distort(image, f"depictqa_noise_{name}", level) - image

    rgb, speckle, poisson = (noise(name) for name in ("gaussian_rgb", "speckle", "poisson"))
    sigma = parameter("depictqa_noise_gaussian_rgb", level)
    assert rgb.std() == pytest.approx(sigma, rel=0.05)
    assert speckle.std() == pytest.approx(0.5 * parameter("depictqa_noise_speckle", level), rel=0.02)
    assert poisson.var() == pytest.approx(0.5 / parameter("depictqa_noise_poisson", level), rel=0.03)
    correlated = noise("spatially_correlated")
    assert correlated.std() == pytest.approx(parameter("depictqa_noise_spatially_correlated", level) / 3, rel=0.02)
    neighbours = np.corrcoef(correlated[:, 1:].ravel(), correlated[:, :-1].ravel())[0, 1]
    assert neighbours == pytest.approx(2 / 3, abs=0.02)


def test_the_ycrcb_noise_is_that_strong_in_luma_and_chroma() -> None:
    assert [chroma_sigma(s) / s for s in (0.05, 0.06, 0.07, 0.08, 0.09)] == pytest.approx([1, 1.45, 1.9, 2.35, 2.8])
    grey = np.full((256, 256, 3), 0.5)
    noise = distort(grey, "depictqa_noise_gaussian_ycrcb", 1) - grey
    assert luma(noise).std() == pytest.approx(0.05, rel=0.02)
    assert ((noise[..., 0] - luma(noise)) / 1.402).std() == pytest.approx(0.05, rel=0.02)


def test_impulses_hit_the_published_share() -> None:
    hit = distort(GREY, "depictqa_noise_impulse", 5)
    assert np.mean(hit != 128) == pytest.approx(0.1, rel=0.03) and set(np.unique(hit)) == {0, 128, 255}


@pytest.mark.parametrize("type", ["brighten_gamma_hsv", "brighten_gamma_rgb", "darken_gamma_hsv", "darken_gamma_rgb"])
def test_gamma_raises_a_grey_ramp_to_that_power(type: str) -> None:
    for level in LEVELS:
        expected = np.round(255 * (RAMP / 255) ** parameter(f"depictqa_{type}", level))
        assert np.array_equal(distort(RAMP, f"depictqa_{type}", level), expected)


@pytest.mark.parametrize(("type", "sign"), [("brighten", 1), ("darken", -1)])
def test_shifts_move_rgb_or_the_hsv_value_alone(type: str, sign: int) -> None:
    image = np.random.default_rng(0).uniform(0.35, 0.65, (32, 32, 3))
    assert distort(image, f"depictqa_{type}_rgb", 3) == pytest.approx(image + sign * 0.2)
    moved = distort(image, f"depictqa_{type}_hsv", 3)
    assert moved.max(axis=2) == pytest.approx(image.max(axis=2) + sign * 0.3)
    assert moved.min(axis=2) / moved.max(axis=2) == pytest.approx(image.min(axis=2) / image.max(axis=2))


def test_contrast_is_scaled_about_the_mean_luma() -> None:
    image = np.random.default_rng(0).uniform(0.45, 0.55, (32, 32, 3))
    mean = luma(image).mean()
    for name, factor in (("strengthen", 4), ("weaken", 0.2)):
        assert distort(image, f"depictqa_contrast_{name}_scale", 5) - mean == pytest.approx(factor * (image - mean))


def test_the_stretch_makes_each_channels_mean_one_half() -> None:
    image = np.random.default_rng(0).uniform(0, 1, (32, 32, 3))
    image[0, 0], mean = 0, 0.0
    image[0, 1] = mean = (image.sum(axis=(0, 1)) - image[0, 1]) / (32 * 32 - 1)
    for name, power in (("strengthen", 10), ("weaken", 0.4)):
        distorted = distort(image, f"depictqa_contrast_{name}_stretch", 5)
        assert distorted[0, 1] == pytest.approx(0.5) and distorted[0, 0] == pytest.approx(0)
        assert distorted == pytest.approx(image**power / (image**power + mean**power))


def test_no_saturation_is_the_largest_channel_in_hsv_and_the_luma_in_ycrcb() -> None:
    image = COFFEE / 255
    value = distort(image, "depictqa_saturate_weaken_hsv", 5)
    assert value == pytest.approx(np.repeat(image.max(axis=2, keepdims=True), 3, axis=2))
    assert distort(image, "depictqa_saturate_weaken_ycrcb", 5) == pytest.approx(
        np.repeat(luma(image)[..., None], 3, 2), abs=1e-4
    )


@pytest.mark.parametrize("type", ["depictqa_saturate_strengthen_hsv", "depictqa_saturate_strengthen_ycrcb"])
def test_grey_has_no_saturation_to_strengthen(type: str) -> None:
    assert np.array_equal(distort(RAMP, type, 5), RAMP)


def test_saturation_in_hsv_ends_at_1_with_hue_and_value_kept() -> None:
    image = np.random.default_rng(0).uniform(0.1, 1, (32, 32, 3))
    before, after = rgb2hsv(image), rgb2hsv(distort(image, "depictqa_saturate_strengthen_hsv", 1))
    assert after[..., 1] == pytest.approx(np.minimum(3 * before[..., 1], 1))
    assert after[..., 2] == pytest.approx(before[..., 2]) and after[..., 0] == pytest.approx(before[..., 0])


def test_colour_differences_end_at_one_half() -> None:
    image = np.full((32, 32, 3), (0.1, 0.3, 0.1))
    green = distort(image, "depictqa_saturate_strengthen_ycrcb", 5)[0, 0, 1]
    assert green == pytest.approx(luma(image[0, 0]) + 0.5 * (0.7141 + 0.3441), abs=1e-3)


def test_a_pixelated_block_is_the_mean_of_its_pixels() -> None:
    image = COFFEE[:60, :80]
    blocks = distort(image, "depictqa_pixelate", 5).reshape(12, 5, 16, 5, 3)
    assert (blocks == blocks[:, :1, :, :1]).all()
    assert np.abs(blocks[:, 0, :, 0] - image.reshape(12, 5, 16, 5, 3).mean((1, 3))).max() < 1


@pytest.mark.parametrize("image", [SCENE, COFFEE], ids=["scene", "coffee"])
def test_jpeg_2000_reaches_the_published_psnr(image: np.ndarray) -> None:
    aims = [parameter("depictqa_compression_jpeg2000", level) for level in LEVELS]
    assert psnrs(image, "depictqa_compression_jpeg2000") == pytest.approx(aims, abs=0.6)


def test_scattering_is_the_published_loop() -> None:
    image, shift = np.arange(20 * 24 * 3).reshape(20, 24, 3), 3
    down, right = np.random.default_rng(5).integers(-shift, shift, (2, 17 - 3, 21 - 3))
    expected = image.copy()
    for y in range(17, 3, -1):
        for x in range(21, 3, -1):
            expected[y, x] = expected[y + down[y - 4, x - 4], x + right[y - 4, x - 4]]
    assert np.array_equal(scattered(image, shift, np.random.default_rng(5)), expected)


def test_a_trail_fades_to_one_side() -> None:
    kernel = trail(10, 3, 0.0)
    assert kernel.sum() == pytest.approx(1) and kernel[10, :11].sum() == pytest.approx(1)
    assert kernel[10, 7] / kernel[10, 10] == pytest.approx(np.exp(-0.5))


@pytest.mark.parametrize("type", [kind.name for kind in DEPICTQA_WILD if kind.group in ("blur", "oversharpen", "pixelate")])
def test_blurs_leave_a_flat_image_alone(type: str) -> None:
    assert np.array_equal(distort(GREY[:48, :48], type, 5), GREY[:48, :48])


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize(("sigma", "shift", "rounds"), [(0.7, 1, 1), (0.9, 2, 1), (1.2, 2, 2), (1.4, 3, 2), (1.6, 4, 2)])
def test_a_glass_blurs_scatters_and_blurs(sigma: float, shift: int, rounds: int, scale: int) -> None:
    rng, image = (
        np.random.default_rng(0),
        ndimage.gaussian_filter(COFFEE / 255, (scale * sigma, scale * sigma, 0), mode="nearest"),
    )
    for _ in range(rounds):
        image = scattered(image, scale * shift, rng)
    expected = ndimage.gaussian_filter(image, (scale * sigma, scale * sigma, 0), mode="nearest")
    glass = depictqa_blur_glass(COFFEE / 255, sigma, Setting(np.random.default_rng(0), scale))
    assert glass == pytest.approx(expected)


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize(("radius", "sigma"), [(5, 3), (10, 5), (15, 7), (15, 9), (20, 12)])
def test_a_motion_is_a_trail_of_twice_the_radius(radius: int, sigma: float, scale: int) -> None:
    kernel = trail(2 * scale * radius, scale * sigma, np.random.default_rng(0).uniform(-np.pi / 2, np.pi / 2))
    moved = depictqa_blur_motion(COFFEE / 255, sigma, Setting(np.random.default_rng(0), scale))
    assert moved == pytest.approx(convolve(COFFEE / 255, kernel))


def test_a_lens_spreads_a_point_evenly_over_its_disk() -> None:
    point = np.zeros((33, 33, 3))
    point[16, 16] = 1
    disk = distort(point, "depictqa_blur_lens", 1)[..., 0]
    assert np.sum(disk > 1e-6) == 13 and disk[16, 18] == pytest.approx(1 / 13) and disk[15, 18] == pytest.approx(0)


def test_a_zoom_blurs_the_border_and_keeps_the_centre() -> None:
    dots = np.zeros((65, 65, 3))
    dots[32, 32] = dots[32, 60] = 1
    zoomed = distort(dots, "depictqa_blur_zoom", 5)
    assert zoomed[32, 32, 0] > 0.99 and zoomed[32, 60, 0] < 0.4


def test_oversharpening_adds_so_often_what_a_binomial_blur_takes_away() -> None:
    point = np.full((33, 33, 3), 0.4)
    point[16, 16] = 0.5
    sharp = distort(point, "depictqa_oversharpen", 1)
    assert sharp[16, 16] == pytest.approx(0.5 + 2 * 0.1 * (1 - 36 / 256)) and sharp[16, 18] == pytest.approx(
        0.4 - 2 * 0.1 * 6 / 256
    )
