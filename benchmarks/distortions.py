"""What distortions cost: the 125 versions of one 512 x 384 image on one core against the limit of 10 s, and what processes add.

Run:  python benchmarks/distortions.py [--markdown]
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from stimuli.distortions import LEVELS, distort, severity
from stimuli.distortions.kadid import KADID10K
from stimuli.making import Making, Work, build
from stimuli.photos import photograph_at
from stimuli.references import Reference

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "china")
LIMIT = 10.0
"""Seconds for 125 images of 512 x 384 px on one core."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--markdown", action="store_true", help="the table of docs/distortions.md")
    arguments = parser.parse_args()
    images = {name: photograph_at(name, 384, 512) for name in PHOTOGRAPHS}
    total = 0.0
    for kind in KADID10K:
        decibels, seconds = _measured(kind.name, images)
        total += seconds
        _row(kind, decibels, seconds, arguments.markdown)
    print(f"\n125 versions of one image: {total:.2f} s on one core, {total / LIMIT:.2f} of the limit of {LIMIT:.0f} s")
    for workers in (1, 2):
        print(f"{workers} process(es): {_pooled(images, workers):.2f} s for four images with PSNR and SSIM of each version")


def _measured(type: str, images: dict[str, np.ndarray]) -> tuple[list[float], float]:
    """Mean PSNR per level, and seconds for the five levels of one image."""
    made, seconds = [], 0.0
    for level in LEVELS:
        start = time.perf_counter()
        distorted = {name: distort(image, type, level, reference=name) for name, image in images.items()}
        seconds += (time.perf_counter() - start) / len(images)
        made.append(float(np.mean([severity(images[name], found)[0] for name, found in distorted.items()])))
    return made, seconds


def _row(kind: object, decibels: list[float], seconds: float, markdown: bool) -> None:
    levels = ", ".join(f"{value:g}" for value in kind.parameters)  # type: ignore[attr-defined]
    psnr = " ".join("∞" if value >= 100 else f"{value:.1f}" for value in decibels)
    cells = [str(kind.number), f"`{kind.name}`", kind.group, levels, psnr, f"{200 * seconds:.0f}"]  # type: ignore[attr-defined]
    print(
        f"| {' | '.join(cells)} |"
        if markdown
        else "  ".join(cell.ljust(w) for cell, w in zip(cells, (3, 30, 12, 34, 30, 4), strict=True))
    )


def _pooled(images: dict[str, np.ndarray], workers: int) -> float:
    shown = [(), *(((kind.name, level),) for kind in KADID10K for level in LEVELS)]
    references = [Reference(name, "photo", image) for name, image in images.items()]
    if workers > 1:  # the time of starting them is not that of the work
        build(references, [[()]] * len(images), Work(Making()), workers=workers)
    start = time.perf_counter()
    build(references, [shown] * len(images), Work(Making()), workers=workers)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
