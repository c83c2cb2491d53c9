"""Settings from the command line: entries of mappings, refusals, and a file that gives the same exam."""

from pathlib import Path

import pytest

from snellen.config import build
from snellen.settings import as_yaml, chosen
from stimuli.errors import InputError


def test_an_entry_is_set_and_the_others_of_the_file_stay(tmp_path: Path) -> None:
    file = tmp_path / "exam.yaml"
    file.write_text("prior: {blur: 0.2, noise: 0.8}\nseed: 5\n")
    assert chosen(["prior.blur=0.4"], file) == {"prior": {"blur": 0.4, "noise": 0.8}}
    assert build(file, chosen(["prior.blur=0.4"], file)).prior == {"blur": 0.4, "noise": 0.8}
    assert chosen(["prior.blur=0.4", "prior.jpeg=0.1", "steps=3"]) == {"prior": {"blur": 0.4, "jpeg": 0.1}, "steps": 3}
    assert chosen(["prior={noise: 1}", "prior.blur=0.4"], file) == {"prior": {"noise": 1, "blur": 0.4}}


def test_names_of_entries_may_have_dots() -> None:
    assert build(None, chosen(["stages.vision.0=a.b"])).stages == {"vision.0": "a.b"}


@pytest.mark.parametrize(
    ("pair", "setting"), [("references.few=3", "references"), ("nonsense.few=3", "nonsense"), ("arms.0=llm", "arms")]
)
def test_entries_of_what_has_none_are_refused(pair: str, setting: str) -> None:
    with pytest.raises(InputError, match=rf"Got --set {pair.split('=')[0]}=…; expected an entry of a setting that is a mapping \(prior or "
                       rf"stages\), such as --set prior.blur=0.3. Write --set {setting}=… for the whole"):  # fmt: skip
        chosen([pair])
    with pytest.raises(InputError, match="expected KEY=VALUE, such as --set seed=1 or prior.blur=0.3"):
        chosen(["prior.blur"])


def test_all_settings_as_a_file_give_the_same_exam(tmp_path: Path) -> None:
    settings = build(None, {"budget": "full", "interview": "off", "prior": {"blur": 0.5, "no": 0.5}, "levels": (3, 5), "model": "./yes",
                            "stages": {"vision": ("a", "b"), "llm": "c"}, "lr": 1e-5})  # fmt: skip
    file = tmp_path / "exam.yaml"
    file.write_text(as_yaml(settings), encoding="utf-8")
    assert build(file) == settings and build(file) != build()
