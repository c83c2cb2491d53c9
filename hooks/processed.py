"""What a model is shown: the images that its processor made of a file, undone to pixels from 0 to 1.

Normalisation and rescaling are undone, packed patches put back where they stood, padding cut away. No layout is guessed: a ramp,
red from left to right and green from top to bottom, goes through the same processor and must come out as a ramp.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from hooks.packed import ORDERS, Layout, Places, Tiles, array, assembled, packed
from hooks.processor import PIXELS
from hooks.prompt import encode, render
from hooks.ramp import allowed, box, ramp, roughness
from stimuli.errors import InputError

PROBE = (224, 448)
"""Height and width of the ramp that the layout of patches is found with: multiples of patches of 14 and 16 px, and of two of them."""
REJECTED = (ValueError, TypeError, RuntimeError, KeyError, IndexError, AttributeError, NotImplementedError)
"""What processors raise over an image that they do not take."""
_LAYOUTS: WeakKeyDictionary[Any, Layout] = WeakKeyDictionary()
"""What ``_layout`` has found."""


def processed_images(tensors: Mapping[str, Any], image_processor: Any, n: int) -> list[Tiles]:
    """The images in a processor's output, as pixels.

    Args:
        tensors: what the processor, or its image processor, made of ``n`` images.
        image_processor: the image processor, for its mean, standard deviation and scale.
        n: how many images were given.

    Returns:
        Per image its tiles, float32 (h, w, 3), from 0 to 1 but for what resampling overshoots. Tiles of zeros, which fill up a
        batch, are left out, and so is what ``image_sizes`` or a mask of pixels calls padding.

    Raises:
        InputError: no pixels among the tensors, or a layout that cannot be taken apart.
    """
    parts = [[tile for tile in own if tile.any()] for own in _tiles(tensors, image_processor, n)]
    return [[_undone(tile, image_processor) for tile in own] for own in parts]


class Preprocessing:
    """What a processor shows its model of an image, proven on a ramp for every size of image.

    Args:
        processor: an ``Mllm``, a processor, or an image processor alone.
    """

    def __init__(self, processor: Any) -> None:
        self._processor = getattr(processor, "processor", processor)
        self._images = getattr(self._processor, "image_processor", self._processor)
        self._text = [render(self._processor, "What is it?")] if hasattr(self._processor, "tokenizer") else []
        self._boxes: dict[tuple[int, int], list[tuple[slice, slice] | None]] = {}
        self._lock = Lock()  # tokenizers are not safe for several threads

    def __call__(self, image: np.ndarray) -> Tiles:
        """The tiles of one image without any padding.

        Args:
            image: uint8 (H, W, 3).

        Returns:
            float32 (h, w, 3) each, from 0 to 1 but for what resampling overshoots.

        Raises:
            InputError: the processor rejects the image, or what it makes cannot be put back together.
        """
        size = (int(image.shape[0]), int(image.shape[1]))
        if size not in self._boxes:
            self._boxes[size] = self._learnt(size)
        tiles, boxes = self._made(image), self._boxes[size]
        _refuse_fickle(len(tiles), len(boxes))
        return [tile[where] for tile, where in zip(tiles, boxes, strict=True) if where is not None]

    def _made(self, image: np.ndarray) -> Tiles:
        if not self._text:
            tensors = _called(self._images, image)
        else:
            try:
                with self._lock:
                    tensors = encode(self._processor, [image], self._text)
            except REJECTED as error:
                raise _rejected(error, image) from error
        (tiles,) = _tiles(tensors, self._images, 1)
        return [_undone(tile, self._images) for tile in tiles]

    def _learnt(self, size: tuple[int, int]) -> list[tuple[slice, slice] | None]:
        """Where in each tile the image stands; None for a tile that is nothing but padding."""
        rising, falling = self._made(ramp(size)), self._made(255 - ramp(size))
        _refuse_fickle(len(rising), len(falling))
        boxes = [box(a, b) for a, b in zip(rising, falling, strict=True)]
        rough = [roughness(tile[where]) for tile, where in zip(rising, boxes, strict=True) if where is not None]
        if not rough or max(rough) > allowed(size):
            raise InputError(
                f"What {type(self._images).__name__} makes of an image of {size[1]} x {size[0]} px cannot be put back together: a ramp "
                "does not come out as a ramp, or brightness is not kept. Expected resized, cut, padded or packed pixels. Leave this "
                "processor out."
            )
        return boxes


# ---- from tensors to tiles ---------------------------------------------------------------------------------------------


def _undone(tile: np.ndarray, images: Any) -> np.ndarray:
    """Normalisation and scale undone: (h, w, 3) as the model takes it to pixels from 0 to 1."""
    value = tile.astype(np.float32)
    if getattr(images, "do_normalize", False):
        value = value * np.asarray(images.image_std, np.float32) + np.asarray(images.image_mean, np.float32)
    scale = getattr(images, "rescale_factor", None) if getattr(images, "do_rescale", False) else 1.0
    return np.asarray(value / np.float32(255 * (scale or 1 / 255)), np.float32)


def _tiles(tensors: Mapping[str, Any], images: Any, n: int) -> list[Tiles]:
    """Every tile of each image as the model takes it, float (h, w, 3), empty ones among them.

    Raises:
        InputError: as ``processed_images``.
    """
    values = next((array(tensors[name]) for name in PIXELS if name in tensors), None)
    if values is None or values.dtype == object:
        raise InputError(
            f"Got tensors named {', '.join(tensors)}; expected pixels under one of {', '.join(PIXELS)}. Give what an image processor "
            "makes of images."
        )
    found = packed(tensors, values, n)
    if found is not None:
        return assembled(*found, _layout(images))
    if values.ndim in (5, 6) and len(values) == n and values.shape[-3] == 3:
        tiled = values.reshape(n, -1, *values.shape[-3:])
        return [list(own.transpose(0, 2, 3, 1)) for own in tiled]
    if values.ndim == 4 and values.shape[1] == 3:
        tiles = _cut(values, tensors)
        return _with_details(_dealt(tiles, _counts(tensors, len(tiles), n)), tensors)
    raise _unknown(values, n)


def _cut(values: np.ndarray, tensors: Mapping[str, Any]) -> Tiles:
    """Tiles (3, h, w) without what the processor calls padding, by ``image_sizes`` or a mask of pixels."""
    sizes, mask = (array(tensors[name]) if name in tensors else None for name in ("image_sizes", "pixel_mask"))
    if mask is not None and mask.shape == (len(values), *values.shape[2:]):
        sizes = np.stack([mask.any(2).sum(1), mask.any(1).sum(1)], 1)
    if sizes is None or sizes.shape != (len(values), 2) or (sizes > values.shape[2:]).any():
        return list(values)
    return [tile[:, :height, :width] for tile, (height, width) in zip(values, sizes.tolist(), strict=True)]


def _with_details(images: list[Tiles], tensors: Mapping[str, Any]) -> list[Tiles]:
    """Overviews and, behind them, the tiles that some processors hand over in a tensor of their own."""
    if "pixel_values_local" not in tensors:
        return images
    details = list(array(tensors["pixel_values_local"]))
    counts = [len(details)] if len(images) == 1 else array(tensors["num_local_patches"]).tolist()
    return [[*own, *more] for own, more in zip(images, _dealt(details, counts), strict=True)]


def _dealt(tiles: Tiles, counts: Sequence[int]) -> list[Tiles]:
    """Tiles (3, h, w) in a row as the tiles (h, w, 3) of each image."""
    ends = np.cumsum(counts)
    return [[tile.transpose(1, 2, 0) for tile in tiles[a:b]] for a, b in zip([0, *ends], ends, strict=False)]


def _counts(tensors: Mapping[str, Any], total: int, n: int) -> list[int]:
    """How many of so many tiles in a row belong to each image: one each, or as a list of whole numbers among the tensors says."""
    if n in (1, total):
        return [total // n] * n
    for value in tensors.values():
        found = array(value)
        if found.shape == (n,) and found.dtype.kind in "iu":
            for more in (0, 1):  # some count the overview, some do not
                if int(found.sum()) + more * n == total:
                    return [int(count) + more for count in found]
    raise InputError(
        f"Got {total} tiles of {n} images, and nothing says which are whose. Expected one tile per image or counts among the "
        "tensors. Process the images one by one."
    )


def _layout(images: Any) -> Layout:
    """How an image processor lays out its patches: the one way in which a ramp comes out as a ramp.

    Raises:
        InputError: there is none.
    """
    if images not in _LAYOUTS:
        pair = [_patches(images, image) for image in (ramp(PROBE), 255 - ramp(PROBE))]
        merges = dict.fromkeys((int(getattr(images, "merge_size", None) or 1), 1, 2))
        tried = [Layout(order, merge) for order in ORDERS for merge in merges]
        rough = [_rough(*([_undone(assembled(*part, layout)[0][0], images) for part in pair])) for layout in tried]
        if min(rough) > allowed(PROBE):
            raise InputError(
                f"None of the ways in which {type(images).__name__} could pack patches makes an image of a ramp. Expected square patches, "
                "row by row or in square blocks. Leave this processor out."
            )
        _LAYOUTS[images] = tried[int(np.argmin(rough))]
    return _LAYOUTS[images]


def _called(images: Any, image: np.ndarray) -> dict[str, Any]:
    """What an image processor makes of one image; some give a bare tensor."""
    try:
        made = images(images=[image], return_tensors="pt")
    except REJECTED as error:
        raise _rejected(error, image) from error
    return dict(made) if isinstance(made, Mapping) else {PIXELS[0]: made}


def _patches(images: Any, image: np.ndarray) -> tuple[np.ndarray, Places]:
    tensors = _called(images, image)
    values = next(array(tensors[name]) for name in PIXELS if name in tensors)
    found = packed(tensors, values, 1)
    if found is None:
        raise _unknown(values, 1)
    return found


def _rough(rising: np.ndarray, falling: np.ndarray) -> float:
    """Roughness of what is image in a ramp; infinite where nothing is."""
    where = box(rising, falling)
    return float("inf") if where is None else roughness(rising[where])


def _refuse_fickle(tiles: int, expected: int) -> None:
    """Refuse tiles whose number depends on the content: they cannot be compared.

    Raises:
        InputError: the numbers differ.
    """
    if tiles != expected:
        raise InputError(
            f"The processor makes {tiles} and {expected} tiles of two images of the same size; expected the same number. Its tiles "
            "depend on the content, so what it does to a distortion cannot be measured. Leave this processor out."
        )


def _rejected(error: Exception, image: np.ndarray) -> InputError:
    return InputError(
        f"The processor rejects an image of shape {' x '.join(map(str, image.shape))} ({type(error).__name__}: {error}). Expected an "
        "image that it takes: resize or remove it."
    )


def _unknown(values: np.ndarray, n: int) -> InputError:
    return InputError(
        f"Got pixels of shape {' x '.join(map(str, values.shape))} for {n} image(s), a layout that cannot be put back together. Expected "
        "images, tiles, or square patches with their grid, shapes or places. Leave this processor out, or process one image at a time."
    )
