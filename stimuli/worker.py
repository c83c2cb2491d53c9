"""What a worker does that reads and distorts images ahead of a model; a module of its own, so that its process loads no model."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

import numpy as np
import psutil

from stimuli.errors import SnellenError
from stimuli.types import Stimulus
from stimuli.views import Shown


def image_or_error(stimulus: Stimulus) -> np.ndarray | Exception:
    """A stimulus's image, or why there is none."""
    try:
        return stimulus.image
    except SnellenError as error:
        return error


def shown_or_error(show: Callable[[], Shown]) -> Shown | Exception:
    """What is shown in a stimulus's place, or why nothing can be."""
    try:
        return show()
    except SnellenError as error:
        return error


def end_with(parent: int, every: float = 1.0) -> None:
    """End this process when its parent does, even one that was killed and could not say so.

    Args:
        parent: its process id.
        every: how often to look, in seconds.
    """
    threading.Thread(target=_watch, args=(parent, every), daemon=True).start()


def _watch(parent: int, every: float) -> None:
    while os.getppid() == parent and psutil.pid_exists(parent):  # the first is how a dead parent shows, on Windows the second
        time.sleep(every)
    os._exit(0)
