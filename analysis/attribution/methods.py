"""Methods that say which part of an image an answer comes from: each gives a signed map over cells of the original image.

Captum (Kokhlikyan et al. 2020) computes gradients, integrated gradients, ablations and Shapley values; what it cannot do for tokens
(Grad-CAM, relevancy, attention) is in ``analysis.attribution.tokens``.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch

from analysis.attribution.frame import averaged, cell_map, gathered, owners
from analysis.attribution.objective import ANSWERS, Objective
from analysis.attribution.segments import image_mask
from analysis.attribution.tokens import attention, gradcam, relevancy
from hooks.places import cells
from stimuli.errors import InputError

GREY = 128
"""Of the image from which integrated gradients begin."""
STEPS = 32
"""Of integrated gradients, by Gauss-Legendre quadrature."""
COARSE = 2
"""Cells of the grid per side of a player of the Shapley values."""
SAMPLES = 6
"""Orders of players that Shapley values are averaged over."""


@dataclass
class Places:
    """What is learnt once per size of image and site: where tokens and numbers of a tensor look."""

    cells: dict[tuple[tuple[int, int], str], np.ndarray] = field(default_factory=dict)
    owners: dict[tuple[int, int], torch.Tensor] = field(default_factory=dict)


@dataclass
class Case:
    """One image to attribute an answer about."""

    objective: Objective
    grid: int
    places: Places
    name: str = ""
    """Of the stimulus; random choices depend on it and the seed alone."""
    seed: int = 0
    gaps: dict[str, float] = field(default_factory=dict)
    """By method, how far a sum that should be complete is from being so, in nats."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image in px."""
        return int(self.objective.image.shape[0]), int(self.objective.image.shape[1])

    @property
    def rng(self) -> np.random.Generator:
        """A fresh generator of the stimulus."""
        return np.random.default_rng([self.seed, zlib.crc32(self.name.encode())])

    @cached_property
    def owner(self) -> torch.Tensor:
        """The cell of each number of the image's tensor, of its shape without the first axis."""
        if self.size not in self.places.owners:
            self.places.owners[self.size] = owners(lambda image: self.objective.pixels_of(image)[0], self.size, self.grid)
        return self.places.owners[self.size]

    def looks(self, site: str, count: int) -> np.ndarray:
        """Which cells each of the image's tokens at a site looks at: float64 (tokens, cells), rows sum to one.

        Args:
            site: whose rows they are.
            count: how many tokens there are.

        Raises:
            InputError: the site's rows have no places (``hooks.places.cells``), or are of another number.
        """
        if (self.size, site) not in self.places.cells:
            mllm, prompt = self.objective.mllm, self.objective.asked.question.prompt
            self.places.cells[self.size, site] = cells(mllm, self.size, [site], self.grid, prompt)[site].double().numpy()
        found = self.places.cells[self.size, site]
        if len(found) != count:
            raise InputError(
                f"'{site}' has {count} tokens of the image, and {len(found)} in another of the same size. Expected as many. Use a method "
                "that works on pixels, such as occlusion."
            )
        return found

    def laid_out(self, site: str, tokens: torch.Tensor) -> np.ndarray:
        """What the image's tokens at a site have (tokens,), shared out to the cells they look at: float32 (grid, grid).

        Raises:
            InputError: as ``looks``.
        """
        heat = tokens.detach().double().cpu().numpy() @ self.looks(site, len(tokens))
        return np.asarray(heat, np.float32).reshape(self.grid, self.grid)

    def tokens_inside(self, site: str, count: int, inside: np.ndarray) -> np.ndarray:
        """How much of what each of the image's tokens looks at lies in a region: float64 (tokens,), from 0 to 1.

        Args:
            site: whose tokens.
            count: how many.
            inside: (cells,), share of each cell in the region.

        Raises:
            InputError: as ``looks``.
        """
        return np.clip(self.looks(site, count) @ inside, 0, 1)


# ---- from pixels -------------------------------------------------------------------------------------------------------


def gradient(case: Case) -> np.ndarray:
    """Mean size of the gradient in each cell (Simonyan et al. 2014)."""
    from captum.attr import Saliency

    found = Saliency(case.objective).attribute(_leaf(case), abs=True)
    return gathered(found[0], case.owner, case.grid, mean=True)


def input_gradient(case: Case) -> np.ndarray:
    """Gradient times input, summed in each cell (Shrikumar et al. 2017); the input is normalised, so that 0 is a mean colour."""
    from captum.attr import InputXGradient

    return gathered(InputXGradient(case.objective).attribute(_leaf(case))[0], case.owner, case.grid)


def integrated(case: Case) -> np.ndarray:
    """Integrated gradients from a grey image (Sundararajan et al. 2017); the map sums to the change of the contrast, but for ``gaps``."""
    from captum.attr import IntegratedGradients

    x, grey = _leaf(case), case.objective.pixels_of(np.full_like(case.objective.image, GREY))
    room = max(1, case.objective.batch_size // ANSWERS)
    found = IntegratedGradients(case.objective).attribute(x, baselines=grey, n_steps=STEPS, internal_batch_size=room)
    with torch.no_grad():
        ends = case.objective(torch.cat([grey, x])).double()
    case.gaps["integrated-gradients"] = float((found.double().sum() - (ends[1] - ends[0])).detach())
    return gathered(found[0], case.owner, case.grid)


def _leaf(case: Case) -> torch.Tensor:
    return case.objective.pixels.detach().clone().requires_grad_(True)


# ---- from other images -------------------------------------------------------------------------------------------------


def occlusion(case: Case) -> np.ndarray:
    """What the contrast loses with each cell in the image's mean colour (Zeiler and Fergus 2014), by captum's feature ablation."""
    from captum.attr import FeatureAblation

    mask = torch.from_numpy(cell_map(case.size, case.grid))
    return _perturbed(case, FeatureAblation(_on_images(case)), mask, case.grid)


def shapley(case: Case) -> np.ndarray:
    """Shapley values of blocks of cells (Štrumbelj and Kononenko 2010), absent ones in the mean colour, by captum's sampling.

    Blocks of two by two cells, as the number of passes is ``SAMPLES`` times that of the players.
    """
    from captum.attr import ShapleyValueSampling

    coarse = max(1, case.grid // COARSE)
    mask = torch.from_numpy(cell_map(case.size, coarse))
    state = torch.random.get_rng_state()
    torch.manual_seed(int(case.rng.integers(2**31)))
    try:
        found = _perturbed(case, ShapleyValueSampling(_on_images(case)), mask, coarse, n_samples=SAMPLES)
    finally:
        torch.random.set_rng_state(state)
    at = (np.arange(case.grid) * coarse) // case.grid
    return np.asarray(found[at][:, at])


def _on_images(case: Case) -> Callable[[torch.Tensor], torch.Tensor]:
    """The contrast of images float (k, 3, H, W) from 0 to 255."""

    def forward(images: torch.Tensor) -> torch.Tensor:
        pixels = images.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
        return torch.from_numpy(case.objective.of_images(list(pixels)))

    return forward


def _perturbed(case: Case, method: Any, mask: torch.Tensor, grid: int, **options: Any) -> np.ndarray:
    """The value of each feature of a mask (H, W), float32 (grid, grid); absent features are in the image's mean colour."""
    image = torch.tensor(case.objective.image).permute(2, 0, 1)[None].double()
    mean = image.mean((2, 3), keepdim=True).round().expand_as(image)
    found = method.attribute(
        image,
        baselines=mean,
        feature_mask=mask[None, None].expand_as(image).contiguous(),
        perturbations_per_eval=case.objective.batch_size,
        **options,
    )
    return averaged(found[0, 0].numpy(), grid)


# ---- without the answer ------------------------------------------------------------------------------------------------


def noise(case: Case) -> np.ndarray:
    """Numbers drawn at random: what any method has to beat."""
    return case.rng.random((case.grid, case.grid), np.float32)


def edges(case: Case) -> np.ndarray:
    """Mean size of Sobel's gradient of the brightness in each cell: a map of the image without any model."""
    from scipy.ndimage import sobel

    grey = case.objective.image.astype(float) @ np.array([0.299, 0.587, 0.114])
    return averaged(np.hypot(sobel(grey, 0), sobel(grey, 1)), case.grid)


MAKERS: Mapping[str, Callable[[Case], np.ndarray]] = {
    "gradient": gradient,
    "input-x-gradient": input_gradient,
    "integrated-gradients": integrated,
    "gradcam": gradcam,
    "relevancy": relevancy,
    "attention": attention,
    "occlusion": occlusion,
    "shapley": shapley,
    "image-mask": image_mask,
    "edges": edges,
    "random": noise,
}
METHODS = tuple(MAKERS)
"""All, the two without the answer last."""
BASELINES = ("edges", "random")
"""Those that know no model."""


def makers(names: object) -> dict[str, Callable[[Case], np.ndarray]]:
    """The functions of methods.

    Raises:
        InputError: none, or an unknown one.
    """
    wanted = [names] if isinstance(names, str) else list(names)  # type: ignore[call-overload]
    unknown = [name for name in wanted if name not in MAKERS]
    if unknown or not wanted:
        came = f"Unknown methods {', '.join(map(str, unknown))}" if unknown else "Got no method"
        raise InputError(f"{came}. Expected some of {', '.join(METHODS)}. Use these.")
    return {name: MAKERS[name] for name in wanted}
