"""Splits of a set: by reference, and in proportion."""

from collections import Counter

import numpy as np
import pytest

from stimuli.errors import InputError
from stimuli.splits import Split, _quotas, split
from stimuli.types import Stimulus, StimulusSet

PIXELS = np.zeros((4, 4, 3), np.uint8)
CLASSES = {"jpeg": "compression", "white_noise": "noise", "gaussian_blur": "blur", "jitter": "jitter", None: "clean"}


def shown(types_of: dict[str, list[str | None]], source: str = "file") -> StimulusSet:
    return StimulusSet(
        [
            Stimulus(f"{reference}+{type}-{level}", reference, type, level if type else None, source=source, pixels=PIXELS)
            for reference, types in types_of.items()
            for type in types
            for level in ((3, 5) if type else (0,))
        ],
        "some",
    )


@pytest.fixture
def uneven() -> StimulusSet:
    rng = np.random.default_rng(0)
    types: list[str | None] = ["jpeg", "white_noise", "gaussian_blur", None]
    chosen = {f"r{i}": [types[j] for j in rng.permutation(4)[: rng.integers(1, 4)]] for i in range(60)}
    for i in (0, 10, 20):
        chosen[f"r{i}"].append("jitter")
    return shown(chosen)


def test_no_reference_is_in_two_parts_and_no_stimulus_is_lost(uneven: StimulusSet) -> None:
    parts = split(uneven).parts
    assert list(parts) == ["train", "validation", "test"]
    assert sorted(s.id for part in parts.values() for s in part) == sorted(s.id for s in uneven)
    assert sum(len(part.references) for part in parts.values()) == len(uneven.references)


def test_every_class_has_its_share_of_every_part(uneven: StimulusSet) -> None:
    whole = Counter(CLASSES[s.type] for s in uneven)
    for seed in range(5):
        made = split(uneven, 0.6, 0.2, 0.2, seed=seed)
        assert {row["part"]: row["references"] for row in made.counts if row["class"] == "jitter"} == {
            "train": 1, "validation": 1, "test": 1,
        }  # fmt: skip
        for row in made.counts:
            goal = {"train": 0.6, "validation": 0.2, "test": 0.2}[row["part"]]
            if row["class"] != "jitter":
                assert abs(row["stimuli"] / whole[row["class"]] - goal) < 0.08
        assert [len(part.references) for part in made.parts.values()] == pytest.approx([36, 12, 12], abs=2)


def test_datasets_and_types_can_be_what_every_part_must_have() -> None:
    small = shown({"a": ["jpeg"], "b": ["jpeg"], "c": ["jitter"]}, "small")
    large = shown({f"r{i}": ["jpeg"] for i in range(40)}, "large")
    both = StimulusSet([*small, *large], "both")
    by_source = split(both, by="source").counts
    assert all(row["references"] for row in by_source) and {row["source"] for row in by_source} == {"large", "small"}
    assert {row["type"] for row in split(both, by="type").counts} == {"jpeg", "jitter"}


def test_the_same_seed_makes_the_same_split_and_another_another(uneven: StimulusSet) -> None:
    first, again, other = (split(uneven, seed=seed).train.references for seed in (0, 0, 1))
    assert first == again != other
    assert uneven.split(seed=0).train.references == first


def test_a_share_of_zero_makes_no_part(uneven: StimulusSet) -> None:
    made = split(uneven, 0.5, 0, 0.5)
    assert made.validation is None and list(made.parts) == ["train", "test"]
    assert split(uneven, 1, 0, 0).train.references == uneven.references


def test_counts_are_printed_for_people() -> None:
    made = Split(shown({"a": ["jpeg", None], "b": ["jpeg"]}), test=shown({"c": ["color_block"]}))
    assert str(made).splitlines() == [
        "class        train  test",
        "compression  4 (2)  0 (0)",
        "clean        1 (1)  0 (0)",
        "none         0 (0)  2 (1)",
        "all          5 (2)  2 (1)",
    ]
    assert "<td>4 (2)</td>" in made._repr_html_() and "<th>train</th>" in made._repr_html_()


def test_a_users_own_parts_that_share_references_are_refused() -> None:
    with pytest.raises(InputError, match=r"leaks: 1 references are in both train and test \(a\)"):
        Split(shown({"a": ["jpeg"], "b": ["jpeg"]}), test=shown({"a": ["jitter"]}))


def test_what_cannot_be_split_is_refused(uneven: StimulusSet) -> None:
    with pytest.raises(InputError, match="3 parts need at least 3 references, got 2 in 'some'"):
        split(shown({"a": ["jpeg"], "b": ["jpeg"]}))
    with pytest.raises(InputError, match="train=0.7, validation=0.2, test=0.2; expected shares of at least 0 that make 1"):
        split(uneven, 0.7, 0.2, 0.2)
    with pytest.raises(InputError, match="Got by='level'; expected 'class'"):
        split(uneven, by="level")  # type: ignore[arg-type]
    plane = ("013", "124", "235", "346", "450", "561", "602")  # two colours cannot be on each line of the Fano plane
    types = ("jpeg", "white_noise", "gaussian_blur", "jitter", "brighten", "contrast_change", None)
    fano = {str(i): [type for type, line in zip(types, plane, strict=True) if str(i) in line] for i in range(7)}
    with pytest.raises(InputError, match="could not be dealt to all of train, test: too many classes share too few"):
        split(shown(fano), 0.5, 0, 0.5)


@pytest.mark.parametrize("shares", [(0.7, 0.15, 0.15), (0.6, 0.2, 0.2), (0.5, 0.5, 0), (0.98, 0.01, 0.01)])
@pytest.mark.parametrize("references", [3, 10, 17, 81])
def test_every_part_has_its_share_of_the_references_in_whole_numbers(
    shares: tuple[float, float, float], references: int
) -> None:
    quotas = _quotas(np.array([share for share in shares if share]), references)
    assert quotas.sum() == references and quotas.min() >= 1
    if min(share * references for share in shares if share) >= 1:
        assert np.abs(quotas - np.array([share for share in shares if share]) * references).max() < 1
