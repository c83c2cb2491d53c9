"""Silence inside the block, everything as it was after it, also after an exception."""

import logging
import warnings

import pytest
from transformers.utils import logging as transformers_logging

from hooks.quiet import quiet


def test_everything_is_put_back_after_an_exception(capfd: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("transformers")
    level, bars = logger.level, transformers_logging.is_progress_bar_enabled()
    with pytest.raises(RuntimeError), quiet():
        assert logger.level == logging.ERROR and not transformers_logging.is_progress_bar_enabled()
        logger.warning("advice")
        warnings.warn("advice", UserWarning, stacklevel=1)
        raise RuntimeError
    assert logger.level == level and transformers_logging.is_progress_bar_enabled() == bars
    assert "advice" not in capfd.readouterr().err
    with pytest.warns(UserWarning):
        warnings.warn("heard again", UserWarning, stacklevel=1)
