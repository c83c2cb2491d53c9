"""What came with a checkpoint is run once in a child with limits: no endless loop, no power tower, no flood reaches this process."""

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import psutil
import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from hooks import prompt, trial
from hooks.prompt import render
from stimuli.errors import InputError


class Chat:
    """A processor whose chat template is what transformers makes of this text."""

    def __init__(self, template: str) -> None:
        self.chat_template = template

    def apply_chat_template(self, messages: list[dict[str, Any]], **options: Any) -> str:
        return str(render_jinja_template([messages], chat_template=self.chat_template, add_generation_prompt=True)[0][0])


LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}{% endfor %}{% endfor %}"
SQUARES = "{% set n = namespace(x=9) %}{% for a in range(40) %}{% set n.x = n.x * n.x %}{% endfor %}{{ n.x % 7 }}"
DOUBLES = "{% set n = namespace(x='ab') %}{% for a in range(40) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}"


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "SECONDS", 1)
    monkeypatch.setattr(prompt, "_TRIED", {})


@pytest.mark.skipif(trial.resource is None or os.uname().sysname == "Darwin", reason="no fork here")
@pytest.mark.parametrize(
    ("template", "why"),
    [
        (LOOP, "takes more than 1 s"),
        (SQUARES, "takes more than"),  # in one multiplication, which no signal interrupts
        (DOUBLES, "takes more than"),
        ("{{ 'x' * 10000000000 }}", "MB of memory"),
        ("{% for a in range(50000) %}{{ 'x' * 100 }}{% endfor %}", "writes more than 1,000,000 characters"),
    ],
)
def test_a_template_that_takes_too_much_is_refused_the_second_time_at_once(template: str, why: str) -> None:
    with pytest.raises(InputError, match=f"(?s)chat template of Chat .*{why}.*chat_template.jinja"):
        render(Chat(template), "What?")
    start = time.perf_counter()
    with pytest.raises(InputError, match=why):
        render(Chat(template), "What else?")
    assert time.perf_counter() - start < 0.5


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{{ 'x' + 1 }}", "TypeError"),
        ("{{ raise_exception('no images') }}", "TemplateError: no images"),
        ("{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "RecursionError"),
        ("{% for x in %}", "TemplateSyntaxError"),
        ("{{ ''.__class__.__mro__ }}", "SecurityError"),
    ],
)
def test_a_template_that_fails_is_refused_with_its_own_reason(template: str, why: str) -> None:
    with pytest.raises(InputError, match=f"failed .{why}"):
        render(Chat(template), "What?")


def test_a_good_template_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[str] = []

    def noted(work: Callable[[], str]) -> str:
        tries.append(work())
        return ""

    monkeypatch.setattr(prompt, "trial", noted)
    chat = Chat("{{ messages[0].content[-1].text }}:")
    assert [render(chat, "What?"), render(chat, "And?"), render(Chat(chat.chat_template), "Or?")] == ["What?:", "And?:", "Or?:"]
    assert tries == ["What?:"]


def test_a_trial_leaves_nothing_behind() -> None:
    own = psutil.Process()
    before = own.num_fds(), own.children()
    done: list[int] = []
    assert trial.trial(lambda: done.append(1) or "short") == ""  # type: ignore[func-returns-value]
    assert not done, "the work was done in this process"
    assert (own.num_fds(), own.children()) == before


def test_work_that_waits_is_given_up_and_nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "WAIT", 0.3)
    assert (
        trial.trial(lambda: str(threading.Event().wait(60))) == ""
    )  # takes no processor time: a machine that is busy looks so too


@pytest.mark.parametrize(("number", "why"), [(signal.SIGUSR1, "ends the process that runs it (SIGUSR1)"), (signal.SIGTERM, "")])
def test_work_that_ends_its_process_is_told_and_one_that_was_stopped_is_not(number: signal.Signals, why: str) -> None:
    assert trial.trial(lambda: str(os.kill(os.getpid(), number))) == why


def test_a_system_without_fork_tries_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "resource", None)
    assert trial.trial(lambda: "x" * 2_000_000) == ""
