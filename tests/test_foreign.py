"""Features made elsewhere are probed as a store's own are, and what is not plain numbers is refused by its words."""

import csv
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from hooks.foreign import Features, read_features
from probes.sweep import sweep
from snellen.probing import Probing, Wanted, probe, target_in
from stimuli.errors import InputError
from tests.test_cli import here, refused
from tests.test_sweep import FakeStore
from tests.test_sweep import store as planted

SITES = {"vision.0": 2.0, "projector": 0.5}


@pytest.fixture(scope="module")
def made() -> FakeStore:
    return planted(SITES, 6)


@pytest.fixture(scope="module")
def labels(made: FakeStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [{"id": id, "Reference": row["reference"], "type": row["type"] or "", "level": row["level"], "artist": "ann" if i % 2 else "ben"}
            for i, (id, row) in enumerate(made.rows.items())]  # fmt: skip
    return listed(tmp_path_factory.mktemp("labels") / "mine.csv", rows)


def listed(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def stacked(made: FakeStore) -> np.ndarray:
    return np.stack(list(made.values.values()), axis=1)


def written(kind: str, made: FakeStore, folder: Path) -> tuple[Path, list[str] | None]:
    """The same features in one of the forms that are read."""
    if kind == "stacked":
        np.save(folder / "all.npy", stacked(made))
        return folder / "all.npy", list(SITES)
    if kind == "safetensors":
        save_file({site: torch.from_numpy(value) for site, value in made.values.items()}, folder / "all.safetensors")
        return folder / "all.safetensors", None
    for site, value in made.values.items():
        np.save(folder / f"{site}.npy", np.asfortranarray(value) if site == "projector" else value)
    return folder, None


@pytest.mark.parametrize("kind", ["stacked", "safetensors", "folder"])
def test_every_form_gives_what_a_store_gives(kind: str, made: FakeStore, labels: Path, tmp_path: Path) -> None:
    path, names = written(kind, made, tmp_path)
    found = read_features(path, labels, names)
    assert set(found.sites) == set(SITES) and found.ids == tuple(made.rows)
    for site, value in made.values.items():
        own = found.read(site)
        assert np.array_equal(own.values, value) and own.of(found.ids[3]).tolist() == value[3].tolist()
        assert isinstance(own.parts, np.memmap)
    row = found.metadata(found.ids[2])
    assert (row["reference"], row["type"], row["level"], row["artist"]) == ("r0", "gaussian_blur", 1, "ben")


def test_the_table_is_that_of_a_store_with_the_same_rows(made: FakeStore, labels: Path, tmp_path: Path) -> None:
    path, names = written("stacked", made, tmp_path)
    found = read_features(path, labels, names)
    options: dict[str, Any] = {"folds": 2, "n_boot": 20, "penalties": [1e-2], "progress": False, "sites": ["vision.0"]}
    assert sweep(found, **options).table == sweep(made, **options).table
    assert sweep(found, "artist", **options).table[0]["chance"] == 0.5


@pytest.mark.slow
@pytest.mark.heavy
def test_controls_that_need_no_images_are_those_of_a_store(made: FakeStore, labels: Path, tmp_path: Path) -> None:
    path, names = written("stacked", made, tmp_path)
    wanted = Wanted(control_task=("cell",), equal_dimension=True, by_type=True, transfer=("level",))
    made.config = {}  # type: ignore[attr-defined]
    found, theirs = (
        probe(Probing(own, folds=3, progress=False), wanted)[0]  # type: ignore[arg-type]
        for own in (read_features(path, labels, names), made)
    )
    assert found == theirs and set(found) > {"probe", "control_task_cell", "equal_dimension", "types", "transfer_level"}


def test_without_names_sites_are_numbered(made: FakeStore, labels: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "mine.npy", np.concatenate([stacked(made)] * 6, axis=1))
    assert read_features(tmp_path / "mine.npy", labels).sites == tuple(f"mine.{i}" for i in range(12))


@pytest.mark.slow
def test_sites_without_names_can_be_compared_for_numbers(made: FakeStore, labels: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "mine.npy", stacked(made))
    found = read_features(tmp_path / "mine.npy", labels)
    chosen = Probing(found, target="level", kind="numbers", folds=3, progress=False)
    tables, _ = probe(chosen, Wanted(differences=True))
    assert [row["component"] for row in tables["probe"]] == ["input", "input"]
    best = max(tables["probe"], key=lambda row: row["score"])["site"]
    assert [row["against"] for row in tables["differences"]] == [best]


def test_files_of_a_folder_are_in_the_order_of_their_numbers(made: FakeStore, labels: Path, tmp_path: Path) -> None:
    for site in ("llm.10", "llm.2", "llm.1"):
        np.save(tmp_path / f"{site}.npy", made.values["vision.0"])
    assert read_features(tmp_path, labels).sites == ("llm.1", "llm.2", "llm.10")


def test_half_precision_and_bfloat16_are_read_as_they_are(made: FakeStore, labels: Path, tmp_path: Path) -> None:
    value = made.values["vision.0"]
    np.save(tmp_path / "half.npy", value.astype(np.float16))
    np.save(tmp_path / "big.npy", value.astype(">f4"))
    save_file({"brain": torch.from_numpy(value).bfloat16()}, tmp_path / "a.safetensors")
    found = read_features(tmp_path, labels)
    assert np.array_equal(found.read("half").values, value.astype(np.float16))
    assert np.array_equal(found.read("big").values, value)
    assert np.array_equal(found.read("brain").values, torch.from_numpy(value).bfloat16().float().numpy())


def test_one_site_at_a_time_is_read(labels: Path, made: FakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A middle-axis slice of a file far larger than its rows takes no more than the slice."""
    import tracemalloc

    n = len(made.rows)
    whole = np.lib.format.open_memmap(tmp_path / "large.npy", "w+", np.float32, (n, 100, 1024))
    whole[:, 7] = 1.5
    del whole
    found = read_features(tmp_path / "large.npy", labels)
    tracemalloc.start()
    total = float(np.asarray(found.read("large.7").values).sum())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 1.5 * n * 1024 and peak < 3 * n * 1024 * 4 < (tmp_path / "large.npy").stat().st_size / 30


def test_other_bytes_are_another_probing(made: FakeStore, labels: Path, tmp_path: Path) -> None:
    path, names = written("stacked", made, tmp_path)
    settings = Probing(read_features(path, labels, names)).settings("classes", None)
    assert Probing(read_features(path, labels, names)).settings("classes", None) == settings
    changed = stacked(made)
    changed[-1, -1, -1] += 1
    np.save(path, changed)
    other = Probing(read_features(path, labels, names)).settings("classes", None)
    assert {key for key in settings if settings[key] != other[key]} == {"activations"}


class Bomb:
    """Says so when it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return pytest.fail, ("unpickled",)


def spoil(kind: str, folder: Path, value: np.ndarray) -> Path:
    path = folder / "bad.npy"
    if kind == "pickled array":
        np.save(path, np.array([Bomb()] * len(value), object), allow_pickle=True)
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(Bomb()))
    elif kind == "archive":
        with open(path, "wb") as handle:
            np.savez(handle, value)
    elif kind == "short":
        np.save(path, value)
        path.write_bytes(path.read_bytes()[:-8])
    elif kind == "short safetensors":
        path = folder / "bad.safetensors"
        save_file({"a": torch.from_numpy(value)}, path)
        path.write_bytes(path.read_bytes()[:-8])
    elif kind == "deep safetensors":
        path = folder / "bad.safetensors"
        save_file({"a": torch.zeros(2, 3, 4)}, path)
    elif kind == "whole numbers":
        np.save(path, value.astype(np.uint16))
    elif kind == "flat":
        np.save(path, value[:, 0])
    elif kind == "fewer":
        np.save(path, value[:-1])
    elif kind == "text":
        path = folder / "bad.csv"
        path.write_text("1,2")
    elif kind == "twice":
        np.save(path, value)
        save_file({"bad": torch.from_numpy(value)}, folder / "bad.safetensors")
        return folder
    elif kind == "empty folder":
        return folder
    return path


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (
            "pickled array",
            r"bad.npy cannot be read as an array \(.*Python objects.*no pickled objects, no archive. Save it again",
        ),
        ("pickle", "bad.npy cannot be read as an array"),
        ("archive", "bad.npy cannot be read as an array"),
        ("short", "bad.npy cannot be read as an array"),
        ("short safetensors", r"bad.safetensors cannot be read \(.*Save or fetch it again"),
        ("deep safetensors", r"tensor 'a' in .* has the shape \(2, 3, 4\); expected \(n, d\), one tensor per site"),
        ("whole numbers", r"'bad' in .*bad.npy has the type uint16; expected one of float16, float32.*astype\('float32'\)"),
        ("flat", r"has the shape \(54,\); expected \(n, d\) or \(n, sites, d\). Reshape it"),
        ("fewer", "mine.csv describes 54 stimuli, and 'bad' in .* has 53 rows. Expected one line per row, in the same order"),
        ("text", "is neither .npy nor .safetensors"),
        ("twice", "The site 'bad' is in two files"),
        ("empty folder", "holds no .npy and no .safetensors file"),
        ("nothing", "There are no features at .*bad.npy"),
    ],
)
def test_what_is_no_plain_array_is_refused(kind: str, words: str, made: FakeStore, labels: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        read_features(spoil(kind, tmp_path, made.values["vision.0"]), labels)


def test_nan_is_refused_with_the_site_and_the_stimuli(made: FakeStore, labels: Path, tmp_path: Path) -> None:
    spoiled = stacked(made)
    spoiled[4, 1, 2] = np.nan
    np.save(tmp_path / "x.npy", spoiled)
    with pytest.raises(
        InputError, match=r"At site 'x.1': 1 of 48 activation rows hold NaN or infinity \(stimuli r0-white_noise-1"
    ):
        sweep(read_features(tmp_path / "x.npy", labels), sites=["x.1"], progress=False)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id,type\na,jpeg\n", r"has the columns \['id', 'type'\]; expected at least 'id' and 'reference'"),
        ("id,reference\n", "describes no stimuli"),
        ("id,reference\na,\n", "line 2: reference is empty. Expected a name; the reference is the source image"),
        ("id,reference\na,r\na,r\n", "line 2 and .*line 3 have the same id 'a'"),
        ("id,reference,level\na,r,much\n", "line 2: level is 'much'. Expected a whole number as level"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused(text: str, words: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1, 3)))
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(InputError, match=words):
        read_features(tmp_path / "x.npy", tmp_path / "x.csv")


def test_names_that_do_not_fit_and_missing_lists_are_refused(made: FakeStore, labels: Path, tmp_path: Path) -> None:
    path, _ = written("stacked", made, tmp_path)
    with pytest.raises(InputError, match=r"Got 1 names of sites \(a\) for the array .* which has 2"):
        read_features(path, labels, ["a"])
    with pytest.raises(
        InputError, match="come without a list of their stimuli. Expected a CSV with the columns 'id' and 'reference'"
    ):
        read_features(path)
    with pytest.raises(InputError, match="Got names of sites for the folder"):
        read_features(tmp_path, labels, ["a"])
    np.save(tmp_path / "more#offsets.npy", np.arange(len(made.rows) + 1))
    with pytest.raises(InputError, match="'more#offsets' in .* says where rows start, but their site is not there"):
        read_features(tmp_path, labels)
    (tmp_path / "more#offsets.npy").unlink()
    (tmp_path / "sites.json").write_text(json.dumps({"sites": [{"site": "a", "file": "../secret.npy"}]}))
    with pytest.raises(InputError, match="sites.json cannot be used .*secret"):
        read_features(tmp_path, labels)
    with pytest.raises(InputError, match="There is no site 'z' in .*; it holds all.0, all.1"):
        read_features(path, labels).read("z")


def test_the_target_is_the_label_where_there_are_no_types(made: FakeStore, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", made.values["vision.0"])
    rows = [{"id": id, "reference": row["reference"], "label": str(row["type"])} for id, row in made.rows.items()]

    def opened(*columns: str) -> Features:
        return read_features(
            tmp_path / "x.npy", listed(tmp_path / "x.csv", [{key: row[key] for key in columns} for row in rows])
        )

    assert target_in(opened("id", "reference", "label"), "distortion") == "label"
    assert target_in(opened("id", "reference", "label"), "mos") == "mos"
    with pytest.raises(InputError, match="has the columns id, reference; expected 'type' or 'label', or --target COLUMN"):
        target_in(opened("id", "reference"), "distortion")


@pytest.mark.slow
def test_on_the_command_line(made: FakeStore, labels: Path, tmp_path: Path) -> None:
    path, names = written("stacked", made, tmp_path)
    more = ("--site-names", ",".join(names or ()), "--folds", "3", "--no-progress", "--out", tmp_path / "p.csv")
    shown = here("probe", "--features", path, "--labels", labels, *more)
    assert "baselines of pixel statistics and of random weights are left out" in shown and "vision.0" in shown
    with open(tmp_path / "p.csv") as handle:
        scores = {row["site"]: float(row["score"]) for row in csv.DictReader(handle)}
    assert scores["vision.0"] > 0.8 and list(scores) == list(SITES)


def test_the_command_line_takes_one_or_the_other(tmp_path: Path) -> None:
    assert "Got nothing to probe. Expected a folder that `snellen extract` wrote, or --features" in refused("probe")
    assert "expected one of them. Leave one out" in refused("probe", tmp_path, "--features", tmp_path / "x.npy")
    assert "Got --site-names for" in refused("probe", tmp_path, "--site-names", "a")
