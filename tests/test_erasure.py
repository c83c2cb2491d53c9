"""Erasers fitted to a store: of some references, of pooled rows, tokens and cells, kept in a file."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hooks.activations import Activations
from probes.erasure import Erasure, erase, fit_eraser, load_erasure
from probes.leace import Leace
from stimuli.errors import InputError

TYPES = (None, "gaussian_blur", "white_noise", "jpeg")
KIND = np.tile(np.arange(4), 15)
REFERENCES = np.repeat([f"r{i:02d}" for i in range(15)], 4)
IDS = tuple(f"{reference}-{TYPES[kind]}" for reference, kind in zip(REFERENCES, KIND, strict=True))
TRAIN = {f"r{i:02d}" for i in range(10)}


class InMemory:
    """What fitting needs of a store."""

    def __init__(self, values: Mapping[str, Activations], pool: str = "mean") -> None:
        self.values, self.config = dict(values), {"pool": pool}

    @property
    def sites(self) -> tuple[str, ...]:
        return tuple(self.values)

    @property
    def ids(self) -> tuple[str, ...]:
        return IDS

    def read(self, site: str) -> Activations:
        return self.values[site]

    def metadata(self, id: str) -> dict[str, Any]:
        at = IDS.index(id)
        known = {"id": id, "reference": str(REFERENCES[at]), "type": TYPES[KIND[at]], "is_identity": False}
        return {**known, "level": 3 if KIND[at] else None, "attributes": {"score": float(KIND[at] * 1.3 + at / 50)}}


def tokens(count: int = 5, d: int = 8, seed: int = 0) -> np.ndarray:
    """(stimuli, tokens, d): a direction per class, and much else."""
    rng = np.random.default_rng(seed)
    kinds = 2 * rng.normal(size=(4, d))
    return (rng.normal(size=(60, count, d)) + kinds[KIND][:, None] + rng.normal(size=(count, d))).astype(np.float32)


def pooled(values: np.ndarray, site: str = "vision.1") -> InMemory:
    return InMemory({site: Activations(IDS, values)})


def coded(rows: np.ndarray) -> np.ndarray:
    return (KIND[rows][:, None] == np.arange(4)).astype(float)


def left_over(values: np.ndarray, z: np.ndarray) -> float:
    return float(np.abs((values - values.mean(0)).T @ (z - z.mean(0))).max() / len(z))


def test_an_eraser_knows_only_the_references_it_is_fitted_to() -> None:
    values = tokens().mean(1)
    spoilt = values.copy()
    spoilt[40:] += 100
    for method in ("inlp", "leace"):
        own = fit_eraser(pooled(values), "vision.1", method=method, references=TRAIN, rounds=1)
        same = fit_eraser(pooled(spoilt), "vision.1", method=method, references=TRAIN, rounds=1)
        assert same.eraser.checksum == own.eraser.checksum and own.n == 40
    assert fit_eraser(pooled(spoilt), "vision.1").eraser.checksum != own.eraser.checksum
    assert (own.site, own.target, own.n, own.rank, own.method) == ("vision.1", "distortion", 40, 3, "leace")
    assert own.references == tuple(sorted(TRAIN)) and len(own.classes or ()) == 4
    assert left_over(own.eraser.apply(values[:40].astype(float)), coded(np.arange(40))) < 1e-8
    assert left_over(own.eraser.apply(values[40:].astype(float)), coded(np.arange(40, 60))) > 1e-3  # what others tell


def test_pooled_features_are_erased_where_every_token_is() -> None:
    x = tokens().astype(np.float64)
    own = fit_eraser(pooled(x.mean(1)), "vision.1").eraser
    np.testing.assert_allclose(own.apply(x).mean(1), own.apply(x.mean(1)), atol=1e-10)
    assert left_over(own.apply(x).mean(1), coded(np.arange(60))) < 1e-8


def test_an_eraser_of_means_is_gentle_with_tokens() -> None:
    """Means vary little in most directions; there the least change of the means can be any size for a token."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 16, 50)) + 0.3 * rng.normal(size=(4, 50))[KIND][:, None]
    x -= 0.99 * (x.mean(1) @ np.diag(np.arange(50) > 3))[:, None]  # the means vary in four directions
    changes = [
        np.linalg.norm(own.apply(x) - x) / np.linalg.norm(x - x.mean((0, 1)))
        for own in (fit_eraser(pooled(x.mean(1)), "vision.1", shrinkage=how).eraser for how in (None, "oas"))
    ]
    assert changes[1] < 0.5 * changes[0]


def test_tokens_and_cells_are_rows_of_their_stimulus() -> None:
    x = tokens(count=4)
    labels = np.repeat(KIND, 4).astype(str)
    expected = erase(x.reshape(-1, 8), labels).eraser
    ragged = InMemory({"vision.1": Activations(IDS, x.reshape(-1, 8), np.arange(61) * 4)}, "none")
    grid = InMemory({"vision.1": Activations(IDS, x.reshape(60, -1))}, "grid:2")
    for store in (ragged, grid):
        own = fit_eraser(store, "vision.1", shrinkage=None)
        assert own.n == 240
        np.testing.assert_allclose(own.eraser.apply(x), expected.apply(x), atol=1e-5)
    inlp = fit_eraser(ragged, "vision.1", method="inlp", rounds=1)
    assert inlp.n == 240 and inlp.eraser.width == 8 and len(inlp.rounds) == 2


def test_numbers_and_sites_of_a_named_prompt() -> None:
    own = fit_eraser(pooled(tokens().mean(1), "llm.0@what"), "llm.0@what", "score")
    assert (own.site, own.classes, own.rank) == ("llm.0", None, 1)
    with pytest.raises(InputError, match="INLP erases classes, and 'score' is a number"):
        fit_eraser(pooled(tokens().mean(1)), "vision.1", "score", method="inlp")


@pytest.mark.parametrize("method", ["leace", "inlp"])
def test_controls_have_the_same_rank_and_the_matched_ones_the_same_share(method: str) -> None:
    own = erase(tokens(d=12).mean(1), KIND.astype(str), method, groups=REFERENCES, rounds=2, control_seeds=2)
    assert list(own.controls) == ["random-0", "matched-0", "random-1", "matched-1", "principal"]
    for name, control in own.controls.items():
        assert control.rank == own.rank
        if name.startswith("matched"):
            assert control.variance_removed == pytest.approx(own.variance_removed, abs=1e-3)
    assert bool(own.rounds) == (method == "inlp")


def test_a_saved_erasure_comes_back_whole(tmp_path: Path) -> None:
    own = fit_eraser(pooled(tokens().mean(1)), "vision.1", method="inlp", references=TRAIN, rounds=1)
    file = own.save(tmp_path / "deep" / "eraser.safetensors")
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    back = load_erasure(file)
    assert isinstance(back, Erasure)
    assert back.eraser.checksum == own.eraser.checksum and back.variance_removed == own.variance_removed
    assert {name: one.checksum for name, one in back.controls.items()} == {n: one.checksum for n, one in own.controls.items()}
    assert vars(replace(back, eraser=own.eraser, controls=own.controls)) == vars(own)
    (tmp_path / "other.safetensors").write_bytes(b"no erasure")
    for name in ("other.safetensors", "missing.safetensors"):
        with pytest.raises(InputError, match=f"{name} holds no erasure .*Expected a file that Erasure.save wrote"):
            load_erasure(tmp_path / name)


def test_what_cannot_be_fitted_is_refused() -> None:
    values = tokens().mean(1)
    for call in (lambda: erase(values, KIND, "rlace"), lambda: fit_eraser(pooled(values), "vision.1", method="rlace")):
        with pytest.raises(InputError, match="Unknown method 'rlace'. Expected one of leace, inlp"):
            call()
    with pytest.raises(InputError, match="INLP got numbers to erase, or no groups"):
        erase(values, KIND.astype(str), "inlp")
    with pytest.raises(InputError, match="INLP got numbers to erase, or no groups"):
        erase(values, KIND.astype(float), "inlp", groups=REFERENCES)
    for wrong, told in (({"r00", "r99"}, r"2 references, 1 of which .*first: r99"), (set(), "none were given")):
        with pytest.raises(InputError, match=told):
            fit_eraser(pooled(values), "vision.1", references=wrong)


def test_classes_given_as_whole_numbers_are_classes() -> None:
    values = tokens().mean(1)
    moments = Leace(8, list("0123"))
    moments.add(values, KIND)
    assert erase(values, KIND).eraser.checksum == moments.eraser().checksum
