"""The figures of what is known but not said show the entry's numbers, at its sites, in its order."""

from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from analysis.figures.unsaid import LAYERS, TICKS, draw_gallery, draw_unsaid, draw_unsaid_types
from analysis.gallery import gallery
from analysis.unsaid import CELLS, unsaid
from stimuli.types import Stimulus
from tests.test_unsaid import LABELS, PROBES, REFERENCES, answered, found, swept

SITES = [site for site in PROBES if ":" not in site]


def panels(*shape: int) -> Any:
    return Figure().subplots(*shape)


def lines(ax: Any) -> dict[str, np.ndarray]:
    return {line.get_label().split("\n")[0]: np.asarray(line.get_ydata(), float) for line in ax.lines}


def test_bars_are_the_shares_stacked_so_that_what_is_encoded_lies_below() -> None:
    entry, ax = found().as_dict(), panels()
    draw_unsaid(ax, entry)
    share = {cell: [row["share"] for row in entry["table"] if row["cell"] == cell] for cell in CELLS}
    for bars in ax.containers:
        assert [bar.get_height() for bar in bars] == pytest.approx(share[bars.get_label()])
    tops = {bars.get_label(): [bar.get_y() + bar.get_height() for bar in bars] for bars in ax.containers}
    assert tops["encoded and said"] == pytest.approx([row["encoded"] for row in entry["sites"]])
    assert tops["neither"] == pytest.approx([1] * len(SITES))
    assert [bars[0].get_y() for bars in ax.containers][0] == 0 and ax.containers[0].get_label() == "encoded, not said"
    assert len({(how["facecolor"], how["hatch"]) for how in LAYERS.values()}) == 4


def test_expectation_chance_and_interval_are_drawn_where_the_entry_has_them() -> None:
    entry, ax = found().as_dict(), panels()
    draw_unsaid(ax, entry)
    own, drawn = [row for row in entry["table"] if row["cell"] == "encoded, not said"], lines(ax)
    assert list(drawn["encoded, not said, if answers"]) == [row["expected"] for row in own]
    assert list(drawn["the same of a probe at chance"]) == [row["by_chance"] for row in entry["sites"]]
    assert list(drawn["encoded: the probe's score"]) == [row["encoded"] for row in entry["sites"]]
    (whiskers,) = ax.collections
    ends = [[float(y) for y in segment[:, 1]] for segment in whiskers.get_segments()]
    assert ends == [[row["share_low"], row["share_high"]] for row in own]
    assert [text.get_text() for text in ax.texts] == ["input", "vision", "projector", "llm"]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == SITES
    shown = [text.get_text() for text in ax.get_legend().get_texts()]
    assert shown[:4] == ["neither", "not encoded, said", "encoded and said", "encoded, not said"], "as they lie"


def test_dead_ends_are_hollow_and_many_sites_are_thinned_out() -> None:
    probes = {"pixels": LABELS, **{f"vision.{i}": LABELS for i in range(26)}, "projector": LABELS,
              **{f"llm.{i}": LABELS for i in range(40)}}  # fmt: skip
    survival, ax = swept(probes, LABELS, REFERENCES, dead=("vision.25",)), panels()
    entry = unsaid(survival, answered(LABELS, LABELS, REFERENCES), n_boot=20).as_dict()
    draw_unsaid(ax, entry)
    ticks = [tick.get_text() for tick in ax.get_xticklabels()]
    assert len(ticks) <= TICKS + 3 and "pixels" in ticks and "projector" in ticks
    assert list(ax.get_xticks()) == [list(probes).index(name) for name in ticks], "each label at its own site"
    assert min(np.diff(ax.get_xticks())) >= 2
    (dead,) = [line for line in ax.lines if line.get_label().startswith("dead end")]
    assert list(dead.get_xdata()) == [26] and dead.get_markerfacecolor() == "white"


def test_types_lie_in_order_of_what_is_not_said() -> None:
    entry, ax = found().as_dict(), panels()
    draw_unsaid_types(ax, entry)
    names = [tick.get_text() for tick in ax.get_yticklabels()]
    assert names == ["noise (2)", "clean (2)", "blur (4)"]
    widths = {bars.get_label(): [bar.get_width() for bar in bars] for bars in ax.containers}
    assert widths["encoded, not said"] == [1, 0.5, 0.25] and widths["neither"] == [0, 0, 0.5]
    (expected,) = [line for line in ax.lines if line.get_marker() == "D"]
    assert list(expected.get_xdata()) == [1, 0.5, 0.375] and ax.get_ylim() == (2.5, -0.5)


def test_levels_keep_their_order_and_what_has_no_interval_has_no_whisker() -> None:
    entry, ax = found(shown_sites=["vision.0"]).as_dict(), panels()
    draw_unsaid_types(ax, entry, "vision.0", by="level")
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["clean (2)", "1 (3)", "2 (2)", "5 (1)"]
    (whiskers,) = ax.collections
    assert [segment[0, 1] for segment in whiskers.get_segments()] == [0, 1, 2] and "vision.0" in ax.get_title(
        loc="left"
    ) + ax.get_title()


def test_pictures_stand_in_the_column_of_their_cell() -> None:
    pixels = {f"s{i}": np.full((12, 12, 3), 20 * i, np.uint8) for i in range(8)}
    examples = gallery(found(), [Stimulus(id, "a", None, None, pixels=image) for id, image in pixels.items()], per_cell=4)
    axes = panels(4, 4)
    draw_gallery(axes, examples)
    titles = [ax.get_title(loc="left") or ax.get_title() for ax in axes[0]]
    assert titles == ["encoded and said", "encoded, not said", "not encoded, said: none", "neither"]
    shown = [(ax.get_xlabel(), ax.images[0].get_array()) for ax in axes.flat if ax.images]
    assert len(shown) == len(examples) == 8 and not axes[0, 2].images
    (picture,) = [image for caption, image in shown if caption == "truth: noise (noise, level 1)\nprobe: noise\nsaid: unparsed"]
    assert np.allclose(picture, pixels["s6"] / 255)


def test_long_captions_are_cut() -> None:
    (example,) = gallery(found(), [Stimulus("s0", "a", None, None, pixels=np.zeros((9, 9, 3), np.uint8))])
    told = {"label": "color quantization", "type": "non_eccentricity_patch", "level": 5, "confidence": 0.873}
    axes = panels(1, 4)
    draw_gallery(axes, [{**example, **told}])
    lines = ["truth: color quantization (non eccentricity patch…", "probe: blur", "said: blur (87 %)"]
    assert axes[0].get_xlabel().split("\n") == lines
