"""DepictQA-Wild types."""

from stimuli.distortions.kinds import Distortion

DEPICTQA_WILD: tuple[Distortion, ...] = ()
