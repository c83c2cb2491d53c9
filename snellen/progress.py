"""How far an exam is: one line with step, rate and time left, or a line per step where nobody watches."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from tqdm.std import tqdm

from snellen.config import ExamConfig
from stimuli.progress import gathered

MODEL, STIMULI, PIXELS, BASELINES = "model", "stimuli", "pixels before and after the processor", "baselines"
BASE, INTERVIEW = "base model: ask, extract, probe", "interview: other protocols, blind, again, quality"
TUNE = "tune {}, ask and probe again"
VERDICT, DISTANCES, CAUSE, REPORT = "verdict", "distances", "cause: exchange, cut, read", "tables, figures, report"
MAPS = "maps: where in the image"
SOON = 0.03
"""Share of the work that has to be done before the time left is told."""


def expected(settings: ExamConfig) -> dict[str, float]:
    """Steps of an exam in order, and about how long each takes, in units of which only the ratios matter.

    The ratios are those of an exam of the embedded model with 16 references and 50 steps per arm, on two cores that had other work too.
    """
    images, lessons = settings.references / 40, settings.steps * settings.batch_size / 3200
    asked = {"off": 0.0, "brief": 1.0, "thorough": 4.0}[settings.interview] * settings.few / 6
    return {
        MODEL: 2.0,
        STIMULI: 13 * images,
        PIXELS: 6 * images,
        BASELINES: 3 * images,
        BASE: 10 + 25 * images,
        INTERVIEW: 35 * asked,
        **{TUNE.format(name): 10 + 25 * images + 40 * lessons for name in settings.arms},
        VERDICT: 3 * images,
        DISTANCES: 1 * images,
        CAUSE: settings.cause / 14 * 20,
        MAPS: settings.maps / 12 * 25,
        REPORT: 25.0,
    }


@dataclass
class Clock:
    """Says what is being done and remembers how long it took."""

    quiet: bool
    plan: Mapping[str, float] = field(default_factory=dict)
    """Steps and their expected shares (``expected``)."""
    seconds: dict[str, float] = field(default_factory=dict)
    """What each finished step took."""

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time one step, show how far it is, and print a line when it is done."""
        start = time.perf_counter()
        with ExitStack() as shown:
            if not self.quiet:
                shown.enter_context(self._live(name, start))
            yield
        self.seconds[name] = round(time.perf_counter() - start, 2)
        if not self.quiet:
            place = f"{len(self.seconds)}/{len(self.plan)} " if self.plan else ""
            print(f"[{sum(self.seconds.values()):6.1f} s] {place}{name} ({self.seconds[name]:.1f} s)", flush=True)

    @contextmanager
    def _live(self, name: str, start: float) -> Iterator[None]:
        """One line that says where the exam is, for eyes alone; what bars inside would show is its end."""
        if not sys.stderr.isatty():
            with gathered(lambda _: None):
                yield
            return
        write = tqdm.status_printer(sys.stderr)

        def draw(part: str) -> None:
            write(self.line(name, time.perf_counter() - start, part)[: shutil.get_terminal_size().columns - 1])

        draw("")
        try:
            with gathered(draw):
                yield
        finally:
            write("")
            sys.stderr.write("\r")
            sys.stderr.flush()

    def line(self, name: str, spent: float, part: str = "") -> str:
        """Where the exam is, so many seconds into a step: time gone and left, step, and how far a part of it is."""
        gone = sum(self.seconds.values()) + spent
        left = self.left(name, spent)
        times = f"{tqdm.format_interval(gone)}<{'?' if left is None else tqdm.format_interval(left)}"
        return f"exam [{times}] {len(self.seconds) + 1}/{len(self.plan)} {name}{f' | {part}' if part else ''}"

    def left(self, name: str, spent: float) -> float | None:
        """Seconds to go, if the coming steps take as much longer or less than expected as the finished ones did; None in the beginning.

        Loading the model tells nothing about it. Of a run that goes on where it was, finished parts make it too short at first.
        """
        done = [step for step in self.seconds if step in self.plan and step != MODEL]
        work = sum(self.plan[step] for step in done)
        if name not in self.plan or work < SOON * sum(self.plan.values()):
            return None
        pace = sum(self.seconds[step] for step in done) / work
        coming = sum(share for step, share in self.plan.items() if step not in self.seconds and step != name)
        return coming * pace + max(self.plan[name] * pace - spent, 0.0)
