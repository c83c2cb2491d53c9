"""YAML from anyone: no tag runs, no anchor explodes, no depth crashes, and every reader of Snellen's says so in words."""

import time
from pathlib import Path

import pytest

from snellen.config import build, parse_overrides
from stimuli.errors import LONGEST, InputError
from stimuli.mcq import read_mcq
from stimuli.prompts import prompt
from stimuli.taxonomy import taxonomy
from stimuli.yaml_files import SIZE, parsed, read_yaml

BOMB = "\n".join(["a0: &a0 [x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)), "levels: *a9"])
BAD = {
    "bomb": (BOMB, "anchors repeat more than 200000 values"),
    "endless": ("levels: &a [*a]", "an anchor holds itself"),
    "endless mapping": ("levels: &a {b: *a}", "an anchor holds itself"),
    "deep": ("levels: " + "[" * 600, "nested too deeply"),
    "date": ("seed: 2001-99-99", "month must be in"),
    "number": ("seed: !!int x", "invalid literal"),
    "long number": ("seed: " + "9" * 5000, "limit"),
    "runs": ('seed: !!python/object/apply:os.mkdir ["ran"]', "could not determine a constructor"),
    "twice": ("seed: 1\nseed: 2", "the key 'seed' is given twice"),
    "control": ("seed: \x07", "special characters are not allowed"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_read_safely_is_refused_by_every_reader(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text, words = BAD[name]
    file = tmp_path / "a.yaml"
    file.write_text(text)
    start = time.process_time()
    with pytest.raises(ValueError, match=words):
        parsed(text)
    for read in (build, taxonomy, prompt, read_mcq):
        with pytest.raises(InputError, match=words) as refused:
            read(file)
        assert len(str(refused.value)) <= LONGEST and str(file) in str(refused.value)
    assert time.process_time() - start < 20 and not (tmp_path / "ran").exists()


def test_anchors_that_stay_small_are_read() -> None:
    assert parsed("a: &a [1, 2]\nb: *a\nc: {<<: &m {x: 1}, y: *a}\n") == {
        "a": [1, 2],
        "b": [1, 2],
        "c": {"x": 1, "y": [1, 2]},
    }


def test_a_file_that_is_too_long_is_not_parsed(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: " + "x" * SIZE)
    with pytest.raises(ValueError, match=f"more than {SIZE} bytes"):
        read_yaml(tmp_path / "a.yaml")


def test_a_value_on_the_command_line_that_is_no_yaml_is_refused() -> None:
    with pytest.raises(InputError, match=r"Got --set levels=\[1, whose value is no YAML .*Quote what is text"):
        parse_overrides(["levels=[1"])
    with pytest.raises(InputError, match="Got --load dtype=.* no YAML"):
        parse_overrides(["dtype=!!python/name:os.system"], "--load")


def test_what_came_is_told_in_brief_and_budgets_are_words(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="setting 'steps' cannot be used") as refused:
        build(None, {"steps": ["x" * 100] * 1000})
    assert len(str(refused.value)) < 1500
    for budget in (["demo"], {"a": 1}, 3):
        with pytest.raises(InputError, match="Unknown budget .* Expected one of demo, full"):
            build(None, {"budget": budget})


def test_a_message_is_cut_in_its_middle_and_keeps_what_to_do() -> None:
    error = str(InputError("It came: " + "x" * 10**6 + ". Do this."))
    assert len(error) <= LONGEST and error.startswith("It came: x") and error.endswith("x. Do this.") and "characters" in error
    assert str(InputError("short")) == "short"
