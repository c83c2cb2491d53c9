"""Progress of bars, and of an exam in one line."""

import io
import re
import sys

import pytest

from snellen.config import build
from snellen.progress import MODEL, REPORT, TUNE, Clock, expected
from stimuli.progress import gathered, tell, tqdm, words


class Screen(io.StringIO):
    """A stream that says that somebody watches."""

    def isatty(self) -> bool:
        return True


def test_a_bar_alone_is_tqdms_own_and_inside_a_run_a_part_of_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(tqdm(range(3), desc="ask")) == [0, 1, 2] and "ask: 100%" in capsys.readouterr().err
    told: list[str] = []
    with gathered(told.append):
        for _ in tqdm(range(3), desc="ask", mininterval=0):
            tell("nothing of this")
        with tqdm(total=8, initial=4, desc="extract", unit="image", disable=True) as silent:
            silent.update(4)
    assert told[0] == "ask 0/3" and re.fullmatch(r"ask 3/3, [\d.]+ it/s", told[-1])
    assert capsys.readouterr() == ("", "")
    tell("left out: 1")
    assert capsys.readouterr().err == "left out: 1\n"


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"n": 6, "total": 12, "initial": 2, "elapsed": 2.0, "rate": None}, "tune 6/12, 2.0 step/s"),
        ({"n": 1, "total": None, "initial": 0, "elapsed": 4.0, "rate": 0.25}, "tune 1, 4.0 s/step"),
        ({"n": 4, "total": 4, "initial": 4, "elapsed": 0.0, "rate": None}, "tune 4/4"),
    ],
)
def test_a_part_says_count_and_rate_of_what_was_done_now(state: dict[str, object], said: str) -> None:
    assert words({"prefix": "tune", "unit": "step", **state}) == said


def test_bars_are_drawn_again_when_a_run_ended_by_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), gathered(lambda _: None):
        raise KeyboardInterrupt
    list(tqdm(range(2)))
    assert "2/2" in capsys.readouterr().err


def test_nobody_watches_a_line_per_step(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock(False, {"ask": 1.0, "tune": 3.0})
    for name in clock.plan:
        with clock.step(name):
            list(tqdm(range(2)))
    out, err = capsys.readouterr()
    assert err == "" and re.fullmatch(r"\[ +0\.0 s\] 1/2 ask \(0\.0 s\)\n\[ +0\.0 s\] 2/2 tune \(0\.0 s\)\n", out)


def test_somebody_watches_one_line_that_is_wiped_out(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setenv("COLUMNS", "70")
    clock = Clock(False, {"ask": 1.0, "tune": 3.0})
    with clock.step("ask"):
        list(tqdm(range(2), desc="loglik of a question with a long name", mininterval=0))
    with pytest.raises(KeyboardInterrupt), clock.step("tune"):
        raise KeyboardInterrupt
    drawn = screen.getvalue().split("\r")
    assert "exam [00:00<?] 1/2 ask" in screen.getvalue() and "\n" not in screen.getvalue()
    assert any("| loglik" in line for line in drawn) and max(map(len, drawn)) <= 70
    assert drawn[-1] == "" and drawn[-2].strip() == "" and list(clock.seconds) == ["ask"]  # nothing is left of a line


def test_quiet_is_silent_and_still_measures(capfd: pytest.CaptureFixture[str]) -> None:
    clock = Clock(True, {"ask": 1.0})
    with clock.step("ask"):
        list(tqdm(range(2), disable=True))
    assert capfd.readouterr() == ("", "") and set(clock.seconds) == {"ask"}


def test_the_time_left_follows_the_pace_of_what_is_done() -> None:
    clock = Clock(True, {MODEL: 1.0, "base": 10.0, "tune": 30.0, "report": 20.0})
    assert clock.left(MODEL, 5) is None
    clock.seconds[MODEL] = 500.0  # a slow disk says nothing about the rest
    assert clock.left("base", 3) is None
    clock.seconds["base"] = 20.0  # twice as long as expected
    assert clock.left("tune", 0) == 100 and clock.left("tune", 15) == 85
    assert clock.left("tune", 300) == 40  # longer than expected: at least what comes after
    assert clock.line("tune", 15, "tune llm 3/9") == "exam [08:55<01:25] 3/4 tune | tune llm 3/9"


def test_steps_are_expected_by_what_is_asked_for() -> None:
    demo, full = expected(build(None, {})), expected(build(None, {"budget": "full"}))
    assert list(demo) == list(full) and list(demo)[0] == MODEL and list(demo)[-1] == REPORT
    assert sum(full.values()) > 3 * sum(demo.values())
    few = expected(build(None, {"arms": ["llm"], "interview": "off", "steps": 200}))
    assert [name for name in few if name.startswith("tune")] == [TUNE.format("llm")]
    assert few[TUNE.format("llm")] > demo[TUNE.format("llm")]
