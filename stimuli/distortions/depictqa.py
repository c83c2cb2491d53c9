"""The 35 types of DepictQA-Wild at the parameters of its public generator (You et al. 2024, arXiv 2405.18842).

Everything is computed in floats and rounded once; the generator (XPixelGroup/DepictQA on GitHub) goes through 8 bits within
many types and truncates. Other differences, per type: ``docs/distortions.md``. The names begin with ``depictqa`` because many
types are KADID-10k's at other parameters.
"""

from __future__ import annotations

from stimuli.distortions import depictqa_blur as blur
from stimuli.distortions import depictqa_compression as compression
from stimuli.distortions import depictqa_noise as noise
from stimuli.distortions import depictqa_tone as tone
from stimuli.distortions.kinds import Apply, Distortion

Levels = tuple[float, float, float, float, float]


def _type(number: int, group: str, apply: Apply, levels: Levels, *, random: bool = False, spatial: bool = False) -> Distortion:
    return Distortion(number, group, apply, levels, random=random, spatial=spatial, family="depictqa")


DEPICTQA_WILD: tuple[Distortion, ...] = (
    _type(101, "blur", blur.depictqa_blur_gaussian, (1, 2, 3, 4, 5), spatial=True),
    _type(102, "blur", blur.depictqa_blur_motion, (3, 5, 7, 9, 12), random=True, spatial=True),
    _type(103, "blur", blur.depictqa_blur_glass, (0.7, 0.9, 1.2, 1.4, 1.6), random=True, spatial=True),
    _type(104, "blur", blur.depictqa_blur_lens, (2, 3, 4, 6, 8), spatial=True),
    _type(105, "blur", blur.depictqa_blur_zoom, (1.03, 1.06, 1.1, 1.15, 1.21)),
    _type(106, "blur", blur.depictqa_blur_jitter, (1, 2, 3, 4, 5), random=True, spatial=True),
    _type(107, "noise", noise.depictqa_noise_gaussian_rgb, (0.05, 0.1, 0.15, 0.2, 0.25), random=True),
    _type(108, "noise", noise.depictqa_noise_gaussian_ycrcb, (0.05, 0.06, 0.07, 0.08, 0.09), random=True),
    _type(109, "noise", noise.depictqa_noise_speckle, (0.14, 0.21, 0.28, 0.35, 0.42), random=True),
    _type(110, "noise", noise.depictqa_noise_spatially_correlated, (0.08, 0.11, 0.14, 0.18, 0.22), random=True, spatial=True),
    _type(111, "noise", noise.depictqa_noise_poisson, (80, 60, 40, 25, 15), random=True),
    _type(112, "noise", noise.depictqa_noise_impulse, (0.01, 0.03, 0.05, 0.07, 0.1), random=True),
    _type(113, "compression", compression.depictqa_compression_jpeg, (25, 18, 12, 8, 5)),
    _type(114, "compression", compression.depictqa_compression_jpeg2000, (29, 27.5, 26, 24.5, 23)),
    _type(115, "brighten", tone.depictqa_brighten_hsv, (0.1, 0.2, 0.3, 0.4, 0.5)),
    _type(116, "brighten", tone.depictqa_brighten_rgb, (0.1, 0.15, 0.2, 0.27, 0.35)),
    _type(117, "brighten", tone.depictqa_brighten_gamma_hsv, (0.7, 0.58, 0.47, 0.36, 0.25)),
    _type(118, "brighten", tone.depictqa_brighten_gamma_rgb, (0.8, 0.7, 0.6, 0.45, 0.3)),
    _type(119, "darken", tone.depictqa_darken_hsv, (0.1, 0.2, 0.3, 0.4, 0.5)),
    _type(120, "darken", tone.depictqa_darken_rgb, (0.1, 0.15, 0.2, 0.27, 0.35)),
    _type(121, "darken", tone.depictqa_darken_gamma_hsv, (1.5, 1.8, 2.2, 2.7, 3.5)),
    _type(122, "darken", tone.depictqa_darken_gamma_rgb, (1.4, 1.7, 2.1, 2.6, 3.2)),
    _type(123, "contrast_strengthen", tone.depictqa_contrast_strengthen_scale, (1.4, 1.7, 2.1, 2.6, 4)),
    _type(124, "contrast_strengthen", tone.depictqa_contrast_strengthen_stretch, (2, 4, 6, 8, 10)),
    _type(125, "contrast_weaken", tone.depictqa_contrast_weaken_scale, (0.75, 0.6, 0.45, 0.3, 0.2)),
    _type(126, "contrast_weaken", tone.depictqa_contrast_weaken_stretch, (1, 0.9, 0.8, 0.6, 0.4)),
    _type(127, "saturate_strengthen", tone.depictqa_saturate_strengthen_hsv, (3, 6, 12, 20, 64)),
    _type(128, "saturate_strengthen", tone.depictqa_saturate_strengthen_ycrcb, (2, 3, 5, 8, 16)),
    _type(129, "saturate_weaken", tone.depictqa_saturate_weaken_hsv, (0.7, 0.55, 0.4, 0.2, 0)),
    _type(130, "saturate_weaken", tone.depictqa_saturate_weaken_ycrcb, (0.6, 0.4, 0.2, 0.1, 0)),
    _type(131, "oversharpen", blur.depictqa_oversharpen, (2, 2.8, 4, 6, 8), spatial=True),
    _type(132, "pixelate", compression.depictqa_pixelate, (0.5, 0.4, 0.3, 0.25, 0.2)),
    _type(133, "quantization", compression.depictqa_quantization_otsu, (15, 11, 8, 5, 3)),
    _type(134, "quantization", compression.depictqa_quantization_mediancut, (20, 15, 10, 6, 3)),
    _type(135, "quantization", compression.depictqa_quantization_histogram, (24, 16, 8, 6, 4)),
)
