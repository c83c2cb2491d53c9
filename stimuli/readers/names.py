"""What the datasets call their distortions, and what Snellen calls them: KADID-10k's names wherever the kind is the same."""

from __future__ import annotations

KADID10K = (
    "gaussian_blur", "lens_blur", "motion_blur", "color_diffusion", "color_shift", "color_quantization", "color_saturation_1",
    "color_saturation_2", "jpeg2000", "jpeg", "white_noise", "white_noise_color_component", "impulse_noise",
    "multiplicative_noise", "denoise", "brighten", "darken", "mean_shift", "jitter", "non_eccentricity_patch", "pixelate",
    "quantization", "color_block", "high_sharpen", "contrast_change",
)  # fmt: skip
"""KADID-10k's types 1 to 25 (Lin, Hosu and Saupe 2019)."""

TID2013 = (
    "white_noise", "additive_color_noise", "spatially_correlated_noise", "masked_noise", "high_frequency_noise",
    "impulse_noise", "quantization_noise", "gaussian_blur", "image_denoising", "jpeg", "jpeg2000", "jpeg_transmission_errors",
    "jpeg2000_transmission_errors", "non_eccentricity_patch", "local_blockwise_distortion", "mean_shift", "contrast_change",
    "color_saturation_change", "multiplicative_noise", "comfort_noise", "lossy_compression_of_noisy_images",
    "color_quantization", "chromatic_aberration", "sparse_sampling",
)  # fmt: skip
"""TID2013's types 1 to 24 (Ponomarenko et al. 2015)."""

CSIQ = {
    "AWGN": "white_noise",
    "BLUR": "gaussian_blur",
    "contrast": "contrast_decrement",
    "fnoise": "pink_noise",
    "JPEG": "jpeg",
    "jpeg2000": "jpeg2000",
}
"""By the token in CSIQ's file names (Larson and Chandler 2010)."""

LIVE = {
    "jp2k": "jpeg2000",
    "jpeg": "jpeg",
    "wn": "white_noise",
    "gblur": "gaussian_blur",
    "fastfading": "fast_fading",
}
"""By the folder of LIVE release 2 (Sheikh, Sabir and Bovik 2006), in the order of its arrays."""

PIPAL = tuple(f"pipal_{group:02d}" for group in range(7))
"""PIPAL's groups 00 to 06 (Gu et al. 2020); what a subtype within a group is, its labels do not say."""

AUTHENTIC = "authentic"
"""A photograph with whatever distortions it was taken with: KonIQ-10k and SPAQ."""

DATASET_TYPES = tuple(dict.fromkeys((*KADID10K, *TID2013, *CSIQ.values(), *LIVE.values(), *PIPAL, AUTHENTIC)))
"""Every type name that a reader may give a stimulus."""
