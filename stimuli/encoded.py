"""Images inside of other files: as bytes, and as base64 text in a table, decoded when they are looked at and within limits."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np

from stimuli.errors import InputError
from stimuli.images import FORMATS, decoded

TEXT = 64 * 1024**2
"""Most characters of an image as base64 (48 MB of file)."""
PIXELS = 64_000_000
"""Most pixels of an image from inside of a file, which may come from anyone."""


@dataclass(frozen=True)
class Encoded:
    """An image as base64 text at a place of a file: small to send to a worker, and read only when called."""

    file: Path
    start: int
    """Of the text, in bytes."""
    length: int
    name: str
    """As errors name it."""

    def __call__(self) -> np.ndarray:
        """The image as uint8 (H, W, 3).

        Raises:
            InputError: the file is missing or has changed, or there is no image at its place.
        """
        try:
            with open(self.file, "rb") as handle:
                handle.seek(self.start)
                text = handle.read(self.length)
        except OSError as error:
            raise InputError(
                f"{self.name} cannot be read ({error}). Expected the table as it was when it was opened."
            ) from error
        return from_base64(text, self.name)


def from_base64(text: bytes, name: str) -> np.ndarray:
    """An image from base64 text (RFC 4648), as uint8 (H, W, 3).

    Raises:
        InputError: something else, or an image that is too large.
    """
    if len(text) > TEXT:
        raise InputError(
            f"The image of {name} has {len(text)} characters of base64; expected at most {TEXT}. Save it as a file."
        )
    try:
        return from_bytes(base64.b64decode(text, validate=True), name)
    except binascii.Error as error:
        raise InputError(
            f"The image of {name} is not base64 ({error}). Expected an image file as base64. Write it again."
        ) from error


def from_bytes(content: bytes, name: str) -> np.ndarray:
    """The image in a file's bytes as uint8 (H, W, 3), converted as ``stimuli.images.read_image`` does.

    Raises:
        InputError: no image of `stimuli.images.FORMATS`, one that is cut off, or one of more than `PIXELS`.
    """
    try:
        return decoded(BytesIO(content), PIXELS)
    except Exception as error:  # decoders raise many kinds for broken files
        raise InputError(
            f"The image of {name} cannot be read ({error}). Expected a complete {', '.join(FORMATS)} of at most {PIXELS} pixels. Replace it."
        ) from error
