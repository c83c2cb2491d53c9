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


def test_a_processor_may_write_to_what_it_gets_and_nobody_else_sees_it() -> None:
    class Writing(Picky):
        def __call__(self, images: Any, text: list[str], **options: Any) -> Any:
            for image in images:
                image[:] = 9  # torchvision's processors make tensors of the array's own memory
            return {"input_ids": torch.ones(len(text), 3, dtype=torch.long)}

    kept = IMAGE.copy()
    kept.flags.writeable = False
    encode(Writing(), [kept, kept], ["a", "b"])
    assert not kept.any()


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

    assert render(Chat(chat_template="x"), "What?") == "image|text" and render(Chat(chat_template="x"), "What?", 0) == "text"


class Chat:
    """A processor with a chat template of the usual kind, which knows so many roles."""

    chat_template = "x"

    def __init__(self, template: str) -> None:
        import jinja2

        self._render = jinja2.Environment(undefined=jinja2.StrictUndefined).from_string(template).render

    def apply_chat_template(self, messages: list[dict[str, Any]], **options: Any) -> str:
        def refuse(why: str) -> None:
            raise ValueError(why)

        return self._render(messages=messages, raise_exception=refuse)


PART = "{% for p in m['content'] %}{{ '<image>' if p['type'] == 'image' else p['text'] }}{% endfor %}"
CHATML = "{% for m in messages %}<{{ m['role'] }}>" + PART + "\n{% endfor %}<assistant>"
TWO_ROLES = "{% for m in messages %}{{ 'USER: ' if m['role'] == 'user' else 'ASSISTANT: ' }}" + PART + " {% endfor %}ASSISTANT:"
STRICT = (
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('must alternate') }}"
    "{% endif %}[INST] " + PART + " [/INST]{% endfor %}"
)
PLAIN_SYSTEM = (
    "{% for m in messages %}{% if m['role'] == 'system' %}<<SYS>>{{ m['content'] }}<</SYS>> {% else %}<{{ m['role'] }}>"
    + PART
    + "{% endif %}{% endfor %}<assistant>"
)
DEAF = "{% for m in messages if m['role'] == 'user' %}USER: " + PART + "{% endfor %} ASSISTANT:"


@pytest.mark.parametrize(
    ("template", "wanted"),
    [
        (CHATML, "<system>Be brief.\n<user><image>What?\n<assistant>"),
        (TWO_ROLES, "USER: <image>Be brief. What? ASSISTANT:"),  # not put into the assistant's mouth
        (STRICT, "[INST] <image>Be brief. What? [/INST]"),
        (PLAIN_SYSTEM, "<<SYS>>Be brief.<</SYS>> <user><image>What?<assistant>"),
        (DEAF, "USER: <image>Be brief. What? ASSISTANT:"),
    ],
)
def test_a_system_s_message_stands_where_the_template_has_a_place_for_it_else_before_the_question(
    template: str, wanted: str
) -> None:
    assert render(Chat(template), "What?", system="Be brief.") == wanted
    assert "Be brief" not in render(Chat(template), "What?")


def test_without_a_template_the_system_s_message_stands_before_the_question(llava: Mllm) -> None:
    plain = Picky(own=0)
    assert render(plain, "What?", system="Be brief.") == "<image>Be brief. What?"
    assert render(llava.processor, "What?", system="Be brief.") == "USER: <image>\nBe brief. What? ASSISTANT:"


def test_a_prefix_follows_after_one_space(llava: Mllm) -> None:
    assert render(llava.processor, "What?", prefix="It is") == "USER: <image>\nWhat? ASSISTANT: It is"
    assert render(Chat("{{ messages[0]['role'] }}\n\n"), "What?", prefix="It is") == "user\nIt is"  # Jinja keeps one line end
    assert render(Chat("{{ messages[0]['role'] }} "), "What?", prefix="It is") == "user It is"


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_as_many_placeholders_as_images(count: int, llava: Mllm, qwen: Mllm) -> None:
    assert render(llava.processor, "What?", count).count("<image>") == count
    assert render(qwen.processor, "What?", count).count("<|image_pad|>") == count
    assert render(Picky(own=0), "What?", count) == "<image>" * count + "What?"


class Flat(Picky):
    """A processor that wants one list of arrays for all."""

    def __call__(self, images: Any, text: list[str], **options: Any) -> dict[str, torch.Tensor]:
        self.calls.append((images, options))
        if isinstance(images[0], list):
            raise TypeError("one list, please")
        return {"input_ids": torch.ones(len(text), max(map(len, text)), dtype=torch.long)}


def test_several_images_per_question_are_given_as_each_processor_wants_them() -> None:
    pairs = [(IMAGE, IMAGE + 1), (IMAGE + 2, IMAGE + 3)]
    nested, flat = Picky(), Flat()
    encode(nested, pairs, ["a", "b"])
    assert [[int(np.asarray(image)[0, 0, 0]) for image in row] for row in nested.calls[-1][0]] == [[0, 1], [2, 3]]
    encode(flat, pairs, ["a", "b"])
    assert [int(image[0, 0, 0]) for image in flat.calls[-1][0]] == [0, 1, 2, 3]


class Mixed(Flat):
    """One that wants one list for single images, and one list per stimulus for several."""

    def __call__(self, images: Any, text: list[str], **options: Any) -> dict[str, torch.Tensor]:
        if len(images) != len(text) or isinstance(images[0], list) and len(images[0]) == 1:
            raise ValueError("otherwise, please")
        self.calls.append((images, options))
        return {"input_ids": torch.ones(len(text), max(map(len, text)), dtype=torch.long)}


def test_how_single_images_are_given_says_nothing_about_several() -> None:
    mixed = Mixed()
    for _ in range(2):
        encode(mixed, [IMAGE, IMAGE], ["a", "b"])
        encode(mixed, [(IMAGE, IMAGE + 1)] * 2, ["a", "b"])
    assert [isinstance(images[0], list) for images, _ in mixed.calls] == [False, True, False, True]
