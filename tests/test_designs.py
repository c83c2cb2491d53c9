"""What is shown of a reference."""

from stimuli.designs import plan
from stimuli.distortions import Options
from stimuli.making import Making, Work, build
from stimuli.references import builtin_references
from stimuli.taxonomy import taxonomy


def test_the_number_of_stimuli_is_known_before_they_are_made() -> None:
    for design in ("balanced", "crossed"):
        planned = plan(taxonomy("paper8"), (2, 4), 0, design)  # type: ignore[arg-type]
        shown = [planned.shown(index) for index in range(3)]
        made = build(builtin_references(3, 0, "exam", 16, True), shown, Work(Making(), measure=False))
        assert len(made) == 3 * planned.per_reference == sum(map(len, shown))
        assert made[0].attributes is made[1].attributes


def test_balanced_choices_rotate_over_the_references() -> None:
    planned = plan(taxonomy("paper8"), (2, 4, 5), 0, "balanced")
    longest = max(len(own) for own in planned.choices.values())
    assert longest > 1 and planned.shown(0) != planned.shown(1)
    shown = {choice for index in range(longest) for choice in planned.shown(index)}
    assert shown == {choice for own in planned.choices.values() for choice in own}


def test_levels_that_change_nothing_are_left_out_whatever_their_order() -> None:
    published, ordered = (plan(taxonomy("kadid25"), (1, 2, 3, 4, 5), 0, "crossed", Options(ordering=o)) for o in ("published", "magnitude"))  # type: ignore[arg-type]  # fmt: skip
    for planned, left_out in ((published, ("mean_shift", 3)), (ordered, ("mean_shift", 1))):
        shown = [part for parts in planned.shown(0) for part in parts]
        assert left_out not in shown and ("gaussian_blur", 1) not in shown and len(shown) == 125 - 4
