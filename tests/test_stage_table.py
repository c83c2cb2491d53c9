"""The map as a table for people and programs."""

from dataclasses import replace

import pytest
from transformers import CONFIG_MAPPING

from benchmarks import tiny
from hooks.load import Mllm
from hooks.resolve import find_stages
from hooks.stage_table import lines, rows, short, totals


def test_rows_count_parameters_and_runs_are_one_line(llava: Mllm) -> None:
    table = rows(llava.model, llava.stages)
    assert [row["site"] for row in table] == list(llava.stages.sites)
    own = {row["site"]: row["parameters"] for row in table}
    assert own["vision.embed"] == 0 and own["projector"] == sum(
        p.numel() for p in llava.model.model.multi_modal_projector.parameters()
    )
    text = lines(table)
    assert text[0].split() == ["site", "module", "shape", "parameters", "note"] and len(text) < len(table)
    assert len(lines(table, every=True)) == len(table) + 1
    assert sum("the projector reads this" in line for line in text) == 1


def test_dead_ends_are_marked_before_and_after_the_proof() -> None:
    model = tiny.model("llava")
    stages = find_stages(model)
    for found in (stages, stages.verify(model, tiny.inputs("llava", model))):
        dead = [row["site"] for row in rows(model, found) if row["note"].startswith("dead end")]
        assert dead == ["vision.3"]


@pytest.mark.skipif("inkling2_loop" not in CONFIG_MAPPING, reason="this transformers does not know the family")
def test_repeated_firings_are_told() -> None:
    model = tiny.model("inkling2_loop")
    stages = find_stages(model).verify(model, tiny.inputs("inkling2_loop", model))
    notes = {row["site"]: row["note"] for row in rows(model, stages)}
    assert notes["llm.1"] == "fires 3 times" and notes["llm.0"] == ""


def test_parts_that_images_do_not_pass_are_counted_apart() -> None:
    model = tiny.model("janus")
    counts = totals(model, find_stages(model))
    assert counts["other"] > 0 and sum(counts.values()) == sum(p.numel() for p in model.parameters())


def test_without_widths_a_question_mark_stands(llava: Mllm) -> None:
    table = rows(llava.model, replace(llava.stages, widths={}))
    assert table[0]["shape"] == "crops x tokens x ?"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0"), (999, "999"), (56_600, "56.6 k"), (303_000_000, "303 M"), (7 * 10**9, "7 G")]
)
def test_counts_are_short(count: int, text: str) -> None:
    assert short(count) == text
