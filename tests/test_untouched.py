"""Tokens of the untouched model are computed once per image and are the same in any order."""

from types import SimpleNamespace
from typing import Any

import torch

import tuning.untouched
from hooks.load import Mllm
from stimuli.types import StimulusSet
from tuning.lessons import Lesson
from tuning.untouched import READS_PROMPT, Untouched


def test_each_image_is_computed_once_and_rows_keep_the_lessons_order(llava: Mllm, six: StimulusSet, monkeypatch: Any) -> None:
    shown: list[int] = []
    real = tuning.untouched.run

    def counted(model: Any, tensors: Any) -> Any:
        shown.append(len(tensors["input_ids"]))
        return real(model, tensors)

    monkeypatch.setattr(tuning.untouched, "run", counted)
    lessons = [Lesson(s, "What?", "blur", 0) for s in six]
    ask, fresh = Untouched(llava), Untouched(llava, limit=0)

    def asked(by: Untouched, rows: list[int]) -> list[torch.Tensor]:
        own = [lessons[row] for row in rows]
        return by(llava.inputs([lesson.stimulus.image for lesson in own], [lesson.prompt for lesson in own]), own)

    first = asked(ask, [0, 1, 2])
    assert [tuple(row.shape) for row in first] == [(64, 160)] * 3 and shown == [3]
    mixed = asked(ask, [4, 2, 0, 4])
    assert shown == [3, 1], "the new image only, once"
    assert torch.equal(mixed[1], first[2]) and torch.equal(mixed[2], first[0]) and torch.equal(mixed[0], mixed[3])
    assert asked(ask, [0, 1, 2, 4])[3].equal(mixed[0]) and len(shown) == 2
    again = asked(fresh, [4, 2, 0])
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(again, mixed[:3], strict=True))
    asked(fresh, [4])
    assert shown[-1] == 1 and not fresh.kept


def test_where_the_prompt_enters_the_tokens_each_prompt_has_its_own(llava: Mllm, six: StimulusSet, monkeypatch: Any) -> None:
    ask = Untouched(llava)
    computed: list[int] = []
    monkeypatch.setattr(
        ask, "_computed", lambda inputs: [torch.full((1, 1), float(len(computed) + 1)) for _ in [computed.append(1)]]
    )
    one, other = (Lesson(six[0], prompt, "blur", 0) for prompt in ("What?", "Which?"))
    read: Any = SimpleNamespace(tensors={READS_PROMPT: None})
    blind: Any = SimpleNamespace(tensors={})
    assert ask(read, [one])[0] != ask(read, [other])[0] and len(computed) == 2
    assert ask(read, [one])[0] == 2 and len(computed) == 2
    assert ask(blind, [one])[0] == ask(blind, [other])[0] and len(computed) == 3
