"""Where the time goes: the model's, the hooks', and waiting."""

import time

import pytest
import torch

from hooks.meter import Meter, sentence


def test_time_is_booked_where_it_was_spent() -> None:
    meter = Meter(torch.device("cpu"))
    for _ in range(2):
        with meter.model():
            time.sleep(0.02)
    with meter.wait("disk"):
        time.sleep(0.01)
    meter.images, meter.bytes, meter.hooks = 4, 800, 0.01
    run = meter.summary()
    assert (
        run["model_seconds"] == pytest.approx(0.03, abs=0.02) and run["waiting_for_disk"] >= 0.01 > run["waiting_for_stimuli"]
    )
    assert run["bytes_per_stimulus"] == 200 and run["images_per_second"] == pytest.approx(4 / run["seconds"], rel=0.01)
    assert run["overhead"] == pytest.approx(1 / run["model_share"], rel=0.01)
    assert "4 stimuli in" in sentence(run) and "0.2 kB each" in sentence(run)


def test_a_run_without_a_model_has_no_overhead() -> None:
    run = Meter(torch.device("cpu")).summary()
    assert run["overhead"] is None and run["model_share"] == 0 and "0 stimuli" in sentence(run)
