"""KADID-10k's codecs: JPEG 2000 and JPEG."""

from __future__ import annotations

import numpy as np

from stimuli.distortions.kinds import Setting
from stimuli.operations import through_codec


def jpeg2000(image: np.ndarray, ratio: float, setting: Setting) -> np.ndarray:
    """JPEG 2000 (irreversible 9/7) at a compression ratio (KADID 9)."""
    return through_codec(image, format="JPEG2000", quality_mode="rates", quality_layers=[float(ratio)], irreversible=True)


def jpeg(image: np.ndarray, quality: float, setting: Setting) -> np.ndarray:
    """Baseline JPEG at a libjpeg quality, 4:2:0 (KADID 10)."""
    return through_codec(image, format="JPEG", quality=int(quality))
