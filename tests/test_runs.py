"""The exam end to end on a small budget, its outputs, and what it refuses."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import snellen as sn
from hooks.load import Mllm
from stimuli.errors import InputError

SMALL: dict[str, Any] = {
    "references": 10, "train_references": 10, "steps": 1, "batch_size": 8, "levels": (3, 5), "n_boot": 100, "folds": 3,
    "progress": False, "few": 2, "repeats": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return sn.exam("embedded", tmp_path_factory.mktemp("exam") / "run", **SMALL)


@pytest.mark.heavy
def test_results_have_every_part_and_every_number_is_finite_or_null(finished: Any) -> None:
    results = json.loads((finished.folder / "results.json").read_text())
    assert set(results) == {"provenance", "stimuli", "perception", "survival", "tuning", "distance", "cause", "verdict"}
    assert results["verdict"]["component"] in ("vision", "projector", "llm", "none", "cannot tell")
    assert set(results["tuning"]["arms"]) == {"projector", "llm", "vision", "vision+constraint"}
    for arm in results["tuning"]["arms"].values():
        assert arm["audit"]["unchanged"] and arm["audit"]["largest_move"]["norm"] > 0
    sites = [row["site"] for row in results["survival"]["base"]]
    assert sites[:3] == ["pixels", "processed", "vision.embed"] and sites[-1].startswith("llm.")
    assert [row["site"] for row in results["survival"]["baselines"]] == ["baseline:pixel-statistics", "baseline:random-weights"]
    said = {
        "base",
        "open",
        "blind",
        "arms",
        "protocols",
        "controls",
        "consistency",
        "thresholds",
        "quality",
        "score_consistency",
    }
    assert said | {"bias", "preference", "unsaid", "gallery", "notes", "few_references"} == set(results["perception"])
    assert results["provenance"]["model"]["checksum"] and results["provenance"]["config"]["seed"] == 0


@pytest.mark.heavy
def test_figures_come_as_png_pdf_svg_and_csv(finished: Any) -> None:
    names = {path.stem for path in (finished.folder / "figures").glob("*.png")}
    assert {"survival", "survival_arms", "tuning", "distance", "plane", "responses", "confusion"} <= names
    assert {
        "protocols",
        "controls",
        "types",
        "agreement",
        "bias",
        "templates",
        "quality",
        "flips",
        "unsaid",
        "gallery",
    } <= names
    for name in names:
        for ending in ("png", "pdf", "svg", "csv"):
            assert (finished.folder / "figures" / f"{name}.{ending}").stat().st_size > 100
    with open(finished.folder / "tables" / "survival.csv") as handle:
        rows = list(csv.DictReader(handle))
    assert all(0 <= float(row["low"]) <= float(row["score"]) <= float(row["high"]) <= 1 for row in rows)


@pytest.mark.heavy
def test_the_report_is_one_page_that_asks_for_nothing(finished: Any) -> None:
    page = finished.report.read_text()
    assert finished.sentence.split(":")[0][:40] in page.replace("&#39;", "'")
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", page)
    order = [page.index(f'id="{part}"') for part in ("verdict", "evidence", "detail", "made")]
    assert order == sorted(order)
    assert page.count("<img") == page.count("alt=") > 5


@pytest.mark.heavy
def test_a_second_run_is_done_and_another_config_is_refused(finished: Any) -> None:
    before = (finished.folder / "results.json").stat().st_mtime_ns
    assert sn.exam("embedded", finished.folder, **SMALL).verdict == finished.verdict
    assert (finished.folder / "results.json").stat().st_mtime_ns == before
    with pytest.raises(InputError, match=r"holds another exam \(.*seed: 0 → 1.*nothing was overwritten"):
        sn.exam("embedded", finished.folder, **SMALL, seed=1)


def timeless(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Steps without their wall time."""
    assert all(step["seconds"] > 0 for step in history)
    return [{name: value for name, value in step.items() if name != "seconds"} for step in history]


@pytest.mark.heavy
def test_a_killed_exam_goes_on_and_gives_the_same(finished: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from snellen import exam_distances, examination

    monkeypatch.setattr(examination, "written", lambda *_, **__: {})  # neither figures nor the plane are compared here
    monkeypatch.setattr(exam_distances, "_plane", lambda *_: None)
    two = {**SMALL, "arms": ("projector", "llm"), "interview": "off"}  # each arm is what it is among others
    real = examination._arm

    def dies(name: str, *arguments: Any) -> Any:
        if name == "llm":
            raise KeyboardInterrupt
        return real(name, *arguments)

    monkeypatch.setattr(examination, "_arm", dies)
    with pytest.raises(KeyboardInterrupt):
        sn.exam("embedded", tmp_path / "killed", **two)
    assert (tmp_path / "killed" / "arms" / "projector" / "tuning.json").is_file()
    assert not (tmp_path / "killed" / "results.json").exists()
    monkeypatch.setattr(examination, "_arm", real)
    resumed = sn.exam("embedded", tmp_path / "killed", **two)
    for part in ("perception", "survival", "tuning"):
        again, whole = resumed.results[part], finished.results[part]
        assert json.dumps(again["base"]) == json.dumps(whole["base"]), part
        for arm in two["arms"]:
            own, other = (
                {**found["arms"][arm], "p_holm": None, "history": timeless(found["arms"][arm]["history"])}
                if part == "tuning"
                else found["arms"][arm]
                for found in (again, whole)
            )
            assert json.dumps(own) == json.dumps(other), (part, arm)  # Holm's p depends on how many arms there are
    for found in ("survival", "encoded, not said"):
        rows = [[row for row in done.results["verdict"]["evidence"] if row["note"] == found] for done in (resumed, finished)]
        assert rows[0] and json.dumps(rows[0]) == json.dumps(rows[1])


@pytest.mark.heavy
def test_the_users_own_images_with_one_of_them_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snellen.examination.written", lambda *_, **__: {})  # figures are drawn by the other exam
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(9):
        picture = sn.stimuli.exam_set(1, seed=i, measure=False, photographs=False, size=96)[-1].image
        Image.fromarray(picture).save(folder / f"{i}.png")
    broken = folder / "4.png"
    broken.write_bytes(broken.read_bytes()[:200])
    settings = {**SMALL, "references": 8, "arms": (), "images": str(folder), "interview": "off"}
    done = sn.exam("embedded", tmp_path / "run", **settings)
    assert [row["id"] for row in done.results["stimuli"]["skipped"]] == [broken.name]
    assert done.results["stimuli"]["exam"]["references"] == 8 and broken.name in done.report.read_text()
    with pytest.raises(InputError, match=f"{broken.name} cannot be read"):
        sn.exam("embedded", tmp_path / "strict", **{**settings, "strict": True})


def test_an_output_folder_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match="is not empty and holds no exam of Snellen's"):
        sn.exam("embedded", tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_a_folder_that_a_refused_start_claimed_can_be_used_again(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Unknown model"):
        sn.exam("embeded", tmp_path / "run", **SMALL)
    with pytest.raises(InputError, match="holds zero images"):
        (tmp_path / "empty").mkdir()
        sn.exam("embedded", tmp_path / "run", images=str(tmp_path / "empty"), **SMALL)


def test_a_model_without_a_projector_is_refused_before_anything_is_computed(
    monkeypatch: pytest.MonkeyPatch, llava: Mllm, tmp_path: Path
) -> None:
    sites = {site: name for site, name in llava.stages.sites.items() if site != "projector"}
    bare = replace(llava, stages=replace(llava.stages, sites=sites))
    monkeypatch.setattr("snellen.examination.load", lambda *given, **options: bare)
    with pytest.raises(InputError, match="LlavaForConditionalGeneration has no projector.*sn.tune of vision or llm"):
        sn.exam("embedded", tmp_path / "run", **SMALL)
    assert not (tmp_path / "run" / "results.json").exists()
