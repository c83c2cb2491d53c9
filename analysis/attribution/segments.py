"""Captum's attribution for language models over image masks: what each segment of the image adds to the likelihood of the answers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from analysis.attribution.frame import averaged
from hooks.batch import TOKENS, continuation, run
from hooks.prompt import render
from stimuli.errors import InputError
from stimuli.regions import SEGMENTS

if TYPE_CHECKING:
    from analysis.attribution.methods import Case
    from analysis.attribution.objective import Objective


class Speaker(nn.Module):
    """The model as captum's ``LLMAttribution`` calls it: it appends the answer to the ids alone, the other inputs follow here."""

    def __init__(self, objective: Objective) -> None:
        super().__init__()
        self._objective = [objective]  # in a list, so that the model is no submodule
        self.device = objective.mllm.device

    def forward(self, **inputs: Any) -> Any:
        """Logits behind prompt and answer, without gradients."""
        length = inputs["input_ids"].shape[1]
        self._objective[0].passes += 1
        with torch.no_grad():
            return SimpleNamespace(
                logits=run(
                    self._objective[0].mllm.model, {name: _extended(name, value, length) for name, value in inputs.items()}
                ).logits
            )


def _extended(name: str, value: Any, length: int) -> Any:
    if name not in TOKENS or not isinstance(value, torch.Tensor) or value.ndim != 2:
        return value
    return nn.functional.pad(value, (0, length - value.shape[1]))


def image_mask(case: Case) -> np.ndarray:
    """What the contrast loses with each superpixel in the image's mean colour, by captum's ``LLMAttribution`` of ``ImageMaskInput``.

    Superpixels (SLIC: Achanta et al. 2012) follow the content, cells do not. One image and one answer per pass.
    """
    from skimage.segmentation import slic

    labels = slic(case.objective.image, n_segments=SEGMENTS, compactness=10, start_label=0, channel_axis=2)
    return averaged(by_masks(case.objective, labels), case.grid)


def by_masks(objective: Objective, labels: np.ndarray) -> np.ndarray:
    """The effect of each segment, at each of its pixels, in nats of contrast.

    Args:
        objective: the contrast of answers about the image.
        labels: int (H, W), the segment of each pixel.

    Returns:
        float64 (H, W).

    Raises:
        InputError: an encoder-decoder, whose answer does not stand behind its prompt.
    """
    from captum.attr import FeatureAblation, ImageMaskInput, LLMAttribution
    from PIL import Image

    mllm, prompt = objective.mllm, objective.asked.question.prompt
    if objective.batch.layout.encoder_decoder:
        raise InputError(
            f"{type(mllm.model).__name__} is an encoder-decoder, and captum's LLMAttribution puts the answer behind the prompt. Expected a "
            "decoder alone. Use occlusion instead."
        )

    def inputs(image: Any) -> dict[str, Any]:
        return mllm.inputs([np.asarray(image)], [prompt]).tensors

    baseline = tuple(int(value) for value in objective.image.reshape(-1, 3).mean(0).round())
    shown = ImageMaskInput(Image.fromarray(objective.image), torch.from_numpy(labels), baseline=baseline, processor_fn=inputs)
    method = LLMAttribution(FeatureAblation(Speaker(objective)), mllm.processor.tokenizer)
    end, effects = render(mllm.processor, prompt, 1), []
    for wording in objective.wordings:
        tokens = torch.tensor(continuation(mllm.processor.tokenizer, end, wording))
        found = method.attribute(shown, tokens, forward_in_tokens=False, use_cached_outputs=False)
        effects.append(found.seq_attr.double().cpu().numpy() / len(tokens))
    return np.asarray((effects[0] - effects[1])[np.unique(labels, return_inverse=True)[1].reshape(labels.shape)])
