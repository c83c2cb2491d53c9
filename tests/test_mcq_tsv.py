"""VLMEvalKit's tables are read image by image and refused by their words; what is written is read back pixel for pixel."""

import base64
import csv
import pickle
import tracemalloc
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from analysis.mcq import ask_mcq
from hooks.load import Mllm
from snellen.asking import questions_of
from stimuli import encoded, sets
from stimuli.encoded import Encoded, from_base64, from_bytes
from stimuli.errors import InputError
from stimuli.mcq import McqSet, read_mcq
from stimuli.mcq_written import LOST, write_questions
from stimuli.taxonomy import taxonomy
from stimuli.types import Stimulus
from tests.test_cli import here, refused


def drawn(seed: int = 0, side: int = 12) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


def text(image: np.ndarray, kind: str = "PNG") -> str:
    content = BytesIO()
    Image.fromarray(image).save(content, kind)
    return base64.b64encode(content.getvalue()).decode()


def row(index: int, image: str, **more: Any) -> dict[str, Any]:
    return {"index": index, "image": image, "question": "What is wrong?", "A": "Blur", "B": "Noise", "C": "", "answer": "B",
            "category": "distortion", "l2-category": "hard", **more}  # fmt: skip


def table(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(
            handle, list(dict.fromkeys(key for one in rows for key in one)), delimiter="\t", lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_a_table_gives_questions_with_their_images(tmp_path: Path) -> None:
    rows = [
        row(3, text(drawn(1)), question='A "quoted" one,\nof two lines', C="None", answer="c"),
        row(4, text(drawn(2)), hint="Look closely", answer="", category=""),
        row(1_000_004, "4"),
        row(9, f"['{text(drawn(1))}']"),
    ]
    found = read_mcq(table(tmp_path / "q.tsv", rows))
    assert isinstance(found, McqSet) and found.name == "q" and found.missing == ()
    first, second, third, fourth = found.questions
    assert (
        first.question == 'A "quoted" one,\nof two lines' and first.choices == ("Blur", "Noise", "None") and first.correct == 2
    )
    assert second.question == "Hint: Look closely\nWhat is wrong?" and second.correct is None and second.categories == ("hard",)
    assert (first.question_type, first.concern, first.id) == ("distortion", "hard", "3")
    shown = found.stimuli
    assert [np.array_equal(one.image, drawn(seed)) for one, seed in zip(shown, (1, 2, 2, 1), strict=True)] == [True] * 4
    assert [one.reference for one in shown] == ["3", "4", "4", "3"], "one image, one reference, also where it is there twice"
    assert found.as_dict()["images"] == 4 and third.choices == ("Blur", "Noise") and fourth.correct == 1
    again = pickle.loads(pickle.dumps(shown[0]))
    assert len(pickle.dumps(shown[0])) < 2000 and np.array_equal(again.image, drawn(1))


def test_images_may_be_files(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.fromarray(drawn(5)).save(tmp_path / "images" / "a.png")
    rows = [{**row(i, ""), "image_path": name} for i, name in enumerate(("a.png", "b.png", ""))]
    for one in rows:
        del one["image"]
    path = table(tmp_path / "q.tsv", rows)
    found = read_mcq(path, tmp_path / "images")
    assert np.array_equal(found.stimuli[0].image, drawn(5)) and len(found) == 2
    assert found.missing == ("q.tsv, line 3: b.png", "q.tsv, line 4: no image")
    assert questions_of(path, str(tmp_path / "images")).missing == found.missing, "as the command line reads it"
    with pytest.raises(InputError, match=r"None of the 2 images is in .*; the first is q.tsv, line 2: a.png"):
        read_mcq(path)


def test_what_is_held_of_a_table_does_not_grow_with_its_images(tmp_path: Path) -> None:
    path = table(tmp_path / "q.tsv", [row(i, text(drawn(i, 100))) for i in range(80)])
    tracemalloc.start()
    found = read_mcq(path)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 150_000 and peak < path.stat().st_size / 4
    assert np.array_equal(found.stimuli[79].image, drawn(79, 100))
    assert csv.field_size_limit() == 131_072, "the limit of others' tables is as it was"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image": f"['{text(drawn(1))}', '{text(drawn(2))}']"}, "line 3: image: the row has several images. Expected one"),
        ({"image": "77"}, "line 3: image: '77' is the index of no row with an image. Expected base64, or the index"),
        ({"image": "a b" * 40}, "line 3: image: got 'a ba ba ba.*', 120 characters. Expected base64"),
        ({"image_path": "['a.png', 'b.png']"}, "line 3: image_path: the row has several images"),
        ({"index": 0}, "line 3: index: '0' is also that of q.tsv, line 2. Expected each index once"),
        ({"answer": "D"}, "line 3: answer: got 'D'. Expected a letter from A to B"),
        ({"answer": "Noise"}, "line 3: answer: got 'Noise'. Expected a letter"),
        ({"B": ""}, "line 3: options: there are A. Expected at least A and B, without a gap"),
        ({"A": "", "C": "z"}, "line 3: options: there are B, C. Expected at least A and B"),
        ({"B": "Blur"}, "line 3: options: 'Blur' is there twice"),
        ({"question": ""}, "line 3: question: it is empty"),
    ],
)
def test_a_row_that_cannot_be_asked_is_refused_with_its_line(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    good = {**row(0, text(drawn())), "image_path": "0.png"}
    with pytest.raises(InputError, match=words):
        read_mcq(table(tmp_path / "q.tsv", [good, {**good, "index": 1, **changes}]))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", r"has the columns \(none\). Expected a TSV as VLMEvalKit's, with index, question, A, B, and image"),
        (b"index\tquestion\tA\tB\n", "has the columns index, question, A, B"),
        (b"index\tquestion\tA\tB\timage\timage\n", "has the column image twice"),
        (b"index\tquestion\tA\tB\timage\n", "holds zero questions"),
        (b"index\tquestion\tA\tB\timage\n1\t?\ta\tb\t2\t3\n", "line 2 has 6 cells; expected 5, as in the header"),
        (b"index\tquestion\tA\tB\timage\n1\t\xff\ta\tb\t2\n", "line 2 is not text"),
    ],
)
def test_a_file_that_is_no_table_is_refused(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "q.tsv").write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_mcq(tmp_path / "q.tsv")


def bomb() -> bytes:
    """A small file of many pixels."""
    content = BytesIO()
    Image.new("1", (9000, 8000)).save(content, "PNG")
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"!!!!", "The image of it is not base64"),
        (base64.b64encode(b"GIF89a nonsense"), "The image of it cannot be read"),
        (
            base64.b64encode(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
            "cannot be read .* Expected a complete PNG, JPEG",
        ),
        (text(drawn(0, 40)).encode()[:-400], "The image of it cannot be read"),
        (base64.b64encode(bomb()), r"9000 × 8000 pixels are more than 64000000"),
    ],
)
def test_what_is_no_image_is_refused_before_it_is_decoded(content: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words):
        from_base64(content, "it")


def test_limits_and_files_that_changed_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert np.array_equal(from_bytes(base64.b64decode(text(drawn(3))), "it"), drawn(3))
    with pytest.raises(InputError, match="it cannot be read .*Expected the table as it was"):
        Encoded(tmp_path / "gone.tsv", 0, 10, "it")()
    monkeypatch.setattr(encoded, "TEXT", 50)
    with pytest.raises(InputError, match="has 100 characters of base64; expected at most 50. Save it as a file"):
        from_base64(b"x" * 100, "it")


@pytest.fixture(scope="module")
def shown() -> Any:
    return sets.exam_set(references=4, size=24, levels=(1, 5), measure=False)


def test_what_is_written_is_read_back_pixel_for_pixel(shown: Any, tmp_path: Path) -> None:
    done = write_questions(shown, tmp_path / "d.tsv")
    found = read_mcq(done.path)
    assert done.rows == len(found) == len(shown) and done.left_out == ()
    classes = taxonomy("paper8")
    for question, stimulus, own in zip(found.questions, shown, found.stimuli, strict=True):
        assert np.array_equal(own.image, stimulus.image) and own.reference == stimulus.reference
        label = classes.label(stimulus)
        assert question.correct is not None and question.choices[question.correct] == classes.wordings[str(label)]
        assert question.question_type == label and set(question.choices) == set(classes.wordings[c] for c in classes.classes)
        assert question.concern == ("clean" if stimulus.type is None else f"level {stimulus.level}")


def test_within_each_class_the_right_answer_has_every_letter_equally_often(tmp_path: Path) -> None:
    shown = {label: types[0] if (types := taxonomy("paper8").types_of(label)) else None for label in taxonomy("paper8").classes}
    many = [
        Stimulus(f"{label}-{i}", f"r{i}", type, 5 if type else None, pixels=drawn(i, 4))
        for label, type in shown.items()
        for i in range(16)
    ]
    found = read_mcq(write_questions(many, tmp_path / "d.tsv", seed=3).path)
    counts = Counter((question.question_type, question.correct) for question in found.questions)
    assert len(counts) == 64 and set(counts.values()) == {2}
    other = read_mcq(write_questions(many, tmp_path / "e.tsv", seed=4).path)
    assert [q.choices for q in found.questions] != [q.choices for q in other.questions]


def test_several_orders_share_one_image(shown: Any, tmp_path: Path) -> None:
    done = write_questions(shown[:2], tmp_path / "d.tsv", orders=4, prompt="Which one?")
    with open(done.path, newline="") as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    assert [one["index"] for one in rows] == [str(i) for i in range(8)] and {one["question"] for one in rows} == {"Which one?"}
    assert [len(one["image"]) > 64 for one in rows] == [True, False, False, False] * 2 and rows[5]["image"] == "4"
    assert len({one["answer"] for one in rows[:4]}) == 4 and {one["image_path"] for one in rows[:4]} == {"0.png"}
    found = read_mcq(done.path)
    assert all(np.array_equal(one.image, shown[i // 4].image) for i, one in enumerate(found.stimuli))


def test_what_cannot_be_written_is_refused_or_left_out(shown: Any, tmp_path: Path) -> None:
    odd = [
        shown[0],
        Stimulus("gone", "r", "jpeg", 3, pixels=tmp_path / "gone.png"),
        Stimulus("odd", "r", "color_block", 3, pixels=drawn()),
    ]
    done = write_questions(odd, tmp_path / "d.tsv")
    assert done.rows == 1 and [id for id, _ in done.left_out] == ["odd", "gone"]
    with pytest.raises(InputError, match="Cannot write questions as 'd.csv'. Expected a name that ends in .tsv"):
        write_questions(shown, tmp_path / "d.csv")
    with pytest.raises(InputError, match="Got 0 orders"):
        write_questions(shown, tmp_path / "d.tsv", orders=0)
    with pytest.raises(InputError, match="None of the 1 stimuli can be asked about"):
        write_questions(odd[1:2], tmp_path / "e.tsv")
    own = tmp_path / "mine.yaml"
    own.write_text("name: mine\nclasses: [a, b]\ntypes: {jpeg: a, clean: b}\nwordings: {a: None, b: fine}\n")
    assert "None" in LOST
    with pytest.raises(InputError, match="The wording 'None' would be read as an empty cell|cannot be used"):
        write_questions(shown, tmp_path / "e.tsv", taxonomy=own)
    assert [path.name for path in tmp_path.iterdir() if path.suffix not in (".yaml",)] == ["d.tsv"]


def test_pandas_reads_what_was_written_as_vlmevalkit_does(shown: Any, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    data = pandas.read_csv(write_questions(shown, tmp_path / "d.tsv", orders=2).path, sep="\t")
    assert (
        len(data) == 2 * len(shown)
        and not data[["index", "image", "question", *"ABCDEFGH", "answer", "category"]].isna().any().any()
    )


def test_a_model_is_asked_about_the_images_of_a_table(llava: Mllm, shown: Any, tmp_path: Path) -> None:
    path = write_questions(shown[:5], tmp_path / "d.tsv", orders=2).path
    found = ask_mcq(llava, read_mcq(path), max_new_tokens=2, n_boot=20, progress=False)
    assert [row["id"] for row in found.table] == [str(i) for i in range(10)] and found.hidden == 0
    assert {str(row["group"]) for row in found.by_group} > {"overall", "level 5"}
    assert found.by_group[0]["images"] == len({one.reference for one in shown[:5]}), "intervals are over source images"


def test_on_the_command_line(tmp_path: Path) -> None:
    said = here("questions", tmp_path / "d.tsv", "--references", "2", "--levels", "5", "--orders", "2", "--no-progress")
    assert "32 questions in" in said and len(read_mcq(tmp_path / "d.tsv")) == 32
    assert "Expected a name that ends in .tsv" in refused("questions", tmp_path / "d.csv", "--references", "2", "--no-progress")
