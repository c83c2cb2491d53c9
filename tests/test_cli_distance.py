"""``snellen distance``: one model, before and after, the three kinds of a model after, and refusals."""

import copy
import csv
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from hooks.load import Mllm
from snellen.cli_distance import after_model, words_of_gap
from stimuli.errors import InputError

FEW = ("--references", "3", "--levels", "3", "--no-progress")


def run(*arguments: str | Path) -> str:
    from snellen.cli import app

    done = CliRunner().invoke(app, ["distance", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


@pytest.fixture(scope="module")
def adapter(llava: Mllm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PEFT adapter on the projector that changes it."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    config = LoraConfig(r=2, target_modules=r".*multi_modal_projector\.linear_1", init_lora_weights=False)
    folder = tmp_path_factory.mktemp("adapter")
    get_peft_model(copy.deepcopy(llava.model), config).save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_before_and_after_are_compared_and_everything_is_written(llava_folder: Path, adapter: Path, tmp_path: Path) -> None:
    said = run(llava_folder, adapter, *FEW, "--measures", "cosine,centred,margin", "--geometry", "--out", tmp_path)
    assert "After less before, paired over references, Holm over sites and classes" in said and "p_holm" in said
    table, changes = rows_of(tmp_path / "distance.csv"), rows_of(tmp_path / "distance_change.csv")
    assert {row["model"] for row in table} == {"before", "after"} and {row["site"] for row in changes} >= {"projector", "llm.3"}
    own = {row["model"]: row for row in table if (row["site"], row["class"]) == ("projector", "all")}
    change = next(r for r in changes if (r["site"], r["class"], r["measure"]) == ("projector", "all", "centred"))
    assert float(change["change"]) == pytest.approx(float(own["after"]["centred"]) - float(own["before"]["centred"]))
    assert float(change["change"]) != 0
    about = json.loads((tmp_path / "distance.json").read_text())
    assert about["models"]["after"]["adapter"] == adapter.name and about["models"]["before"]["adapter"] is None
    assert about["references"] == 3 and about["notes"] and len(about["distance_change"]) == len(changes)
    likeness = {
        (r["site"], r["measure"]): float(r["value"]) for r in rows_of(tmp_path / "geometry.csv") if r["model"] == "both"
    }
    assert likeness["vision.5", "cka"] == pytest.approx(1) and likeness["projector", "procrustes"] > 0
    assert rows_of(tmp_path / "geometry_change.csv") and "Intervals: 95 %, jackknife" in said
    assert {"alike.png", "shape.pdf", "map_centred.png", "map_centred.pdf", "map_centred.csv", "arrows.png", "arrows.pdf"} <= {
        p.name for p in (tmp_path / "figures").iterdir()
    }


def test_two_models_are_compared_on_the_screen(llava_folder: Path) -> None:
    said = run(llava_folder, llava_folder, *FEW, "--measures", "centred")
    changes = said.split("Holm over sites and classes\n")[1].splitlines()
    assert changes[0].split()[:5] == ["site", "space", "measure", "before", "after"]
    assert changes[1].startswith("projector") and changes[1].split()[5] == "0.000" and changes[1].split()[-1] == "1.000"


def test_one_model_to_a_table(llava_folder: Path, tmp_path: Path) -> None:
    said = run(llava_folder, *FEW, "--words", "contextual", "--measures", "centred", "--out", tmp_path / "d.csv")
    assert "hidden states in a neutral sentence" in said and len(rows_of(tmp_path / "d.csv")) > 6
    assert not (tmp_path / "figures").exists()


def test_the_gap_is_to_words_of_the_kind_asked_for_where_such_words_live(llava: Mllm) -> None:
    from analysis.word_vectors import word_vectors

    sites = ["vision.0", "projector", "llm.embed", "llm.0", "llm.3"]
    found = {kind: words_of_gap(llava, ["blur", "noise"], sites, kind) for kind in ("input", "contextual", "unembedding")}
    assert (
        list(found["input"]) == sites[1:3]
        and list(found["contextual"]) == sites[1:]
        and list(found["unembedding"]) == sites[3:]
    )
    own = found["contextual"]
    assert not np.allclose(own["llm.0"], own["llm.3"]), "of the site's own depth"
    assert np.allclose(own["llm.3"], word_vectors(llava, ["blur", "noise"], ["llm.3"], "contextual")["llm.3"])
    head = llava.model.get_output_embeddings().weight.shape
    assert found["unembedding"]["llm.3"].shape == (2, head[1]) and not np.allclose(found["unembedding"]["llm.3"], own["llm.3"])


def test_geometry_takes_each_models_own_words_of_the_kind(
    llava: Mllm, llava_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import analysis.geometry
    import snellen.cli_distance as module

    given: list[Any] = []

    def geometry(*stores: Any, words: Any, **_: Any) -> SimpleNamespace:
        given.append(words)
        return SimpleNamespace(note="", table=[], change=[])

    moved = copy.deepcopy(llava.model)
    with torch.no_grad():
        moved.get_input_embeddings().weight.add_(1.0)
    monkeypatch.setattr(module, "after_model", lambda *_: replace(llava, model=moved))
    monkeypatch.setattr(analysis.geometry, "geometry", geometry)
    run(llava_folder, "tuned", *FEW, "--measures", "cosine", "--geometry", "--words", "contextual")
    before, after = given[0]
    assert set(before) == set(after) and {"projector", "llm.embed", "llm.0", "llm.3"} <= set(before)
    assert np.allclose(after["llm.embed"] - before["llm.embed"], 1, atol=1e-5), "the words after tuning are those after tuning"


def test_an_adapter_is_put_on_a_copy_and_a_checkpoint_is_loaded(llava: Mllm, llava_folder: Path, adapter: Path) -> None:
    weight = llava.model.state_dict()["model.multi_modal_projector.linear_1.weight"].clone()
    tuned = after_model(llava, adapter)
    changed = dict(tuned.model.named_parameters())["model.multi_modal_projector.linear_1.weight"]
    assert torch.equal(llava.model.state_dict()["model.multi_modal_projector.linear_1.weight"], weight)
    assert not torch.allclose(changed, weight)
    assert after_model(llava, llava_folder).provenance["checksum"] == llava.provenance["checksum"]


def test_a_tuning_folder_is_opened_on_the_model_before(llava: Mllm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tuning.tuned

    asked: list[tuple[Mllm, Path]] = []

    def reopen(mllm: Mllm, folder: Path) -> SimpleNamespace:
        asked.append((mllm, folder))
        return SimpleNamespace(mllm=replace(mllm, name="tuned"))

    monkeypatch.setattr(tuning.tuned, "reopen", reopen, raising=False)
    (tmp_path / "tuning.json").write_text("{}")
    assert after_model(llava, tmp_path).name == "tuned" and asked == [(llava, tmp_path)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--measures", "cosin"), "expected some of cosine, centred"),
        (("--words", "output"), "expected one of input, contextual, unembedding"),
        (("after", "--out", "d.csv"), "expected a folder, since there are two tables"),
    ],
)
def test_what_would_fail_late_is_refused_early(arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        run("embedded", *arguments)
