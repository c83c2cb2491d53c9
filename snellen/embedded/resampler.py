"""An organism with a resampler: a small but genuine Kosmos-2, whose projector lets 64 learnt queries read the encoder's tokens.

Kosmos-2 (Peng et al. 2023) has a CLIP encoder, so the encoder of a patient can stand in it weight by weight, and an attention of
latent queries between encoder and language model, as mPLUG-Owl2's abstractor is. The image's positions come first in every text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import nn

from snellen.embedded import architecture
from snellen.embedded.architecture import IMAGE_SIZE, IMAGE_TOKENS, LANGUAGE, PATCH, VISION, VOCABULARY

QUERIES = IMAGE_TOKENS
UNK = "<unk>"
PLACES = QUERIES
"""Tokens that name places in an image, which the processor adds. As many ids behind ``<unk>`` stand in image positions; with so many
places, all of these are tokens, and none a word."""


def tokenizer(sentences: Iterable[str]) -> Any:
    """The patients' tokenizer with an unknown token behind its words, which Kosmos-2 counts the image's ids from.

    Without a chat template, which Kosmos-2 has not: a prompt is the image and the question.
    """
    made = architecture.tokenizer(sentences)
    made.chat_template = None
    made.add_special_tokens({"unk_token": UNK})
    return made


def model(seed: int) -> Any:
    """A freshly initialised ``Kosmos2ForConditionalGeneration`` in float32, with the language model's size of the patients.

    The published standard deviation of initial weights, 0.02, is that of width 2048 to the power of −1/2; here it follows the
    width. The first layer of the projector, which reads tokens of length 1, begins with unit variance, so that the queries see
    the image from the first step.
    """
    from transformers import Kosmos2Config, Kosmos2ForConditionalGeneration

    torch.manual_seed(seed)
    width = LANGUAGE["hidden_size"]
    text = {
        "embed_dim": width,
        "layers": LANGUAGE["num_hidden_layers"],
        "attention_heads": LANGUAGE["num_attention_heads"],
        "ffn_dim": 4 * width,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 1024,
        "init_std": width**-0.5,
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "tie_word_embeddings": False,
    }
    vision = {**VISION, "image_size": IMAGE_SIZE, "patch_size": PATCH, "hidden_act": "gelu"}
    config = Kosmos2Config(
        text_config=text, vision_config=vision, latent_query_num=QUERIES, tie_word_embeddings=False, dtype="float32"
    )
    made = Kosmos2ForConditionalGeneration(config).eval()
    nn.init.normal_(made.image_to_text_projection.dense.weight)
    return made


def processor(tokenizer: Any) -> Any:
    """A ``Kosmos2Processor`` whose image processor needs no torchvision; an image of the model's own size passes unresized."""
    from transformers import Kosmos2Processor

    return Kosmos2Processor(architecture.image_processor(), tokenizer, PLACES)


def prefixes(processor: Any) -> Callable[[str], tuple[list[int], int]]:
    """For ``language.Sentences``: the ids of one question as the processor makes them, and where its image positions begin."""

    def prefix(question: str) -> tuple[list[int], int]:
        blank = np.zeros((IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
        made = processor(images=[blank], text=[question], return_tensors="pt")
        return made["input_ids"][0].tolist(), int(made["image_embeds_position_mask"][0].argmax())

    return prefix
