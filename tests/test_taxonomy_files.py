"""A user's own taxonomy file works, and a wrong one is refused by file and key."""

from pathlib import Path

import pytest

from stimuli.errors import InputError
from stimuli.taxonomy import taxonomy
from stimuli.types import Stimulus

GOOD = "name: own\nclasses: [bad_codec, clean]\ntypes: {jpeg: bad_codec}\n"


def test_a_short_file_will_do(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(GOOD)
    own = taxonomy(tmp_path / "own.yaml")
    assert own.types_of("bad_codec") == ("jpeg",) and not own.ours
    assert own.wordings == {"bad_codec": "bad codec", "clean": "clean"} and own.synonyms == {}


def test_everything_can_be_given_and_a_shipped_name_may_be_taken(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(
        "name: paper8\nsource: me\nours: true\nclasses: [codec, up, rain]\nown_types: [rain]\n"
        "types:\n  jpeg: codec\n  live/jpeg2000: codec\n  mean_shift: {1: up, 2: up}\n  rain: rain\n"
        "wordings: {codec: a codec}\nsynonyms: {codec: [jpeg, jp2k]}\nexcluded: {pipal_*: unnamed, blur*: mine, jitter: rare}\n".replace(
            "blur*", "gaussian_*"
        )
    )
    own = taxonomy(tmp_path / "own.yaml")
    assert (own.name, own.source, own.ours, own.own_types) == ("paper8", "me", True, ("rain",))
    assert own.wordings["codec"] == "a codec" and own.synonyms == {"codec": ("jpeg", "jp2k")}
    assert own.why_excluded("pipal_03") == "unnamed" and own.why_excluded("jpeg") is None
    assert own.label(Stimulus("a", "a", "rain", None)) == "rain" and own.label_of("mean_shift", level=2) == "up"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("name: own", "nam: own"), r"nam: this key is not known; did you mean name"),
        (("name: own\n", ""), "name: this key is missing"),
        ((GOOD, "just text"), "The file: got 'just text'. Expected keys and their values"),
        ((GOOD, "{"), "cannot be used: while parsing"),
        (("name: own", "name: 8"), "name: 8 is not text. Expected text; YAML reads no"),
        (("[bad_codec, clean]", "[]"), "classes: there are none"),
        (("[bad_codec, clean]", "codec"), "classes: got 'codec'. Expected a list"),
        (("[bad_codec, clean]", "[bad_codec, clean, clean]"), "classes: 'clean' is listed twice"),
        (("[bad_codec, clean]", "[bad_codec, blur]"), "types: the class 'blur' has no type"),
        (("{jpeg: bad_codec}", "{jpeg: codec}"), "types: 'codec' is not among the classes; did you mean bad_codec"),
        (("{jpeg: bad_codec}", "{jpg: bad_codec}"), "types: the type 'jpg' is not known; did you mean jpeg"),
        (("{jpeg: bad_codec}", "{live/jpg: bad_codec}"), "types: the type 'live/jpg' is not known; did you mean jpeg"),
        (("{jpeg: bad_codec}", "{jpeg: bad_codec, jpeg: clean}"), "the key 'jpeg' is given twice .*line 3"),
        (("{jpeg: bad_codec}", "{jpeg: {6: bad_codec}}"), "types, jpeg: there is no level 6. Expected levels from 1 to 5"),
        (("{jpeg: bad_codec}", "{jpeg: {true: bad_codec}}"), "types, jpeg: there is no level True"),
        (("{jpeg: bad_codec}", "{jpeg: {1: no}}"), "types, jpeg, level 1: False is not text"),
        (("{jpeg: bad_codec}", "{jpeg: {}}"), "types, jpeg: no level is given"),
        ((GOOD, GOOD + "excluded: {jpe*: mine}\n"), "excluded: the type 'jpeg' has a class, too"),
        ((GOOD, GOOD + "excluded: {tid2013/*: mine}\n"), r"excluded: the type 'tid2013/\*' is not known"),
        ((GOOD, GOOD + "wordings: {blur: blur}\n"), "wordings: 'blur' is not among the classes"),
        ((GOOD, GOOD + "wordings: {clean: no}\n"), "wordings, clean: False is not text"),
        ((GOOD, GOOD + "wordings: {clean: Bad Codec}\n"), "wordings: 'bad codec' names both 'bad_codec' and 'clean'"),
        ((GOOD, GOOD + "synonyms: {clean: [bad codec]}\n"), "wordings: 'bad codec' names both"),
        ((GOOD, GOOD + "synonyms: {clean: none}\n"), "synonyms, clean: got 'none'. Expected a list"),
        ((GOOD, GOOD + "ours: 'yes'\n"), "ours: got 'yes'. Expected true or false"),
    ],
)
def test_what_cannot_be_used_is_refused_in_words(tmp_path: Path, change: tuple[str, str], words: str) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(GOOD.replace(*change))
    with pytest.raises(InputError, match=words) as refused:
        taxonomy(file)
    assert str(file) in str(refused.value)
