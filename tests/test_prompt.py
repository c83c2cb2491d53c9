"""Prompts in the model's own words, and processors called the way they want it."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from hooks.load import Mllm
from hooks.prompt import encode, render

IMAGE = np.zeros((4, 6, 3), np.uint8)


class Tokenizer:
    bos_token = "<s>"

    def __call__(self, text: str) -> dict[str, list[int]]:
        return {"input_ids": [1] * len(text)}


class Picky:
    """A processor that wants one list of pictures per stimulus and puts the placeholders in by itself."""

    chat_template = None
    tokenizer = Tokenizer()

    def __init__(self, own: int = 5) -> None:
        self.calls: list[Any] = []
        self.own = own

    def __call__(self, images: Any, text: list[str], **options: Any) -> dict[str, torch.Tensor]:
        self.calls.append((images, options))
        if not isinstance(images[0], list):
            raise ValueError("nested lists, please")
        if isinstance(images[0][0], np.ndarray):
            raise TypeError("pictures, please")
        return {"input_ids": torch.ones(len(text), max(map(len, text)) + self.own, dtype=torch.long)}


def test_a_processor_is_called_the_way_it_wants_and_it_is_remembered() -> None:
    picky = Picky()
    assert encode(picky, [IMAGE], ["What?"])["input_ids"].shape == (1, 10)
    assert len(picky.calls) == 4
    encode(picky, [IMAGE, IMAGE], ["What?", "a"])
    shown, options = picky.calls[-1]
    assert (
        len(picky.calls) == 5
        and len(shown) == 2
        and np.array_equal(np.asarray(shown[0][0]), IMAGE)
        and shown[0][0].size == (6, 4)
    )
    assert options == {"padding": True, "return_tensors": "pt"}


def test_a_text_that_begins_with_the_start_token_gets_no_second_one() -> None:
    picky = Picky()
    encode(picky, [IMAGE], ["<s>What?"])
    assert picky.calls[-1][1]["add_special_tokens"] is False


def test_the_first_reason_is_told() -> None:
    class Never(Picky):
        def __call__(self, images: Any, text: list[str], **options: Any) -> Any:
            raise ValueError("first" if isinstance(images[0], np.ndarray) else "later")

    with pytest.raises(ValueError, match="first"):
        encode(Never(), [IMAGE], ["a"])


def test_the_placeholder_is_written_only_where_the_processor_does_not(llava: Mllm) -> None:
    assert render(Picky(), "What?") == "What?"
    plain = Picky(own=0)
    plain.image_token = "<img>"  # type: ignore[attr-defined]
    assert render(plain, "What?") == "<img>What?" and render(plain, "What?", images=0) == "What?"
    assert render(llava.processor, "What?") == "USER: <image>\nWhat? ASSISTANT:"


def test_a_chat_template_is_the_model_s_own() -> None:
    class Chat(SimpleNamespace):
        def apply_chat_template(self, messages: list[dict[str, Any]], **options: Any) -> str:
            assert options == {"add_generation_prompt": True, "tokenize": False}
            return "|".join(part["type"] for part in messages[0]["content"])

    assert (
        render(Chat(chat_template="x"), "What?") == "image|text" and render(Chat(chat_template="x"), "What?", 0) == "text"
    )
