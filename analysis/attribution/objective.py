"""What is attributed: how much likelier a model finds the right answer about one image than the answer that it is clean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from analysis.choice import Choice
from hooks.answer import loglik, scored
from hooks.batch import Batch, bookkeeping
from hooks.load import Mllm
from hooks.processor import PIXELS
from hooks.tokens import TokenLayout
from stimuli.errors import InputError

ANSWERS = 2
"""Rows of a forward pass per version of the image: one in which each answer is said."""


class Objective:
    """The contrast of two answers about one image as a function of the tensor of its pixels, all other inputs as they are.

    The contrast is the mean log-likelihood per token of the right wording less that of the other one, in nats. Versions of the tensor
    are stacked along a new first axis, so that one image may be a map, a row of crops or a run of packed patches.

    Args:
        mllm: the model.
        asked: the question.
        image: uint8 (H, W, 3).
        right: the class whose wording is right.
        against: the class it is compared with.
        batch_size: sequences per forward pass where there are no gradients.

    Raises:
        InputError: an unknown class, or inputs without pixels or that cannot be told apart by image.
    """

    def __init__(self, mllm: Mllm, asked: Choice, image: np.ndarray, right: str, against: str, batch_size: int = 16) -> None:
        self.mllm, self.asked, self.image, self.batch_size = mllm, asked, image, batch_size
        self.wordings = [asked.wordings[asked.place(label)] for label in (right, against)]
        self.batch = mllm.inputs([image] * ANSWERS, [asked.question.prompt] * ANSWERS, self.wordings, eos=False)
        self.name = next((name for name in PIXELS if name in self.batch.tensors), "")
        if not self.name:
            raise InputError(
                f"The inputs of {type(mllm.model).__name__} ({', '.join(self.batch.tensors)}) hold no pixels under a known name; expected "
                f"one of {', '.join(PIXELS)}. Attribute to stages instead."
            )
        self.passes = 0
        """How many versions of the image were judged so far."""
        self.pixels = self._single(self.batch.tensors[self.name])

    def _single(self, value: torch.Tensor) -> torch.Tensor:
        """The tensor of one of the equal images in a batch, with a new first axis, float32."""
        count, rest = divmod(len(value), ANSWERS)
        if rest or not torch.equal(value[:count], value[count:]):
            raise InputError(
                f"The pixels of {ANSWERS} equal images have shape {tuple(value.shape)} and cannot be told apart. Expected as many rows for "
                "each. Attribute to stages, or use occlusion."
            )
        return value[:count][None].float()

    def pixels_of(self, image: np.ndarray) -> torch.Tensor:
        """The tensor that the processor makes of another image of the same size, (1, …).

        Raises:
            InputError: it has another shape.
        """
        batch = self.mllm.inputs([image], [self.asked.question.prompt])
        found = batch.tensors[self.name][None].float()
        if found.shape != self.pixels.shape:
            raise InputError(
                f"The processor makes {tuple(found.shape[1:])} of one image and {tuple(self.pixels.shape[1:])} of another of the same size "
                f"({self.image.shape[0]} x {self.image.shape[1]}). Expected one shape per size. Use occlusion instead."
            )
        return found

    def expanded(self, pixels: torch.Tensor) -> Batch:
        """Inputs in which both answers are said about each version of the image, in turn.

        Args:
            pixels: (k, …).
        """
        k, labels = len(pixels), self.batch.labels
        assert labels is not None
        tensors = {name: _repeated(value, k) for name, value in self.batch.tensors.items()}
        tensors[self.name] = torch.stack([pixels] * ANSWERS, 1).flatten(0, 2)
        labels = _repeated(labels, k)
        return Batch(tensors, self.layout(tensors, labels), labels)

    def layout(self, tensors: dict[str, Any], labels: torch.Tensor) -> TokenLayout:
        """The bookkeeping of expanded inputs."""
        return bookkeeping(self.mllm.model, self.mllm.stages, tensors, labels >= 0)

    def of(self, batch: Batch) -> torch.Tensor:
        """The contrast of each version in expanded inputs, (k,) in nats, with gradients if they are switched on."""
        said = self.asked.likelihood(self.mllm, batch).view(-1, ANSWERS)
        self.passes += len(said)
        return said[:, 0] - said[:, 1]

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """The contrast of each version of the image's tensor, (k, …) to (k,) in nats: what captum calls."""
        return self.of(self.expanded(pixels))

    def of_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """The same of any images, without gradients: the processor runs anew, and the vision tower once for both answers.

        Args:
            images: uint8 (H, W, 3).

        Returns:
            float64 (n,), in nats.
        """
        found = [np.empty(0)]
        for start in range(0, len(images), self.batch_size):
            part = list(images[start : start + self.batch_size])
            total, tokens = loglik(self.mllm, scored(self.mllm, part, [self.asked.question.prompt] * len(part), self.wordings))
            found.append((total / tokens) @ np.array([1.0, -1.0]))
        self.passes += len(images)
        return np.concatenate(found)


def _repeated(value: Any, k: int) -> Any:
    """Inputs of a batch, so many times one after the other."""
    if isinstance(value, torch.Tensor) and value.ndim:
        return value.repeat(k, *[1] * (value.ndim - 1))
    return value * k if isinstance(value, list) else value
