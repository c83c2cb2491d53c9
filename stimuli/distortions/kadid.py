"""The 25 types of KADID-10k at the parameters of its public generator (Lin, Hosu and Saupe, QoMEX 2019)."""

from __future__ import annotations

from stimuli.distortions import blur, brightness, color, compression, noise, spatial
from stimuli.distortions.kinds import Distortion

KADID10K: tuple[Distortion, ...] = (
    Distortion(1, "blur", blur.gaussian_blur, (0.1, 0.5, 1, 2, 5), (1,), spatial=True),
    Distortion(2, "blur", blur.lens_blur, (1, 2, 4, 6, 8), spatial=True),
    Distortion(3, "blur", blur.motion_blur, (1, 2, 4, 6, 10), (1,), random=True, spatial=True),
    Distortion(4, "color", color.color_diffusion, (1, 3, 6, 8, 12), spatial=True),
    Distortion(5, "color", color.color_shift, (1, 3, 6, 8, 12), random=True, spatial=True),
    Distortion(6, "color", color.color_quantization, (64, 48, 32, 16, 8)),
    Distortion(7, "color", color.color_saturation_1, (0.4, 0.2, 0.1, 0, -0.4)),
    Distortion(8, "color", color.color_saturation_2, (1, 2, 3, 6, 9), (1,)),
    Distortion(9, "compression", compression.jpeg2000, (16, 32, 45, 120, 400)),
    Distortion(10, "compression", compression.jpeg, (43, 36, 24, 7, 4)),
    Distortion(11, "noise", noise.white_noise, (0.001, 0.002, 0.003, 0.005, 0.01), random=True),
    Distortion(12, "noise", noise.white_noise_color_component, (0.0001, 0.0005, 0.001, 0.002, 0.003), random=True),
    Distortion(13, "noise", noise.impulse_noise, (0.001, 0.005, 0.01, 0.02, 0.03), random=True),
    Distortion(14, "noise", noise.multiplicative_noise, (0.001, 0.005, 0.01, 0.02, 0.05), random=True),
    Distortion(15, "noise", noise.denoise, (0.01, 0.03, 0.05, 0.1, 0.15), random=True, stand_in="non-local means"),
    Distortion(16, "brightness", brightness.brighten, (0.1, 0.2, 0.4, 0.7, 1.1)),
    Distortion(17, "brightness", brightness.darken, (0.05, 0.1, 0.2, 0.4, 0.8)),
    Distortion(18, "brightness", brightness.mean_shift, (0.15, 0.08, 0, -0.08, -0.15), (3,), neutral=0),
    Distortion(19, "spatial", spatial.jitter, (0.05, 0.1, 0.2, 0.5, 1), random=True, spatial=True),
    Distortion(20, "spatial", spatial.non_eccentricity_patch, (20, 40, 60, 80, 100), random=True, spatial=True),
    Distortion(21, "spatial", spatial.pixelate, (0.01, 0.05, 0.1, 0.2, 0.5)),
    Distortion(22, "spatial", spatial.quantization, (20, 16, 13, 10, 7)),
    Distortion(23, "spatial", spatial.color_block, (2, 4, 6, 8, 10), random=True, spatial=True),
    Distortion(24, "sharpness", spatial.high_sharpen, (1, 2, 3, 6, 12), spatial=True),
    Distortion(25, "contrast", brightness.contrast_change, (0.3, 0.15, 0, -0.4, -0.6), neutral=-0.2),
)
"""Level 3 of contrast change has the published parameter 0 and still changes the image: its spline moves 0.3 to 0.25."""
