"""A model's twin that has learnt nothing: the same architecture with fresh weights, a baseline for every probe."""

from __future__ import annotations

from dataclasses import replace

from hooks.checksum import weights_checksum
from hooks.load import Mllm
from stimuli.errors import InputError


def random_weights(mllm: Mllm, seed: int = 0) -> Mllm:
    """The same architecture, processor and map of stages, with weights as its class draws them before any training.

    A probe on its activations shows what the architecture and the pooling alone hand on (random features are no empty features);
    only what a trained site holds beyond that was learnt. Norms, biases and positions start as the class sets them.

    Args:
        mllm: the model; it is left as it is, and so is torch's random state.
        seed: of the weights; the same seed gives the same weights.

    Returns:
        A model of the same dtype and on the same device; a quantised one gets a twin that is not quantised. Its provenance names
        its own checksum and ``random_weights``, the seed, so that its activations are never taken for the trained model's.

    Raises:
        InputError: the model cannot be built from its configuration alone, as one that wears an adapter.
    """
    import torch

    kind = type(mllm.model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            built = kind(mllm.model.config)
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            raise InputError(
                f"A twin of {kind.__name__} with random weights could not be built ({type(error).__name__}: {error}). Expected a model "
                "that its configuration alone describes. Load it without its adapter, or leave this baseline out."
            ) from error
    twin = built.eval().to(mllm.device, mllm.model.dtype)
    about = {**mllm.provenance, "checksum": weights_checksum(twin), "random_weights": seed}
    return replace(mllm.with_model(twin), provenance=about)
