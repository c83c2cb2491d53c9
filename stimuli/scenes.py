"""Procedural reference images with natural-image statistics: dead leaves, and one named object in front of them.

Dead leaves (Lee, Mumford and Huang 2001): opaque shapes of random place, colour and size, sizes from p(r) ∝ r⁻³, occlude
one another; this gives the ~1/f² power spectrum and heavy-tailed gradients of photographs. Colours are drawn around a
luminance-dominant Lab palette, and exposure is levelled as a camera would, so that a brightness or contrast change is a
change and not a property of the scene. The scenes have no semantics beyond the object's colour, shape and ground.
"""

from __future__ import annotations

from dataclasses import dataclass
from sys import intern

import numpy as np
from PIL import Image, ImageDraw

from stimuli.textures import levelled, one_over_f

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (205, 35, 40),
    "orange": (235, 130, 25),
    "yellow": (235, 215, 50),
    "green": (45, 150, 60),
    "blue": (40, 80, 200),
    "purple": (130, 50, 160),
    "white": (238, 238, 236),
    "black": (22, 22, 24),
}
SHAPES = ("circle", "square", "triangle", "star", "ring", "cross")
GROUNDS = ("leaves", "stripes", "clouds")
SUPERSAMPLING = 2


@dataclass(frozen=True)
class Scene:
    """A reference image and what is in it."""

    image: np.ndarray
    """uint8, shape (size, size, 3)."""
    attributes: dict[str, str]
    """``colour``, ``shape`` and ``ground``: keys of COLOURS, SHAPES and GROUNDS."""
    mask: np.ndarray
    """float32, shape (size, size): the share of each pixel that the object covers."""


def scene(seed: tuple[int, ...], size: int = 128) -> Scene:
    """One scene; the same for the same seed and size."""
    rng = np.random.default_rng(seed)
    side = size * SUPERSAMPLING
    attributes = _content(rng)
    canvas = {"leaves": _leaves, "stripes": _stripes, "clouds": _clouds}[attributes["ground"]](rng, side)
    canvas = levelled(canvas, rng)
    canvas, inside = _with_object(canvas, COLOURS[attributes["colour"]], attributes["shape"], rng)
    image, mask = (x.reshape(size, SUPERSAMPLING, size, SUPERSAMPLING, -1).mean((1, 3)) for x in (canvas, inside))
    return Scene(np.round(image * 255).astype(np.uint8), attributes, mask[..., 0].astype(np.float32))


def content(seed: tuple[int, ...]) -> dict[str, str]:
    """The ``attributes`` of the scene of a seed, without making it."""
    return _content(np.random.default_rng(seed))


def _content(rng: np.random.Generator) -> dict[str, str]:
    """The first draws of a scene."""
    ground = str(rng.choice(GROUNDS, p=(0.6, 0.2, 0.2)))
    colour, shape = str(rng.choice(list(COLOURS))), str(rng.choice(SHAPES))
    return {"colour": intern(colour), "shape": intern(shape), "ground": intern(ground)}


def _palette(rng: np.random.Generator, n: int) -> np.ndarray:
    """``n`` RGB colours in [0, 1], shape (n, 3), wide in lightness and modest in chroma."""
    from skimage.color import lab2rgb

    lightness = rng.uniform(8, 96, n)
    tints = rng.normal(0, 16, (4, 2))
    chroma = tints[rng.integers(0, 4, n)] + rng.normal(0, 5, (n, 2))
    lab = np.column_stack([lightness, chroma * (1 - np.abs(lightness / 50 - 1) ** 2)[:, None]])
    return np.asarray(lab2rgb(lab[None])[0])


def _leaves(rng: np.random.Generator, side: int, count: int = 900) -> np.ndarray:
    """Dead leaves of discs and quadrilaterals on a (side, side, 3) canvas in [0, 1], shaded by 1/f texture."""
    smallest, largest = 0.012 * side, 0.42 * side
    uniform = rng.random(count)
    radii = (smallest**-2 - uniform * (smallest**-2 - largest**-2)) ** -0.5  # inverse CDF of p(r) ∝ r⁻³
    colours = np.round(_palette(rng, count) * 255).astype(int)
    centres = rng.uniform(-0.1, 1.1, (count, 2)) * side
    angles = rng.uniform(0, 2 * np.pi, (count, 4))
    picture = Image.new("RGB", (side, side), tuple(colours[0]))
    draw = ImageDraw.Draw(picture)
    for (x, y), r, colour, angle in zip(centres, radii, colours, angles, strict=True):
        if angle[0] < np.pi:
            draw.ellipse((x - r, y - r, x + r, y + r), fill=tuple(colour))
        else:
            corners = np.sort(angle)
            draw.polygon([(x + r * np.cos(a), y + r * np.sin(a)) for a in corners], fill=tuple(colour))
    return np.asarray(picture) / 255.0 * (1 + 0.12 * one_over_f(rng, side)[..., None])


def _stripes(rng: np.random.Generator, side: int) -> np.ndarray:
    """Stripes of random width and colour at one angle, gently bent."""
    angle, bend = rng.uniform(0, np.pi), 0.04 * side * one_over_f(rng, side, slope=2.0)
    y, x = np.mgrid[:side, :side]
    along = x * np.cos(angle) + y * np.sin(angle) + bend
    edges = np.cumsum(rng.uniform(0.012, 0.11, 200)) * side - 2 * side
    colours = _palette(rng, 201)
    return colours[np.searchsorted(edges, along)] * (1 + 0.12 * one_over_f(rng, side)[..., None])


def _clouds(rng: np.random.Generator, side: int) -> np.ndarray:
    """Layers of thresholded 1/f fields: soft shapes with hard contours."""
    canvas = np.broadcast_to(_palette(rng, 1)[0], (side, side, 3)).copy()
    for colour in _palette(rng, 14):
        field = one_over_f(rng, side, slope=rng.uniform(1.2, 2.0))
        canvas[field > rng.uniform(0.3, 1.2)] = colour
    return canvas * (1 + 0.12 * one_over_f(rng, side)[..., None])


def _with_object(
    canvas: np.ndarray, colour: tuple[int, int, int], shape: str, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the object, softly lit and lightly textured, somewhere near the middle; also where it is, (side, side, 1)."""
    side = canvas.shape[0]
    radius = rng.uniform(0.2, 0.3) * side
    x, y = rng.uniform(0.32, 0.68, 2) * side
    mask = Image.new("L", (side, side), 0)
    _draw_shape(ImageDraw.Draw(mask), shape, x, y, radius, rng.uniform(-0.25, 0.25))
    inside = np.asarray(mask)[..., None] / 255.0
    rows, columns = np.mgrid[:side, :side] / side - 0.5
    light = 1 + 0.18 * (np.cos(a := rng.uniform(0, 2 * np.pi)) * columns + np.sin(a) * rows)
    paint = np.array(colour) / 255.0 + rng.normal(0, 0.02, 3)
    body = paint * (light * (1 + 0.04 * one_over_f(rng, side)))[..., None]
    return np.clip(canvas * (1 - inside) + body * inside, 0, 1), inside


def _draw_shape(draw: ImageDraw.ImageDraw, shape: str, x: float, y: float, r: float, turn: float) -> None:
    def points(angles: np.ndarray, radii: np.ndarray | float) -> list[tuple[float, float]]:
        return list(zip(x + radii * np.sin(angles + turn), y - radii * np.cos(angles + turn), strict=True))

    if shape in ("circle", "ring"):
        draw.ellipse((x - r, y - r, x + r, y + r), fill=255)
        if shape == "ring":
            draw.ellipse((x - r / 2, y - r / 2, x + r / 2, y + r / 2), fill=0)
    elif shape == "square":
        draw.polygon(points(np.pi / 4 + np.arange(4) * np.pi / 2, 1.2 * r), fill=255)
    elif shape == "triangle":
        draw.polygon(points(np.arange(3) * 2 * np.pi / 3, 1.3 * r), fill=255)
    elif shape == "star":
        draw.polygon(points(np.arange(10) * np.pi / 5, np.where(np.arange(10) % 2, 0.5, 1.3) * r), fill=255)
    else:  # cross: two bars
        thin = np.arctan2(0.33, 1.1)
        for quarter in (0.0, np.pi / 2):
            ends = quarter + np.array([-thin, thin, np.pi - thin, np.pi + thin])
            draw.polygon(points(ends, 1.15 * r), fill=255)
