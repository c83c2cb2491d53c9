"""Sets of stimuli: the built-in exam, distorted versions of the user's images, their folder, their CSV, and the datasets."""

from __future__ import annotations

from stimuli.confounds import Confounds, confounds
from stimuli.designs import Design
from stimuli.disk import save
from stimuli.distortions import Options, distort, mix, severity
from stimuli.generated import distorted_set, exam_set, mixed_set
from stimuli.images import ENDINGS
from stimuli.pairs import Pair, pairs
from stimuli.readers.csiq import csiq
from stimuli.readers.hugging_face import from_dataset
from stimuli.readers.kadid import kadid10k
from stimuli.readers.koniq import koniq10k
from stimuli.readers.listed import from_csv, from_folder, images_in
from stimuli.readers.live import live
from stimuli.readers.pipal import pipal
from stimuli.readers.spaq import spaq
from stimuli.readers.tid import tid2013
from stimuli.regions import Region, cell_shares
from stimuli.splits import Split, split
from stimuli.taxonomy import Taxonomy, taxonomy

__all__ = [
    "ENDINGS",
    "Confounds",
    "Design",
    "Options",
    "Pair",
    "Region",
    "Split",
    "Taxonomy",
    "cell_shares",
    "confounds",
    "csiq",
    "distort",
    "distorted_set",
    "exam_set",
    "from_csv",
    "from_dataset",
    "from_folder",
    "images_in",
    "kadid10k",
    "koniq10k",
    "live",
    "mix",
    "mixed_set",
    "pairs",
    "pipal",
    "save",
    "severity",
    "spaq",
    "split",
    "taxonomy",
    "tid2013",
]
