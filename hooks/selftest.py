"""Run the self-test of a loaded model once, on two small images, and remember its outcome."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hooks.batch import cast
from hooks.stages import Stages
from stimuli.errors import InputError

if TYPE_CHECKING:
    from hooks.load import Mllm

SIZES = (((96, 144), (168, 112)), ((112, 112), (112, 112)), ((112, 112),))
"""Two images of different size, else of one size, else one alone: the first that the model's processor can batch."""
PROMPTS = ("What is it?", "What distortion does this image show?")
_PROVEN: dict[str, Stages] = {}


def proven(mllm: Mllm) -> Stages:
    """The model's map, proven by ``Stages.verify``; the same checkpoint loaded again is not run again.

    Raises:
        InputError: the model's processor makes no inputs from an image and a question, the model fails on them, the map did not hold, or
            memory ran out.
    """
    key = _key(mllm)
    if key not in _PROVEN:
        try:
            _PROVEN[key] = mllm.stages.verify(mllm.model, _inputs(mllm))
        except torch.OutOfMemoryError as error:
            raise InputError(
                f"The self-test of {type(mllm.model).__name__} ran out of memory on {mllm.device}: it runs two small images forth and "
                "back. Expected room for that beside the weights. Load with a smaller dtype, quantization= or device_map='auto', or "
                "leave it out with verify=False."
            ) from error
        except InputError:
            raise
        except Exception as error:  # of whatever kind a model raises it that does not fit its processor or its configuration
            raise InputError(
                f"The self-test of {type(mllm.model).__name__} failed ({type(error).__name__}: {error}). Expected a forward and a backward "
                "pass on two small images. Check that config.json, processor and weights belong together."
            ) from error
    return _PROVEN[key]


def _key(mllm: Mllm) -> str:
    config = mllm.model.config.to_json_string(use_diff=False) if hasattr(mllm.model.config, "to_json_string") else ""
    where = str(getattr(mllm.model.config, "_name_or_path", ""))  # other weights of one configuration are run again
    parts = (type(mllm.model).__name__, where, config, repr(sorted(mllm.stages.sites.items())), type(mllm.processor).__name__)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _inputs(mllm: Mllm) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    reason: Exception | None = None
    for sizes in SIZES:
        images = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
        try:
            return cast(mllm.model, mllm.inputs(images, PROMPTS[: len(sizes)]).tensors)
        except Exception as error:  # of whatever kind a processor raises it
            reason = reason or error
    raise InputError(
        f"The processor {type(mllm.processor).__name__} made no inputs for the self-test of {type(mllm.model).__name__} from an "
        f"image and a question: {type(reason).__name__}: {reason} Expected a processor that takes images and text. Give another "
        "one as processor=, or leave the self-test out with verify=False."
    ) from reason
