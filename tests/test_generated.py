"""Sets whose distortions Snellen makes: local ones, mixtures, options. The plain ones: ``test_sets``."""

from collections import Counter

import numpy as np
import pytest

from stimuli.distortions import Options
from stimuli.errors import InputError
from stimuli.generated import MIXED, distorted_set, exam_set, mixed_set
from stimuli.regions import Region
from stimuli.scenes import scene

OWN = {f"mine-{i}": scene((9, 0, i), 48).image for i in range(4)}


@pytest.mark.parametrize("kind", ["box", "ellipse", "segment", "any"])
def test_a_local_set_has_the_mask_of_every_distorted_image(kind: str) -> None:
    shown = distorted_set(OWN, levels=(5,), region=kind)  # type: ignore[arg-type]
    for stimulus in shown:
        changed = (stimulus.image != OWN[stimulus.reference]).any(2)
        if stimulus.type is None:
            assert stimulus.mask is None and not changed.any()
        else:
            assert stimulus.mask is not None and changed.any() and not (changed & ~stimulus.mask).any()
    assert len({s.mask.tobytes() for s in shown if s.mask is not None}) == len(OWN)
    assert shown.info["region"] == {"kind": kind, "share": [0.1, 0.4], "seed": 0}


def test_a_region_can_be_given_whole() -> None:
    small = exam_set(2, levels=(5,), size=64, region=Region("box", (0.05, 0.05), seed=3), measure=False)
    assert all(s.mask is None or abs(s.mask.mean() - 0.05) < 0.02 for s in small)


def test_a_mixture_comes_with_its_parts_alone_and_the_clean_image() -> None:
    shown = mixed_set(30, size=32, measure=False)
    assert len(shown) == 120 and Counter(len(s.parts) for s in shown) == {0: 90, 2: 30}
    for i in range(0, 120, 4):
        clean, first, second, both = shown[i : i + 4]
        assert clean.type is None and both.type == f"{first.type}+{second.type}" and both.level == first.level == second.level
        assert both.parts == ((first.type, first.level), (second.type, second.level))
    pairs = {s.type for s in shown if s.parts}
    assert len(pairs) == len(MIXED) * (len(MIXED) - 1) // 2  # all of them, in turns
    with pytest.raises(InputError, match="Unknown distortion type 'fog'"):
        mixed_set(2, [("fog", "jpeg")])
    with pytest.raises(InputError, match="no mixtures or no levels"):
        mixed_set(2, levels=())


def test_the_users_own_images_can_be_mixed() -> None:
    shown = mixed_set(OWN, [("jpeg", "white_noise")], levels=(4,))
    assert shown.references == tuple(OWN) and np.array_equal(shown[0].image, OWN["mine-0"])
    assert all((s.psnr or 0) < 40 for s in shown if s.type) and shown.name == "mixtures"


def test_options_reach_every_image_and_the_sets_description() -> None:
    plain, nested = (distorted_set(OWN, levels=(3,), options=o) for o in (Options(), Options(nested_noise=True)))
    differ = {a.type for a, b in zip(plain, nested, strict=True) if not np.array_equal(a.image, b.image)}
    assert differ and differ <= {"white_noise", "white_noise_color_component", "impulse_noise", "multiplicative_noise", "jitter",
                                 "motion_blur"}  # fmt: skip
    assert "options" not in plain.info and nested.info["options"] == {"nested_noise": True}
    ordered = exam_set(3, levels=(1,), size=32, design="crossed", options=Options(ordering="magnitude"), measure=False)
    assert not any(s.type == "mean_shift" for s in ordered)  # its first level by magnitude is the identity


def test_a_stand_in_is_told_unless_the_user_has_a_denoiser() -> None:
    def keep(noisy: np.ndarray, sigma: float) -> np.ndarray:
        return noisy

    told = [
        distorted_set(OWN, "kadid25", levels=(4,), options=o, measure=False).info for o in (Options(), Options(denoiser=keep))
    ]
    assert told[0]["stand_ins"] == {"denoise": "non-local means"} and "stand_ins" not in told[1]
    assert told[1]["options"] == {"denoiser": "keep"} and "stand_ins" not in distorted_set(OWN, measure=False).info


def test_leaves_stand_in_for_scenes() -> None:
    shown = exam_set(4, levels=(5,), size=64, kind="leaves", photographs=False, measure=False)
    train = exam_set(4, levels=(5,), size=64, kind="leaves", photographs=False, measure=False, split="train")
    assert {s.source for s in shown} == {"leaves"} and not shown[0].attributes and shown.info["kind"] == "leaves"
    assert not {s.image.tobytes() for s in shown} & {s.image.tobytes() for s in train}
