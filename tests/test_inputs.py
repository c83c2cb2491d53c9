"""What is measured of the inputs, on a processor whose effect is known: it halves an image by averaging four pixels."""

from typing import Any

import numpy as np
import pytest
import torch

from analysis.inputs import input_statistics, measure_inputs
from hooks.load import Mllm
from stimuli.errors import InputError
from stimuli.statistics import pixel_statistics
from stimuli.types import Stimulus, StimulusSet


class Half:
    """Averages two by two pixels; with ``tiles`` it shows the left and the right half of that."""

    do_rescale, rescale_factor = True, 1 / 255

    def __init__(self, tiles: int = 1) -> None:
        self.tiles = tiles

    def __call__(self, images: list[np.ndarray], return_tensors: str) -> dict[str, torch.Tensor]:
        (image,) = images
        if image.shape[0] % 2:
            raise ValueError("odd")
        pixels = torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)[None]
        halved = torch.nn.functional.avg_pool2d(pixels, 2)
        return {"pixel_values": torch.cat(halved.chunk(self.tiles, 3))}


def photo(seed: int, side: int = 64) -> np.ndarray:
    """A reference: smooth waves with a little texture, from 60 to 180."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    waves = [
        np.sin(2 * np.pi * (rng.uniform(1, 4, 2) @ np.stack([y.ravel(), x.ravel()])) + rng.uniform(0, 6)) for _ in range(3)
    ]
    image = 120 + 40 * np.stack(waves, -1).reshape(side, side, 3) + rng.normal(size=(side, side, 3)) * 4
    return np.clip(image, 60, 180).astype(np.uint8)


CHECKS = 12 * ((np.indices((64, 64)).sum(0) % 2) * 2 - 1)[..., None]


def changed(image: np.ndarray, kind: str, seed: int) -> np.ndarray:
    """White noise, a shift, or a chessboard of single pixels."""
    noise = np.random.default_rng([seed, 7]).normal(size=image.shape) * 12
    return (image + {"white_noise": noise, "brighten": 12, "jitter": CHECKS}[kind]).round().astype(np.uint8)


def shown(references: int = 8, kinds: tuple[str, ...] = ("white_noise", "brighten", "jitter")) -> StimulusSet:
    """Each reference clean and in every kind, the clean one last."""
    found = []
    for number in range(references):
        clean = photo(number)
        for kind in kinds:
            level = 1 + number % 2
            pixels = changed(clean, kind, number)
            found.append(Stimulus(f"r{number}-{kind}", f"r{number}", kind, level, pixels=pixels))
        found.append(Stimulus(f"r{number}-clean", f"r{number}", None, None, pixels=clean))
    return StimulusSet(found, "known")


def test_energies_are_those_of_the_images_and_of_what_is_left_of_them() -> None:
    stimuli = shown(3)
    found = measure_inputs({"half": Half(), "two": Half(2)}, stimuli, progress=False)
    assert found.processors == ("half", "two") and found.stimuli == tuple(stimuli)
    kinds = [s.type for s in stimuli]
    kept = {kind: found.energy["half"][i] / max(found.energy["pixels"][i], 1e-12) for i, kind in enumerate(kinds)}
    assert found.energy["pixels"][kinds.index("brighten")] == pytest.approx((12 / 255) ** 2)
    assert kept["brighten"] == pytest.approx(1, abs=1e-4) and kept["jitter"] == pytest.approx(0, abs=1e-6)
    assert kept["white_noise"] == pytest.approx(1 / 4, rel=0.05) and kept[None] == 0
    assert found.energy["two"] == pytest.approx(found.energy["half"]), "of tiles of one size the mean over tiles is the whole's"
    assert found.sizes["pixels"][0] == ((64, 64),) and found.sizes["two"][0] == ((32, 16), (32, 16))


def test_statistics_are_of_the_file_and_of_what_is_shown_tiles_on_average() -> None:
    stimuli = shown(2)
    found = measure_inputs({"two": Half(2)}, stimuli, progress=False)
    assert np.array_equal(found.statistics["pixels"][1], pixel_statistics(stimuli[1].image))
    halved = stimuli[1].image.astype(np.float32).reshape(32, 2, 32, 2, 3).mean((1, 3)) / 255
    tiles = [pixel_statistics(tile) for tile in np.split(halved, 2, 1)]
    assert found.statistics["two"][1] == pytest.approx(np.mean(tiles, 0), rel=1e-3, abs=1e-4)
    rows = found.activations("two")
    assert rows.ids == tuple(s.id for s in stimuli) and np.array_equal(rows.of("r0-brighten"), found.statistics["two"][1])


def test_several_workers_give_the_same() -> None:
    one, three = (measure_inputs({"half": Half()}, shown(6), workers=n, progress=False) for n in (1, 3))
    assert np.array_equal(one.statistics["half"], three.statistics["half"]) and np.array_equal(
        one.energy["half"], three.energy["half"]
    )


def test_without_a_clean_image_of_the_same_size_there_is_no_energy() -> None:
    smaller = Stimulus("small", "r0", "jpeg", 1, pixels=photo(0, 32))
    alone = Stimulus("alone", "other", "jpeg", 1, pixels=photo(9))
    found = measure_inputs({"half": Half()}, [*shown(1), smaller, alone], progress=False)
    assert np.isnan(found.energy["half"][-2:]).all() and np.isfinite(found.energy["half"][:-2]).all()


def test_a_stimulus_that_cannot_be_processed_is_left_out_with_the_reason() -> None:
    odd = Stimulus("odd", "r0", "jpeg", 1, pixels=photo(0)[:63])
    tiny = Stimulus("tiny", "r0", "jpeg", 1, pixels=photo(0)[:14, :14])
    found = measure_inputs({"half": Half()}, [odd, *shown(1), tiny], progress=False)
    assert [row["id"] for row in found.left_out] == ["odd", "tiny"] and len(found.stimuli) == 4
    assert "(ValueError: odd)" in found.left_out[0]["reason"] and "at least 16 px a side" in found.left_out[1]["reason"]
    with pytest.raises(InputError, match="The processor rejects an image of shape 63 x 64 x 3"):
        measure_inputs({"half": Half()}, [odd], progress=False)


def test_names_are_checked() -> None:
    for named in ({}, {"pixels": Half()}):
        given: Any = named
        with pytest.raises(InputError, match="expected at least one, none of them called 'pixels'"):
            measure_inputs(given, shown(1), progress=False)


def test_the_first_two_stages_of_a_model(llava: Mllm, six: StimulusSet) -> None:
    found = input_statistics(llava, six, progress=False)
    assert list(found) == ["pixels", "processed"] and found["pixels"].ids == tuple(s.id for s in six)
    assert found["processed"].values == pytest.approx(found["pixels"].values, rel=1e-3, abs=1e-3), "it does not resize them"
