"""The training images of the patients."""

from pathlib import Path

import numpy as np

from snellen.embedded import data
from stimuli.sets import exam_set


def test_a_corpus_is_labelled_and_reopened(tmp_path: Path) -> None:
    made = data.corpus(tmp_path, 10, 1)
    assert made.images.shape == (10 * data.PER_REFERENCE, 128, 128, 3)
    labels = made.labels
    assert set(labels["class"]) == set(range(8)) and labels["level"].min() == 0 and labels["level"].max() == 5
    clean = labels["clean"]
    assert np.all(labels["class"][clean] == data.CLASSES.index("clean"))
    distorted = np.flatnonzero(labels["class"] != data.CLASSES.index("clean"))
    assert not any(np.array_equal(made.images[i], made.images[clean[i]]) for i in distorted[:40])
    assert made.caption(0).startswith("a ") and made.caption(9 * data.PER_REFERENCE) == data.PHOTOGRAPH
    again = data.corpus(tmp_path, 10, 1)
    assert np.array_equal(again.images, made.images)


def test_training_scenes_never_appear_in_an_exam(tmp_path: Path) -> None:
    made = data.corpus(tmp_path, 10, 1)
    trained = {image.tobytes() for image in made.images}
    for split in ("exam", "train"):
        shown = exam_set(references=10, split=split, measure=False)  # type: ignore[arg-type]
        assert not any(s.image.tobytes() in trained for s in shown)
