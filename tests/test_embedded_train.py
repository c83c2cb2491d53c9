"""The recipe runs from end to end."""

from pathlib import Path

import pytest

from snellen.embedded import PATIENTS, train


@pytest.mark.heavy
def test_the_quick_recipe_makes_two_loadable_patients_and_resumes(tmp_path: Path) -> None:
    from transformers import AutoModelForImageTextToText

    first = train.train(tmp_path / "work", tmp_path / "out", train.QUICK, "cpu")
    assert set(first) == {"corpus", "encoder", "see-through", "language of embedded", "language of embedded-template"}
    weights = {p: (tmp_path / "out" / p / "model.safetensors").read_bytes() for p in PATIENTS}
    assert weights["embedded"] != weights["embedded-template"]
    train.train(tmp_path / "work", tmp_path / "again", train.QUICK, "cpu")
    for patient in PATIENTS:
        assert (tmp_path / "again" / patient / "model.safetensors").read_bytes() == weights[patient]
        AutoModelForImageTextToText.from_pretrained(tmp_path / "out" / patient)
