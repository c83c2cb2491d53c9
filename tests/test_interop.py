"""The page about other tools: its lines run, and what it shows of files is read as it says."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stimuli.mcq import read_mcq

PAGE = (Path(__file__).parent.parent / "docs" / "interop.md").read_text()


@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore:Tensorflow not installed:ImportWarning")  # of umap, which the page imports as anyone would
def test_one_line_each_for_scikit_learn_captum_and_umap() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    names: dict[str, object] = {}
    exec(compile(code, "interop.md", "exec"), names)
    n, d = names["acts"].values.shape  # type: ignore[attr-defined]
    assert n == 48 and np.asarray(names["scores"]).shape == (3,)
    assert tuple(names["shares"].shape) == (n, d) and names["plane"].shape == (n, 2)  # type: ignore[attr-defined]
    # integrated gradients of a linear map are its terms (Sundararajan et al. 2017)
    terms = names["acts"].values * names["probe"].coef_[0]  # type: ignore[attr-defined]
    assert np.allclose(names["shares"].numpy(), terms, atol=1e-4)  # type: ignore[attr-defined]


def test_the_task_that_is_shown_is_read(tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)
    (tmp_path / "task.yaml").write_text(text)
    rows = [{"image": "a.png", "question": "Sharp? ", "choices": {"text": ["yes", "no"]}, "answer": "B"}]
    (tmp_path / "data.json").write_text(json.dumps(rows))
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "a.png")
    found = read_mcq(tmp_path / "task.yaml")
    assert found.name == "sharpness" and found.questions[0].correct == 1 and found.questions[0].question == "Sharp?"
