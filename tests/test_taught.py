"""One component taught: reported on references that were not learnt, saved as others load it, drawn."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from hooks.load import Mllm, load
from snellen.taught import teach_one, training_set
from stimuli.errors import InputError

OPTIONS: dict[str, Any] = {"steps": 2, "batch_size": 4, "replay_images": 2, "progress": False, "n_boot": 50}


def test_no_reference_is_learnt_and_reported() -> None:
    train, shown = training_set("embedded", 12, (5,), 0.2, 0, progress=False)
    assert shown is not None and len(shown.references) == 8 and not set(train.references) & set(shown.references)
    train, shown = training_set("leaves", 3, (3, 5), 0.0, 0, pairs=True, progress=False)
    assert shown is None and len(train) > 3 * 25
    with pytest.raises(InputError, match="Got --test 1.5"):
        training_set("embedded", 12, (5,), 1.5, 0)


def test_a_folder_of_the_user_s_is_parted_by_reference(tmp_path: Path) -> None:
    import numpy as np
    from PIL import Image

    for number in range(6):
        Image.fromarray(np.random.default_rng(number).integers(0, 255, (40, 48, 3), np.uint8)).save(tmp_path / f"{number}.png")
    train, shown = training_set(str(tmp_path), 6, (5,), 0.34, 0, progress=False)
    assert shown is not None and len(shown.references) == 2 and len(train.references) == 4
    assert not set(train.references) & set(shown.references)


@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_run_leaves_a_report_a_loadable_model_and_figures(
    llava: Mllm, llava_folder: Path, tmp_path: Path, method: str
) -> None:
    train, shown = training_set("embedded", 3, (5,), 0.2, 0, progress=False)
    done = teach_one(llava, train, shown, "projector", tmp_path, method=method, **OPTIONS)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["results"]["n"] == len(shown or ()) and report["audit"]["unchanged"]
    assert {row["measure"] for row in report["forgotten"]} >= {"description", "quality SRCC"}
    assert {path.name for path in (tmp_path / "figures").glob("*.png")} == {"training.png", "movement.png", "forgetting.png"}
    if method == "full":
        again = load(tmp_path / "model", device="cpu")
        assert "None were measured" not in (tmp_path / "model" / "README.md").read_text()
    else:
        again = load(llava_folder, device="cpu", adapter=tmp_path / "adapter")
    kept = dict(done.tuned.mllm.model.named_parameters())
    assert all(torch.allclose(value, kept[name], atol=1e-6) for name, value in again.model.named_parameters())
    stamp = (tmp_path / "tuning.json").stat().st_mtime_ns
    assert teach_one(llava, train, shown, "projector", tmp_path, method=method, **OPTIONS).results == done.results
    assert (tmp_path / "tuning.json").stat().st_mtime_ns == stamp
