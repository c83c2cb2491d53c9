"""A stimulus reaches the model's processor as its file holds it: never resized, never encoded again."""

import ast
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import snellen as sn
from hooks.extract import extract
from hooks.load import Mllm
from stimuli import sets
from stimuli.types import StimulusSet
from tests import miniatures

ROOT = Path(__file__).parent.parent
ROOMS = ("stimuli", "hooks", "probes", "tuning", "analysis", "snellen")
READERS = {
    "kadid10k": lambda root: sets.kadid10k(miniatures.kadid(root, types=(1, 10))),
    "tid2013": lambda root: sets.tid2013(miniatures.tid(root)),
    "spaq": lambda root: sets.spaq(miniatures.spaq(root)),
    "pipal": lambda root: sets.pipal(miniatures.pipal(root)),
}


def digest(image: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(image).tobytes() + str(image.shape).encode()).hexdigest()


def decoded(path: Path) -> str:
    with Image.open(path) as picture:
        return digest(np.asarray(picture.convert("RGB")))


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("workers", [0, 2])
def test_what_a_reader_finds_reaches_the_processor_unchanged(
    name: str, workers: int, llava: Mllm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = READERS[name](tmp_path)
    shown = StimulusSet(list(found)[:10], name)
    given: list[str] = []
    real = llava.processor.image_processor.preprocess

    def listening(images: Any, *arguments: Any, **options: Any) -> Any:
        given.extend(digest(np.asarray(image)) for image in (images if isinstance(images, list | tuple) else [images]))
        return real(images, *arguments, **options)

    monkeypatch.setattr(llava.processor.image_processor, "preprocess", listening)
    extract(llava, shown, ["pixels", "processed"], workers=workers, progress=False)
    files = {decoded(s.pixels) for s in shown if isinstance(s.pixels, Path)}
    assert len(files) == len(shown) and set(given) == files


def test_no_image_is_encoded_with_loss_but_by_the_distortions_that_are_about_it() -> None:
    lossy = {"JPEG", "JPG", "WEBP", "JPEG2000"}
    where = set()
    for room in ROOMS:
        for file in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.keyword) and node.arg == "format" and isinstance(node.value, ast.Constant):
                    if str(node.value.value).upper() in lossy:
                        where.add(file.relative_to(ROOT).as_posix())
    assert where == {"stimuli/distortions/compression.py", "stimuli/distortions/depictqa_compression.py"}


def test_a_set_written_and_read_back_gives_the_same_activations(llava: Mllm, tmp_path: Path) -> None:
    made = sn.stimuli.exam_set(2, levels=(5,), size=64, region="box")
    back = sn.stimuli.from_csv(sn.stimuli.save(made, tmp_path))
    stores = [extract(llava, shown, ["pixels", "vision.0"], progress=False) for shown in (made, back)]
    for site in ("pixels", "vision.0"):
        assert np.array_equal(stores[0].read(site).values, stores[1].read(site).values)
