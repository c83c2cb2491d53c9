"""Sets of stimuli: the built-in exam, distorted versions of the user's images, their folder, their CSV, and the datasets."""

from __future__ import annotations

from stimuli.confounds import Confounds, confounds
from stimuli.designs import Design
from stimuli.disk import save
from stimuli.generated import distorted_set, exam_set, mixed_set
from stimuli.images import ENDINGS
from stimuli.pairs import Pair, pairs
from stimuli.readers.csiq import csiq
from stimuli.readers.kadid import kadid10k
from stimuli.readers.koniq import koniq10k
from stimuli.readers.listed import from_csv, from_folder, images_in
from stimuli.readers.live import live
from stimuli.readers.pipal import pipal
from stimuli.readers.spaq import spaq
from stimuli.readers.tid import tid2013
from stimuli.splits import Split, split

__all__ = [
    "ENDINGS",
    "Confounds",
    "Design",
    "Pair",
    "Split",
    "confounds",
    "csiq",
    "distorted_set",
    "exam_set",
    "from_csv",
    "from_folder",
    "images_in",
    "kadid10k",
    "koniq10k",
    "live",
    "mixed_set",
    "pairs",
    "pipal",
    "save",
    "spaq",
    "split",
    "tid2013",
]
