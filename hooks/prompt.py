"""One question about one image in a model's own words: chat template, image placeholder, and how its processor wants to be called."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from PIL import Image

from hooks.trial import trial
from stimuli.errors import InputError

_CALLS: WeakKeyDictionary[Any, dict[bool, tuple[bool, bool]]] = WeakKeyDictionary()
"""Per processor, and whether there are several images per question: pictures rather than arrays, a list per stimulus."""
_INSERTS: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()
_TRIED: dict[tuple[str, str], str] = {}
"""Kinds of processor and chat templates that were run under limits once, and what was wrong with them, if anything."""


def render(processor: Any, question: str, images: int = 1, prefix: str = "", system: str = "") -> str:
    """The prompt of one question in the model's own chat format, ready for the answer.

    Without a chat template: the images' placeholders and the question, or the question alone where the processor puts the
    placeholders in by itself.

    Args:
        processor: the model's own.
        question: what is asked.
        images: how many stand in front of it.
        prefix: how the answer begins.
        system: the system's message; in front of the question where the chat template has no place for one.

    Raises:
        InputError: the chat template fails, or takes more time or memory than a prompt can.
    """
    text = _asked(processor, question, images, system)
    return text + (prefix if not prefix or text[-1:].isspace() else f" {prefix}")


def _asked(processor: Any, question: str, images: int, system: str) -> str:
    if getattr(processor, "chat_template", None):
        return _chat(processor, question, images, system)
    question = f"{system} {question}" if system else question
    if not images or _inserts(processor):
        return question
    return (getattr(processor, "image_token", None) or "<image>") * images + question


def _chat(processor: Any, question: str, images: int, system: str) -> str:
    def written(text: str, before: list[dict[str, Any]]) -> str:
        content: list[dict[str, str]] = [*[{"type": "image"}] * images, {"type": "text", "text": text}]
        return _written(processor, [*before, {"role": "user", "content": content}])

    def spoken_by(role: str, content: Any) -> str:
        try:
            return written(question, [{"role": role, "content": content}])
        except InputError:  # the template does not know the role, or wants its content otherwise
            return ""

    if not system:
        return written(question, [])
    parts = [{"type": "text", "text": system}]
    for content in (parts, system):
        text = spoken_by("system", content)
        if system in text and "{'type'" not in text and text != spoken_by("assistant", content):  # a role of its own
            return text
    return written(f"{system} {question}", [])


def _written(processor: Any, messages: list[dict[str, Any]]) -> str:
    """What the chat template makes of messages. It is a program that came with the checkpoint: its first run is a trial.

    Raises:
        InputError: it fails, or takes more than a prompt can.
    """

    def work() -> str:
        return str(processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))

    def refused(why: str) -> InputError:
        return InputError(
            f"The chat template of {type(processor).__name__} {why}, for one question. Expected a template that writes the prompt of a "
            "chat. Look into the checkpoint's chat_template.jinja (or the chat_template of its processor_config.json or "
            "tokenizer_config.json), and take the one that the model's makers published."
        )

    key = (type(processor).__name__, str(processor.chat_template))
    if key not in _TRIED:
        _TRIED[key] = trial(work)
    if _TRIED[key]:
        raise refused(_TRIED[key])
    try:
        return work()
    except Exception as error:  # of whatever kind a template raises it
        raise refused(f"failed ({type(error).__name__}: {error})") from error


def _inserts(processor: Any) -> bool:
    """Whether a processor puts image placeholders into a text that has none: then the text comes back longer."""
    if processor not in _INSERTS:
        try:
            got = encode(processor, [np.zeros((32, 32, 3), np.uint8)], ["a"])["input_ids"].shape[1]
        except (ValueError, TypeError, RuntimeError, KeyError, IndexError):
            got = 0
        _INSERTS[processor] = got > len(processor.tokenizer("a")["input_ids"]) + 1
    return _INSERTS[processor]


def special(tokenizer: Any, text: Sequence[str]) -> dict[str, bool]:
    """How texts are tokenised that begin with the beginning-of-sequence token, as some chat templates write: with no second one."""
    start = getattr(tokenizer, "bos_token", None)
    return {"add_special_tokens": False} if start and all(t.startswith(start) for t in text) else {}


def _own(image: np.ndarray) -> np.ndarray:
    """An image that may be written to: torch warns of others where a processor makes tensors of arrays (torchvision's does)."""
    return image if image.flags.writeable else image.copy()


def encode(processor: Any, images: Sequence[np.ndarray | tuple[np.ndarray, ...]], text: Sequence[str]) -> dict[str, Any]:
    """What a processor makes of one image (or several) and one text per stimulus, padded to one length.

    Processors differ in whether they take arrays or pictures, one list or one list per stimulus; the first way that works is
    remembered.

    Raises:
        ValueError, TypeError: none of the ways works; of the first.
    """
    options = special(processor.tokenizer, text)
    several = isinstance(images[0], tuple)
    known = _CALLS.setdefault(processor, {})
    reason: Exception | None = None
    ways = product((False, True), (True, False) if several else (False, True))
    for pictures, nested in [known[several]] if several in known else ways:
        rows = [list(image) if isinstance(image, tuple) else [image] for image in images]
        each = [[Image.fromarray(image) if pictures else _own(image) for image in row] for row in rows]
        shown: list[Any] = each if nested else [image for row in each for image in row]
        try:
            found = dict(processor(images=shown, text=list(text), padding=True, return_tensors="pt", **options))
        except (ValueError, TypeError, AttributeError) as error:
            reason = reason or error
            continue
        known[several] = pictures, nested
        return found
    raise reason or ValueError("no images")
