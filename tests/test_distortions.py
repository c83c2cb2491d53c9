"""KADID-10k types at published parameters, and what one may choose about them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stimuli.distortions import LEVELS, TYPES, Options, distort, is_identity, mix, parameter, quality, severity, within
from stimuli.distortions.kadid import KADID10K
from stimuli.errors import InputError
from stimuli.photos import photograph_at
from stimuli.scenes import scene

IMAGE = scene((7, 0, 0), 64).image
LARGE = scene((7, 0, 0), 128).image
KADID = [kind.name for kind in KADID10K]
PSNR = {
    "gaussian_blur": (None, 38.0, 29.5, 25.9, 22.4), "lens_blur": (33.0, 28.3, 25.0, 23.5, 22.5),
    "motion_blur": (None, 39.8, 31.9, 28.5, 25.7), "color_diffusion": (35.0, 16.1, 11.6, 10.5, 9.3),
    "color_shift": (31.8, 29.2, 27.3, 27.1, 26.8), "color_quantization": (30.8, 30.0, 28.5, 25.8, 22.6),
    "color_saturation_1": (19.1, 16.6, 15.6, 14.6, 12.0), "color_saturation_2": (None, 19.7, 15.9, 11.9, 10.6),
    "jpeg2000": (33.5, 30.0, 28.6, 25.6, 22.4), "jpeg": (30.9, 30.4, 29.2, 24.9, 22.5),
    "white_noise": (30.2, 27.3, 25.6, 23.4, 20.6), "white_noise_color_component": (34.4, 27.5, 24.6, 21.7, 20.1),
    "impulse_noise": (34.5, 27.8, 24.8, 21.7, 20.0), "multiplicative_noise": (35.5, 28.6, 25.7, 22.9, 19.1),
    "denoise": (28.1, 24.8, 23.1, 20.7, 19.4), "brighten": (28.7, 22.7, 16.7, 12.0, 9.3),
    "darken": (35.1, 28.9, 23.0, 16.9, 11.2), "mean_shift": (16.9, 22.3, None, 22.6, 17.2),
    "jitter": (38.1, 33.5, 29.7, 26.0, 23.6), "non_eccentricity_patch": (32.7, 30.0, 28.7, 27.2, 26.5),
    "pixelate": (31.6, 28.8, 27.4, 26.1, 23.3), "quantization": (31.2, 28.8, 27.3, 25.1, 22.5),
    "color_block": (28.9, 24.8, 22.3, 21.2, 20.4), "high_sharpen": (26.0, 21.2, 18.7, 15.3, 12.9),
    "contrast_change": (20.2, 23.2, 28.0, 28.0, 22.0),
}  # fmt: skip
"""Mean PSNR in dB over four photographs of 512 x 384 px, measured on a prototype of its own; None where nothing changes."""
LOOSE = {"color_shift": 1.6, "non_eccentricity_patch": 2.5, "color_block": 3.0}
"""Types whose PSNR depends on where chance puts the change, with their tolerance in dB; that of the others is 0.6."""


LONG = ("color_quantization", "denoise")
"""Types that take twenty seconds."""


def psnr(image: np.ndarray, distorted: np.ndarray) -> float:
    """In dB, 100 where nothing changed, as ``severity`` has it, but without the SSIM."""
    error = np.mean((image.astype(float) - distorted) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else 100.0


@pytest.mark.slow
@pytest.mark.parametrize("type", [pytest.param(t, marks=[pytest.mark.heavy] * (t in LONG)) for t in KADID])
def test_the_psnr_of_every_level_is_that_of_an_independent_implementation(type: str) -> None:
    names = ("astronaut", "chelsea", "coffee", "china")
    photographs = {name: photograph_at(name, 384, 512) for name in names}
    for level, expected in zip(LEVELS, PSNR[type], strict=True):
        found = [psnr(image, distort(image, type, level, reference=name)) for name, image in photographs.items()]
        assert np.mean(found) == pytest.approx(100.0 if expected is None else expected, abs=LOOSE.get(type, 0.6)), level


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(KADID), st.integers(1, 5), st.integers(32, 75), st.integers(32, 75), st.integers(0, 3),
    st.sampled_from((np.uint8, np.float32, np.float64)), st.sampled_from((Options(), Options(True, True, "magnitude", True))),
)  # fmt: skip
def test_any_image_keeps_shape_dtype_range_and_itself(
    type: str, level: int, height: int, width: int, seed: int, kind: type, options: Options
) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    image[: height // 2] = image[0, 0] if seed % 2 else image[: height // 2]  # flat parts too
    image = image if kind is np.uint8 else (image / 255).astype(kind)
    before = image.copy()
    found = distort(image, type, level, seed=seed, reference="a", options=options)
    assert found.shape == image.shape and found.dtype == image.dtype and np.array_equal(image, before)
    assert found.min() >= 0 and found.max() <= (255 if kind is np.uint8 else 1) and np.isfinite(found).all()
    assert np.array_equal(found, distort(image, type, level, seed=seed, reference="a", options=options))
    assert not np.shares_memory(found, image)


@pytest.mark.parametrize("type", KADID)
@pytest.mark.parametrize("value", [0, 77, 255])
def test_a_flat_image_is_no_trouble(type: str, value: int) -> None:
    flat = np.full((33, 40, 3), value, np.uint8)
    assert distort(flat, type, 5).shape == flat.shape
    if TYPES[type].group == "blur" or type in ("quantization", "pixelate", "high_sharpen", "jitter", "non_eccentricity_patch"):
        assert np.abs(distort(flat, type, 5).astype(int) - value).max() <= 1


@pytest.mark.parametrize("type", KADID)
def test_floats_and_bytes_are_distorted_alike(type: str) -> None:
    whole, part = distort(IMAGE, type, 3), distort(IMAGE / 255.0, type, 3)
    assert np.abs(whole / 255.0 - part).max() <= 0.5 / 255 + 1e-9


@pytest.mark.parametrize("type", KADID)
def test_identity_levels_are_exactly_those_declared(type: str) -> None:
    unchanged = tuple(level for level in LEVELS if np.array_equal(distort(IMAGE, type, level), IMAGE))
    assert unchanged == TYPES[type].identities


SIGNED = {"mean_shift", "contrast_change"}


@pytest.mark.parametrize("type", sorted(set(KADID) - SIGNED))
def test_every_type_but_the_signed_ones_grows_more_severe_level_by_level(type: str) -> None:
    options = Options(nested_noise=True)  # one draw for all levels: where chance puts a block is no severity
    values = [severity(LARGE, distort(LARGE, type, level, reference="m", options=options))[0] for level in LEVELS]
    least = 0.0 if type != "color_shift" else -0.5  # beyond the width of edges, a further shift changes little
    assert all(high - low > least for high, low in zip(values, values[1:], strict=False)), values


@pytest.mark.parametrize("type", sorted(SIGNED))
def test_signed_types_are_mildest_in_the_middle_unless_ordered_by_magnitude(type: str) -> None:
    def of(level: int, options: Options) -> float:
        return severity(LARGE, distort(LARGE, type, level, options=options))[0]

    published = [of(level, Options()) for level in LEVELS]
    assert published[0] < published[1] < published[2] >= published[3] > published[4]
    ordered = [of(level, Options(ordering="magnitude")) for level in LEVELS]
    assert sorted(ordered) == sorted(published) and ordered[0] == max(published) and ordered[-1] == min(published)
    assert [TYPES[t].neutral is not None for t in KADID] == [t in SIGNED for t in KADID]


def test_the_orderings_of_the_signed_types() -> None:
    magnitude = Options(ordering="magnitude")
    assert [parameter("mean_shift", level, magnitude) for level in LEVELS] == [0, 0.08, -0.08, 0.15, -0.15]
    assert [parameter("contrast_change", level, magnitude) for level in LEVELS] == [0, -0.4, 0.15, -0.6, 0.3]
    assert is_identity("mean_shift", 1, magnitude) and not is_identity("mean_shift", 3, magnitude)
    assert [parameter("jpeg", level, magnitude) for level in LEVELS] == [43, 36, 24, 7, 4]
    with pytest.raises(InputError, match="Unknown ordering 'size'. Expected 'published' or 'magnitude'"):
        Options(ordering="size")  # type: ignore[arg-type]


def test_nested_noise_is_one_draw_scaled() -> None:
    grey = np.full((64, 64, 3), 0.5)
    noise = [distort(grey, "white_noise", level, options=Options(nested_noise=True)) - grey for level in (1, 5)]
    assert np.allclose(noise[1], noise[0] * np.sqrt(10))
    hit = [distort(grey, "impulse_noise", level, options=Options(nested_noise=True)) != grey for level in (1, 5)]
    assert hit[0].any() and not (hit[0] & ~hit[1]).any()
    apart = [distort(grey, "white_noise", level) - grey for level in (1, 5)]
    assert abs(np.corrcoef(apart[0].ravel(), apart[1].ravel())[0, 1]) < 0.05


def test_the_stretch_of_the_public_generator_partly_undoes_a_mean_shift() -> None:
    mid = (LARGE / 255.0) * 0.5 + 0.2
    stretched = distort(mid, "mean_shift", 5, options=Options(stretch=True))
    assert stretched.min() == 0 and stretched.max() == 1
    full = (mid - mid.min()) / np.ptp(mid)
    errors = [np.sqrt(np.mean((found - full) ** 2)) for found in (stretched, distort(full, "mean_shift", 5))]
    assert errors[0] < 0.75 * errors[1]
    assert not is_identity("mean_shift", 3, Options(stretch=True))


def test_lengths_grow_with_the_image_where_that_is_wanted() -> None:
    large = np.kron(LARGE, np.ones((6, 6, 1), np.uint8))  # 768 px: twice the published 384
    scaled = distort(large, "gaussian_blur", 4, options=Options(scale=True))
    assert np.abs(scaled.astype(int) - distort(large, "gaussian_blur", 4)).max() > 10
    flat = np.full((768, 768, 3), 128, np.uint8)
    changed = [(distort(flat, "color_block", 1, options=Options(scale=on)) != 128).any(2).sum() for on in (False, True)]
    assert changed == [2 * 32 * 32, 2 * 64 * 64]
    for type in KADID:  # no length in px: nothing to scale
        if not TYPES[type].spatial:
            assert np.array_equal(distort(IMAGE, type, 4, options=Options(scale=True)), distort(IMAGE, type, 4)), type


def test_the_users_denoiser_stands_for_dncnn() -> None:
    told: list[float] = []

    def keep(noisy: np.ndarray, sigma: float) -> np.ndarray:
        told.append(sigma)
        return noisy

    noisy = distort(LARGE, "denoise", 3, options=Options(denoiser=keep))
    assert told == [pytest.approx(np.sqrt(0.05))]
    assert np.var(noisy / 255.0 - LARGE / 255.0) == pytest.approx(0.05, rel=0.3)  # clipped to the range
    assert severity(LARGE, distort(LARGE, "denoise", 3))[0] > severity(LARGE, noisy)[0] + 3
    assert Options(denoiser=keep).describe() == {"denoiser": "keep"}


def test_quantization_leaves_one_value_more_than_thresholds() -> None:
    for level, thresholds in zip(LEVELS, (20, 16, 13, 10, 7), strict=True):
        values = np.unique(distort(LARGE, "quantization", level))
        assert len(values) == thresholds + 1 and values[0] == 0 and values[-1] == 255


def test_color_quantization_leaves_so_many_colours() -> None:
    for level, colours in zip(LEVELS, (64, 48, 32, 16, 8), strict=True):
        found = len(np.unique(distort(LARGE, "color_quantization", level).reshape(-1, 3), axis=0))
        assert 0.9 * colours <= found <= colours


def test_pixelated_images_repeat_rows_and_columns() -> None:
    found = distort(LARGE, "pixelate", 5)
    assert len(np.unique(found.reshape(128, -1), axis=0)) == round(128 * (0.95 - 0.5**0.6))


def test_patches_come_from_near_by() -> None:
    ramp = np.zeros((96, 96, 3), np.uint8)
    ramp[..., 0], ramp[..., 1] = np.arange(96)[:, None], np.arange(96)[None]
    found = distort(ramp, "non_eccentricity_patch", 1).astype(int)
    assert 8 < np.abs(found - ramp).max() <= 3 * 8  # one patch may be moved again by another
    assert 0.3 < (found != ramp).any(2).mean() < 0.6


def test_color_shift_moves_green_alone_and_most_at_edges() -> None:
    found = distort(LARGE, "color_shift", 4, reference="x")
    assert np.array_equal(found[..., 0], LARGE[..., 0]) and np.array_equal(found[..., 2], LARGE[..., 2])
    assert not np.array_equal(found[..., 1], LARGE[..., 1])


def test_a_mask_keeps_what_is_outside_and_sizes_must_agree() -> None:
    mask = np.zeros((64, 64), bool)
    mask[10:30, 5:50] = True
    noisy = distort(IMAGE, "white_noise", 5)
    found = within(IMAGE, noisy, mask)
    assert np.array_equal(found[mask], noisy[mask]) and np.array_equal(found[~mask], IMAGE[~mask])
    with pytest.raises(InputError, match=r"a mask of \(32, 64\); expected"):
        within(IMAGE, noisy, mask[:32])


def test_a_mixture_is_applied_in_order() -> None:
    parts = (("jpeg", 5), ("gaussian_blur", 4))
    assert np.array_equal(mix(IMAGE, parts), distort(distort(IMAGE, "jpeg", 5), "gaussian_blur", 4))
    assert not np.array_equal(mix(IMAGE, parts), mix(IMAGE, parts[::-1]))
    with pytest.raises(InputError, match="mixture of no distortions"):
        mix(IMAGE, ())


def test_mean_shift_is_signed_and_mildest_in_the_middle() -> None:
    grey = np.full((32, 32, 3), 128, np.uint8)
    means = [distort(grey, "mean_shift", level).mean() for level in LEVELS]
    assert means == sorted(means, reverse=True) and means[2] == 128


@pytest.mark.parametrize("type", ["jitter", "white_noise", "impulse_noise", "multiplicative_noise", "motion_blur"])
def test_random_types_depend_on_seed_and_reference(type: str) -> None:
    base = distort(IMAGE, type, 4, seed=0, reference="a")
    assert not np.array_equal(base, distort(IMAGE, type, 4, seed=1, reference="a"))
    assert not np.array_equal(base, distort(IMAGE, type, 4, seed=0, reference="b"))


@pytest.mark.parametrize("level", LEVELS)
def test_white_noise_has_the_published_variance(level: int) -> None:
    grey = np.full((256, 256, 3), 128, np.uint8)
    noise = distort(grey, "white_noise", level) / 255.0 - 128 / 255
    assert np.var(noise) == pytest.approx(parameter("white_noise", level), rel=0.03)


@pytest.mark.parametrize("level", LEVELS)
def test_multiplicative_noise_has_the_published_variance(level: int) -> None:
    grey = np.full((256, 256, 3), 128, np.uint8)
    noise = distort(grey, "multiplicative_noise", level) / 128.0 - 1
    assert np.var(noise) == pytest.approx(parameter("multiplicative_noise", level), rel=0.05)


def test_impulse_noise_hits_the_published_share() -> None:
    grey = np.full((256, 256, 3), 128, np.uint8)
    assert np.mean(distort(grey, "impulse_noise", 5) != 128) == pytest.approx(0.03, rel=0.05)


@pytest.mark.parametrize("type", ["gaussian_blur", "lens_blur", "motion_blur", "jitter"])
def test_spatial_types_leave_a_flat_image_alone(type: str) -> None:
    grey = np.full((48, 48, 3), 77, np.uint8)
    assert np.array_equal(distort(grey, type, 5), grey)


def test_zero_saturation_is_grey() -> None:
    grey = distort(IMAGE, "color_saturation_1", 4)
    assert np.array_equal(grey[..., 0], grey[..., 1]) and np.array_equal(grey[..., 1], grey[..., 2])


def test_severity_of_identical_images_is_100_db_and_1() -> None:
    assert severity(IMAGE, IMAGE) == (100.0, 1.0)


def test_quality_words_follow_psnr() -> None:
    assert [quality(p) for p in (100, 32, 27, 22, 18, 10)] == ["excellent", "excellent", "good", "fair", "poor", "bad"]


def test_unknown_type_level_and_image_are_refused_in_words() -> None:
    with pytest.raises(InputError, match="Unknown distortion type 'fog'. Known types: gaussian_blur"):
        distort(IMAGE, "fog", 1)
    with pytest.raises(InputError, match="level 6 does not exist; there are the levels 1 to 5"):
        distort(IMAGE, "jpeg", 6)
    with pytest.raises(InputError, match=r"dtype int64 and shape \(64, 64, 3\); expected uint8, or float from 0 to 1"):
        distort(IMAGE.astype(int), "jpeg", 1)
    with pytest.raises(InputError, match=r"shape \(64, 64\)"):
        distort(IMAGE[..., 0], "jpeg", 1, options=Options(scale=True))
    for wrong in (IMAGE.astype(float), np.where(IMAGE > 250, np.nan, IMAGE / 255.0)):
        with pytest.raises(InputError, match="expected finite values from 0 to 1"):
            distort(wrong, "jpeg", 1)
