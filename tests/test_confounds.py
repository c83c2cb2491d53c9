"""Whether the dataset tells the class."""

import numpy as np
import pytest

from stimuli.confounds import confounds
from stimuli.errors import InputError
from stimuli.types import Stimulus


def shown(source: str, type: str | None, count: int) -> list[Stimulus]:
    return [Stimulus(f"{source}-{type}-{i}", f"{source}{i // 2}", type, 3, source=source) for i in range(count)]


def test_nothing_is_confounded_where_every_dataset_has_every_class_in_proportion() -> None:
    found = confounds([s for name, n in (("a", 10), ("b", 20)) for type in ("jpeg", "jitter") for s in shown(name, type, n)])
    assert found.information == pytest.approx(0, abs=1e-12) and found.entropy == pytest.approx(1)
    assert found.balanced_accuracy == pytest.approx(0.5) and not found.only_in and not found.warnings
    assert found.table[0] == {"class": "compression", "dataset": "a", "stimuli": 10, "references": 5, "share": 10 / 30}


def test_a_class_of_one_dataset_is_told_by_it() -> None:
    found = confounds([*shown("a", "jpeg", 10), *shown("b", "jitter", 10)])
    assert found.information == pytest.approx(1) and found.balanced_accuracy == 1
    assert found.only_in == {"compression": "a", "jitter": "b"}
    assert "'jitter' occurs in one dataset only (b)" in found.warnings[1]
    assert "tells 1.00 of 1.00 bits of the class" in found.warnings[2] and "100.0% (chance 50.0%)" in found.warnings[2]


def test_information_and_guess_are_those_of_the_joint_counts() -> None:
    counts = {("jpeg", "a"): 30, ("jpeg", "b"): 10, ("jitter", "a"): 5, ("jitter", "b"): 15, (None, "b"): 20}
    found = confounds([s for (type, name), n in counts.items() for s in shown(name, type, n)])
    joint = np.array([[30, 10], [5, 15], [0, 20]]) / 80
    product = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    held = joint > 0
    assert found.information == pytest.approx(float((joint[held] * np.log2(joint[held] / product[held])).sum()))
    assert found.balanced_accuracy == pytest.approx((30 / 40 + 20 / 20) / 3)  # a: jpeg; b: clean
    assert found.only_in == {"clean": "b"}


def test_one_dataset_cannot_be_confounded_and_no_class_is_refused() -> None:
    alone = confounds([*shown("a", "jpeg", 4), *shown("a", "jitter", 4), *shown("a", "color_block", 4)])
    assert not alone.warnings and alone.information == 0 and {row["stimuli"] for row in alone.table} == {4}
    with pytest.raises(InputError, match="No stimulus has a class in 'paper8'"):
        confounds(shown("a", "color_block", 2))
