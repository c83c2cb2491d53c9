"""What is shown of a reference."""

import pickle

import numpy as np

from stimuli.designs import Distorted, build, plan
from stimuli.distortions import distort
from stimuli.references import Reference, SceneImage, builtin_references
from stimuli.scenes import scene
from stimuli.taxonomy import taxonomy


def test_a_distorted_image_is_small_until_it_is_looked_at_even_in_another_process() -> None:
    reference = Reference("a", "scene", SceneImage((1, 0, 5), 64))
    text = pickle.dumps(Distorted(reference, ("jitter", 5), seed=3))
    assert len(text) < 500
    assert np.array_equal(pickle.loads(text)(), distort(scene((1, 0, 5), 64).image, "jitter", 5, seed=3, reference="a"))


def test_the_number_of_stimuli_is_known_before_they_are_made() -> None:
    for design in ("balanced", "crossed"):
        planned = plan(taxonomy("paper8"), (2, 4), 0, design)
        sources = builtin_references(3, 0, "exam", 16, True)
        made = build(sources, planned, 3, measure=False, in_memory=False, progress=False)
        assert len(made) == 3 * planned.per_reference == sum(len(planned.shown(i)) for i in range(3))
        assert made[0].attributes is made[1].attributes


def test_balanced_choices_rotate_over_the_references() -> None:
    planned = plan(taxonomy("paper8"), (2, 4, 5), 0, "balanced")
    longest = max(len(own) for own in planned.choices.values())
    assert longest > 1 and planned.shown(0) != planned.shown(1)
    shown = {choice for index in range(longest) for choice in planned.shown(index)}
    assert shown == {choice for own in planned.choices.values() for choice in own}
