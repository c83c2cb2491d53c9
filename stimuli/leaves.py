"""Dead leaves: procedural reference images with the statistics of photographs, of any size.

Opaque shapes of random place, colour and size occlude one another, their sizes drawn from p(r) ∝ r⁻³ (Lee, Mumford and Huang
2001); this alone gives the power spectrum of about 1/f² and the heavy-tailed gradients of photographs. Here the shapes are
discs, ellipses, lobed shapes and polygons, each has a light of its own and a grain of its own, colours gather around a few
tints, and a slow 1/f shading lies over all. The canvas is drawn twice as large and averaged down, so that edges are
anti-aliased. The statistics are measured by ``stimuli.naturalness``.

The images show nothing: they are made to be distorted, and say nothing about how a model handles content.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from stimuli.errors import InputError
from stimuli.textures import levelled, one_over_f

SUPERSAMPLING = 2
SIDES = (16, 4096)
"""The shortest and the longest side of an image, in px."""
SMALLEST, LARGEST = (1.6, 4.0), 0.45
"""Limits of a leaf's radius: px of the image (drawn once per image), and share of its shorter side."""
COVER = 3.0
"""The area of all leaves over that of the canvas; what they leave bare, about 5 %, is ground: it belongs to the lowest leaf."""
MARGIN = 0.1
"""How far beyond the canvas leaves are scattered, as a share of its sides."""
POINTS = 20
"""Corners of the polygon that stands for a round leaf."""
CAST = (11.0, 20.0)
"""An image's cast lies on an ellipse around grey: limits of its half axis along b*; that along a* is 0.6 of it."""
TINT = (15.0, 15.5)
"""Standard deviations of a* and b* of an image's tints around its cast."""
STRONGEST = 70.0
"""No hue goes beyond this a* or b*: darker colours than the strongest of sRGB would not exist."""
GRAIN = 512
"""Side of the tile that the leaves' grain is cut from, px of the canvas."""


@dataclass(frozen=True)
class _Leaves:
    """The leaves of one image, the lowest first."""

    centres: np.ndarray
    """Float, shape (n, 2): x and y, px of the canvas."""
    radii: np.ndarray
    """Float, shape (n,), px of the canvas."""


def dead_leaves(seed: tuple[int, ...], size: int | tuple[int, int] = 384) -> np.ndarray:
    """One image; the same for the same seed and size. Another size gives another image, not the same one scaled.

    Args:
        seed: non-negative numbers.
        size: side, or height and width, in px, within ``SIDES``.

    Returns:
        uint8, shape (H, W, 3).

    Raises:
        InputError: a size out of range.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if not (SIDES[0] <= min(height, width) and max(height, width) <= SIDES[1]):
        raise InputError(
            f"Cannot make an image of {height} x {width} px. Expected {SIDES[0]} to {SIDES[1]} px a side. Choose another size."
        )
    rng = np.random.default_rng(seed)
    tall, wide = height * SUPERSAMPLING, width * SUPERSAMPLING
    leaves = _scattered(rng, tall, wide)
    canvas = levelled(_painted(rng, leaves, _visible(rng, leaves, tall, wide)), rng)
    image = canvas.reshape(height, SUPERSAMPLING, width, SUPERSAMPLING, 3).mean((1, 3))
    return np.round(image * 255).astype(np.uint8)


def _scattered(rng: np.random.Generator, tall: int, wide: int) -> _Leaves:
    """As many leaves as cover the canvas and its margin ``COVER`` times."""
    smallest, largest = rng.uniform(*SMALLEST) * SUPERSAMPLING, LARGEST * min(tall, wide)
    narrowest = smallest**-2 - largest**-2
    area = 2 * np.pi * np.log(largest / smallest) / narrowest  # E[πr²] under p(r) ∝ r⁻³
    count = int(COVER * (1 + 2 * MARGIN) ** 2 * tall * wide / area) + 1
    radii = (smallest**-2 - rng.random(count) * narrowest) ** -0.5  # inverse CDF of p(r) ∝ r⁻³
    centres = rng.uniform(-MARGIN, 1 + MARGIN, (count, 2)) * (wide, tall)
    centres[0], radii[0] = (wide / 2, tall / 2), largest  # the ground: its light must span the canvas
    return _Leaves(centres, radii)


def _visible(rng: np.random.Generator, leaves: _Leaves, tall: int, wide: int) -> np.ndarray:
    """The number of the topmost leaf at each pixel of the canvas, int32, shape (tall, wide)."""
    picture = Image.new("I", (wide, tall), 0)
    draw = ImageDraw.Draw(picture)
    for number, outline in enumerate(_outlines(rng, leaves)):
        draw.polygon(outline, fill=number)
    return np.asarray(picture)


def _outlines(rng: np.random.Generator, leaves: _Leaves) -> list[list[float]]:
    """Of each leaf the corners x, y, x, y, …: over half of them round or lobed, the others of three to seven corners."""
    count = len(leaves.radii)
    corners = np.where(rng.random(count) < 0.45, rng.integers(3, 8, count), POINTS)
    lobes, depth = rng.integers(2, 6, count), rng.choice([0.0, 0.0, 0.15, 0.3], count)
    aspect = np.where(rng.random(count) < 0.3, 1.0, rng.uniform(0.2, 1.0, count))
    turn, phase = rng.uniform(0, 2 * np.pi, (2, count))
    jitter = rng.uniform(-0.35, 0.35, (count, POINTS))  # shares of the angle between two corners
    jitter[corners == POINTS] = 0
    outlines: list[list[float]] = [[] for _ in range(count)]
    for k in np.unique(corners):
        own = np.flatnonzero(corners == k)
        angles = 2 * np.pi / k * (np.arange(k) + jitter[own, :k])
        wave = depth[own, None] * np.cos(lobes[own, None] * angles + phase[own, None])
        reach = 1 + wave if k == POINTS else 1.15
        shape = reach * (np.cos(angles) + 1j * aspect[own, None] * np.sin(angles))
        scale = leaves.radii[own] * np.exp(1j * turn[own]) / np.sqrt(aspect[own])  # narrow leaves are longer, of equal area
        placed = shape * scale[:, None] + (leaves.centres[own] @ [1, 1j])[:, None]
        for number, xy in zip(own, np.stack([placed.real, placed.imag], 2).reshape(len(own), -1).tolist(), strict=True):
            outlines[number] = xy
    return outlines


def _painted(rng: np.random.Generator, leaves: _Leaves, visible: np.ndarray) -> np.ndarray:
    """Colour, light and grain of each leaf, and the shading of the whole: float32, shape (tall, wide, 3), about 0 to 1."""
    count, (tall, wide) = len(leaves.radii), visible.shape
    colours = _colours(rng, count)
    centres = leaves.centres.astype(np.float32)
    dx = np.arange(wide, dtype=np.float32) - centres[:, 0][visible]
    dy = np.arange(tall, dtype=np.float32)[:, None] - centres[:, 1][visible]
    steepness, towards = rng.normal(0, 0.12, count) / leaves.radii, rng.uniform(0, 2 * np.pi, count)
    slope = (steepness * np.stack([np.cos(towards), np.sin(towards)])).astype(np.float32)
    light = 1 + slope[0][visible] * dx + slope[1][visible] * dy
    light += _grain(rng, count, visible, dx, dy)
    light += 0.12 * one_over_f(rng, max(tall, wide))[:tall, :wide].astype(np.float32)
    return colours[visible] * light[..., None]


def _colours(rng: np.random.Generator, count: int) -> np.ndarray:
    """``count`` sRGB colours in [0, 1], float32, shape (count, 3): wide in lightness, gathered around tints of one cast.

    Casts and tints differ more along b* than along a*, as sunlight and skylight do. The tints of every image are spread
    alike: they are put to zero mean and unit variance before ``TINT`` and the cast are applied.
    """
    from skimage.color import lab2rgb

    lightness = 6 + 90 * rng.beta(1.3, 1.5, count)
    tints = rng.normal(size=(int(rng.integers(5, 9)), 2))
    angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(*CAST)
    tints = (tints - tints.mean(0)) / tints.std(0) * TINT + length * np.array([0.6 * np.cos(angle), np.sin(angle)])
    hues = np.clip(tints[rng.integers(0, len(tints), count)] + rng.normal(0, 5, (count, 2)), -STRONGEST, STRONGEST)
    lab = np.column_stack([lightness, hues * (1 - np.abs(lightness / 50 - 1) ** 2)[:, None]])  # no chroma in black and white
    return np.asarray(lab2rgb(lab[None])[0], np.float32)


def _grain(rng: np.random.Generator, count: int, visible: np.ndarray, dx: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """What each leaf's grain adds to its light: one tile of 1/f noise, turned and shifted for each leaf, strong on few.

    Args:
        rng: where the draws come from.
        count: how many leaves.
        visible: the number of the leaf at each pixel.
        dx: how far each pixel is from the middle of its leaf along x, px of the canvas.
        dy: the same along y.

    Returns:
        float32, shape of ``visible``.
    """
    tile = _drawn_out(rng, one_over_f(rng, GRAIN, slope=0.9)).astype(np.float32)
    strength = (0.12 * rng.beta(0.5, 2.0, count)).astype(np.float32)
    turn, shift = rng.uniform(0, 2 * np.pi, count), rng.uniform(0, GRAIN, (2, count)).astype(np.float32)
    cos, sin = np.cos(turn).astype(np.float32)[visible], np.sin(turn).astype(np.float32)[visible]
    x = np.floor(cos * dx - sin * dy + shift[0][visible]).astype(np.int32) % GRAIN
    y = np.floor(sin * dx + cos * dy + shift[1][visible]).astype(np.int32) % GRAIN
    return strength[visible] * tile[y, x]


def _drawn_out(rng: np.random.Generator, tile: np.ndarray) -> np.ndarray:
    """The tile averaged along its rows over 1, 3 or 9 px, of unit variance: from isotropic grain to fibres."""
    length = int(rng.choice([1, 3, 9]))
    drawn = np.mean([np.roll(tile, k, axis=1) for k in range(length)], axis=0)
    return np.asarray(drawn / drawn.std())
