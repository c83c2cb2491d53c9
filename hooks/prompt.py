"""One question about one image in a model's own words: chat template, image placeholder, and how its processor wants to be called."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from PIL import Image

_CALLS: WeakKeyDictionary[Any, tuple[bool, bool]] = WeakKeyDictionary()
_INSERTS: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()


def render(processor: Any, question: str, with_image: bool = True) -> str:
    """The prompt of one question in the model's own chat format, ready for the answer.

    Without a chat template: the image's placeholder and the question, or the question alone where the processor puts the
    placeholders in by itself.
    """
    if getattr(processor, "chat_template", None):
        content = [{"type": "image"}] if with_image else []
        messages = [{"role": "user", "content": [*content, {"type": "text", "text": question}]}]
        return str(processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))
    if not with_image or _inserts(processor):
        return question
    return f"{getattr(processor, 'image_token', None) or '<image>'}{question}"


def _inserts(processor: Any) -> bool:
    """Whether a processor puts image placeholders into a text that has none: then the text comes back longer."""
    if processor not in _INSERTS:
        try:
            got = encode(processor, [np.zeros((32, 32, 3), np.uint8)], ["a"])["input_ids"].shape[1]
        except (ValueError, TypeError, RuntimeError, KeyError, IndexError):
            got = 0
        _INSERTS[processor] = got > len(processor.tokenizer("a")["input_ids"]) + 1
    return _INSERTS[processor]


def encode(processor: Any, images: Sequence[np.ndarray], text: Sequence[str]) -> dict[str, Any]:
    """What a processor makes of one image and one text per stimulus, padded to one length.

    Processors differ in whether they take arrays or pictures, one list or one list per stimulus; the first way that works is
    remembered. A text that begins with the beginning-of-sequence token, as some chat templates write, gets no second one.

    Raises:
        ValueError, TypeError: none of the ways works; of the first.
    """
    start = getattr(processor.tokenizer, "bos_token", None)
    options = {"add_special_tokens": False} if start and all(t.startswith(start) for t in text) else {}
    known = _CALLS.get(processor)
    reason: Exception | None = None
    for pictures, nested in [known] if known else product((False, True), (False, True)):
        shown: list[Any] = [Image.fromarray(image) if pictures else image for image in images]
        shown = [[image] for image in shown] if nested else shown
        try:
            found = dict(processor(images=shown, text=list(text), padding=True, return_tensors="pt", **options))
        except (ValueError, TypeError, AttributeError) as error:
            reason = reason or error
            continue
        _CALLS[processor] = (pictures, nested)
        return found
    raise reason or ValueError("no images")
