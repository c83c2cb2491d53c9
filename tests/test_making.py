"""Stimuli made of reference images."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from stimuli.distortions import Options, distort, severity
from stimuli.making import Distorted, Making, Work, build
from stimuli.references import Reference, SceneImage, builtin_references
from stimuli.regions import Region
from stimuli.scenes import scene

IMAGE = scene((1, 0, 5), 64).image
REFERENCE = Reference("a", "scene", SceneImage((1, 0, 5), 64))
SHOWN = [(), (("jpeg", 4),), (("gaussian_blur", 3), ("white_noise", 5))]


def test_a_distorted_image_is_small_until_it_is_looked_at_even_in_another_process() -> None:
    text = pickle.dumps(Distorted(REFERENCE, (("jitter", 5),), Making(3)))
    assert len(text) < 700
    assert np.array_equal(pickle.loads(text)(), distort(IMAGE, "jitter", 5, seed=3, reference="a"))


def test_everything_that_was_done_to_an_image_is_known_of_it() -> None:
    clean, single, both = Work(Making(2)).stimuli(REFERENCE, SHOWN)
    assert (clean.id, clean.type, clean.level, clean.signed_param, clean.psnr, clean.parts) == (
        "a",
        None,
        None,
        None,
        100.0,
        (),
    )
    assert (single.id, single.type, single.level, single.signed_param, single.parts) == ("a+jpeg-4", "jpeg", 4, 7.0, ())
    assert both.id == "a+gaussian_blur-3+white_noise-5" and both.type == "gaussian_blur+white_noise" and both.level is None
    assert both.parts == (("gaussian_blur", 3), ("white_noise", 5)) and both.signed_param is None
    assert (both.psnr, both.ssim) == severity(IMAGE, both.image)


def test_a_mixture_is_one_distortion_after_the_other() -> None:
    both = Work(Making(2)).stimuli(REFERENCE, SHOWN)[2].image
    blurred = distort(IMAGE, "gaussian_blur", 3, seed=2, reference="a")
    assert np.array_equal(both, distort(blurred, "white_noise", 5, seed=2, reference="a"))


def test_outside_its_region_a_local_distortion_leaves_every_pixel() -> None:
    making = Making(2, region=Region("ellipse", seed=2))
    clean, single, both = Work(making).stimuli(REFERENCE, SHOWN)
    assert clean.mask is None and single.mask is not None and both.mask is not None and single.id == "a+jpeg-4@ellipse"
    assert np.array_equal(single.mask, both.mask)  # the same place for all versions of a reference
    whole = distort(IMAGE, "jpeg", 4, seed=2, reference="a")
    assert np.array_equal(single.image[single.mask], whole[single.mask])
    assert np.array_equal(single.image[~single.mask], IMAGE[~single.mask])
    assert pickle.loads(pickle.dumps(single)).mask.tobytes() == single.mask.tobytes()


def test_options_and_the_users_own_measures_arrive() -> None:
    work = Work(
        Making(2, Options(ordering="magnitude")), measures={"worst": lambda a, b: float(np.abs(a.astype(int) - b).max())}
    )
    first, third = work.stimuli(REFERENCE, [(("mean_shift", 1),), (("mean_shift", 3),)])
    assert first.is_identity and first.signed_param == 0 and first.measured == {"worst": 0.0}
    assert not third.is_identity and third.signed_param == -0.08
    assert third.measured == {"worst": float(np.abs(IMAGE.astype(int) - third.image).max())}


@pytest.mark.slow
def test_worker_processes_make_the_same_set() -> None:
    work = Work(Making(4), in_memory=True)
    one, two = (build(builtin_references(3, 0, "exam", 32, False), [SHOWN] * 3, work, workers=n) for n in (1, 2))
    assert [s.metadata() for s in one] == [s.metadata() for s in two]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(one, two, strict=True))


def test_nothing_is_read_when_nothing_is_measured_or_held() -> None:
    def never() -> np.ndarray:
        raise AssertionError("read")

    made = Work(Making(), measure=False).stimuli(replace(REFERENCE, pixels=never), SHOWN)
    assert [s.psnr for s in made] == [None] * 3 and made[0].attributes is made[1].attributes
