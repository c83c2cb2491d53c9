"""Sets of ``datasets`` become stimuli whose images are decoded on demand: with a stand-in of the same protocol, and with the package."""

import sys
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from snellen.sources import labelled
from stimuli.errors import InputError
from stimuli.mcq import read_mcq
from stimuli.sets import from_dataset


def drawn(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (6, 7, 3), np.uint8)


def encoded(seed: int) -> bytes:
    content = BytesIO()
    Image.fromarray(drawn(seed)).save(content, "PNG")
    return content.getvalue()


class StandIn:
    """As much of a ``Dataset`` as is used; it counts how often its images are decoded."""

    def __init__(self, rows: list[dict[str, Any]], decoded: list[int] | None = None, names: list[str] | None = None) -> None:
        self.rows, self.decoded, self.names = rows, [] if decoded is None else decoded, names

    @property
    def column_names(self) -> list[str]:
        return list(self.rows[0])

    @property
    def features(self) -> dict[str, Any]:
        return {
            key: SimpleNamespace(names=self.names) if key == "label" and self.names else object() for key in self.column_names
        }

    def select_columns(self, column_names: list[str]) -> "StandIn":
        return StandIn([{key: row[key] for key in column_names} for row in self.rows], self.decoded, self.names)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: int) -> dict[str, Any]:
        if "image" in self.rows[key]:
            self.decoded.append(key)
        return self.rows[key]


def rows(form: Any = lambda seed: Image.fromarray(drawn(seed))) -> list[dict[str, Any]]:
    return [
        {"image": form(i), "reference": f"r{i // 2}", "distortion": "jpeg" if i % 2 else None, "level": 3 if i % 2 else None,
         "mos": 2.5 + i, "label": i % 2, "scene": "street", "parts": None}
        for i in range(4)
    ]  # fmt: skip


def saved(seed: int, folder: Path) -> str:
    Image.fromarray(drawn(seed)).save(folder / f"{seed}.png")
    return str(folder / f"{seed}.png")


@pytest.mark.parametrize("form", ["decoded", "bytes", "path", "plain bytes", "array", "lists", "name"])
def test_images_in_every_form_are_exact_and_decoded_when_looked_at(form: str, tmp_path: Path) -> None:
    forms: dict[str, Any] = {
        "decoded": lambda i: Image.fromarray(drawn(i)), "bytes": lambda i: {"bytes": encoded(i), "path": None}, "plain bytes": encoded,
        "path": lambda i: {"bytes": None, "path": saved(i, tmp_path)}, "array": drawn, "lists": lambda i: drawn(i).tolist(),
        "name": lambda i: saved(i, tmp_path),
    }  # fmt: skip
    data = StandIn(rows(forms[form]))
    found = from_dataset(data, name="mine")
    assert data.decoded == []
    assert all(np.array_equal(one.image, drawn(i)) for i, one in enumerate(found)) and data.decoded == [0, 1, 2, 3]


def test_columns_are_taken_by_their_names_and_the_rest_as_attributes() -> None:
    found = from_dataset(StandIn(rows(), names=["good", "bad"]))
    one = found[1]
    assert (one.id, one.reference, one.type, one.level, one.mos, one.source) == ("1", "r0", "jpeg", 3, 3.5, "dataset")
    assert one.attributes == {"label": "bad", "scene": "street"} and found[0].type is None and found.references == ("r0", "r1")
    assert found.info == {"dataset": "dataset", "split": None, "rows": 4, "extra_columns": ["label", "scene"]}


def test_columns_may_have_other_names() -> None:
    own = [{"photo": row["image"], "name": f"n{i}", "kind": row["distortion"], "opinion": 1.0} for i, row in enumerate(rows())]
    given = {"id": "name", "type": "kind", "mos": "opinion"}
    found = from_dataset(StandIn(own), image="photo", columns=given, higher_is_better=False)
    assert [one.id for one in found] == [one.reference for one in found] == ["n0", "n1", "n2", "n3"]
    assert found[1].type == "jpeg" and found[1].mos == -1.0 and found[1].mos_original == 1.0 and not found[1].attributes


def test_of_several_splits_one_is_chosen() -> None:
    splits = {"train": StandIn(rows()), "test": StandIn(rows()[:2])}
    assert len(from_dataset(splits, split="test")) == 2 and len(from_dataset({"only": StandIn(rows())})) == 4  # type: ignore[arg-type]
    for split in (None, "dev"):
        with pytest.raises(InputError, match=f"has the splits train, test; got {split}. Expected one of them"):
            from_dataset(splits, split=split)  # type: ignore[arg-type]


def test_what_is_no_set_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="The set has no column photo; it has image, reference"):
        from_dataset(StandIn(rows()), image="photo")
    with pytest.raises(InputError, match="The set has nothing of the name beauty. Expected"):
        from_dataset(StandIn(rows()), columns={"beauty": "mos"})
    with pytest.raises(InputError, match="Got list. Expected a datasets.Dataset"):
        from_dataset(rows())  # type: ignore[arg-type]
    with pytest.raises(InputError, match="dataset, row 0: level is 'much'. Expected a whole number"):
        from_dataset(StandIn([{**rows()[0], "level": "much"}]))
    with pytest.raises(
        InputError, match="There is no folder .*nowhere. Expected a datasets.Dataset, or a folder .* nothing is downloaded"
    ):
        from_dataset(tmp_path / "nowhere")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(
        InputError, match="needs the package datasets, which is not installed. Install it: pip install datasets"
    ):
        from_dataset(tmp_path)
    for value in (None, 7, np.zeros((4, 4)), np.full((4, 4, 3), 0.5), {"bytes": b"x", "path": None}):
        with pytest.raises(InputError, match="The image of dataset, row 0"):
            _ = from_dataset(StandIn([{**rows()[0], "image": value}]))[0].image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A set of the package itself, on disk."""
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({
        "image": datasets.Image(), "reference": datasets.Value("string"), "distortion": datasets.Value("string"),
        "level": datasets.Value("int64"), "mos": datasets.Value("float64"), "label": datasets.ClassLabel(names=["good", "bad"]),
        "choices": datasets.Sequence(datasets.Value("string")), "question": datasets.Value("string"),
    })  # fmt: skip
    more = {"choices": ["good", "bad"], "question": "How is it?"}
    made = [{key: {**row, **more}[key] for key in features} for row in rows()]
    data = {key: [row[key] for row in made] for key in features}
    datasets.Dataset.from_dict(data, features=features).save_to_disk(str(tmp_path / "saved"))
    return tmp_path / "saved"


@pytest.mark.filterwarnings("ignore")
def test_the_package_s_own_folders_are_read(folder: Path) -> None:
    found = from_dataset(folder)
    assert found.name == "saved" and all(np.array_equal(one.image, drawn(i)) for i, one in enumerate(found))
    assert found[1].attributes["label"] == "bad" and found[1].level == 3
    by_name = labelled(f"hf:{folder}")
    assert by_name is not None and [one.metadata() for one in by_name] == [one.metadata() for one in found]
    with pytest.raises(InputError, match="cannot be opened .* Save it again"):
        from_dataset(folder.parent)


@pytest.mark.filterwarnings("ignore")
def test_a_task_may_ask_about_a_folder_of_the_package(folder: Path) -> None:
    task = {"dataset_path": folder.name, "dataset_kwargs": {"load_from_disk": True}, "doc_to_visual": "image", "doc_to_text": "question",
            "doc_to_choice": "choices", "doc_to_target": "label"}  # fmt: skip
    (folder.parent / "t.yaml").write_text(yaml.safe_dump(task))
    found = read_mcq(folder.parent / "t.yaml")
    assert [q.correct for q in found.questions] == [0, 1, 0, 1] and [q.reference for q in found.questions] == [
        "r0",
        "r0",
        "r1",
        "r1",
    ]
    assert np.array_equal(found.stimuli[2].image, drawn(2))
