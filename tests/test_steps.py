"""What the smaller commands do."""

from pathlib import Path

import pytest

from snellen.steps import chosen_set, redraw, verify, write_stimuli
from stimuli.errors import InputError


def test_written_stimuli_are_read_back_with_their_labels(tmp_path: Path) -> None:
    assert write_stimuli(tmp_path, 2, (5,), 0, "balanced") == 16
    back = chosen_set(str(tmp_path / "stimuli.csv"), 0, (5,), 0)
    assert len(back) == 16 and {s.level for s in back} == {None, 5}
    assert chosen_set("embedded", 2, (5,), 0)[3].type == back[3].type


def test_nothing_to_draw_or_check_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no finished exam"):
        redraw(tmp_path)
    with pytest.raises(InputError, match="no activations at or below"):
        verify(tmp_path)
