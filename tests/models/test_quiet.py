"""Silence inside, everything as before outside."""

import logging
import sys
import warnings

import pytest
from transformers.utils import logging as hf_logging

from bathyscope.models.quiet import quiet, without_bars


def settings():
    return hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled(), list(warnings.filters), sys.stderr


@pytest.mark.parametrize("silence", [quiet, without_bars])
@pytest.mark.parametrize("verbosity", [logging.INFO, logging.ERROR])
def test_settings_are_silent_inside_and_given_back_after_an_exception(silence, verbosity):
    before = hf_logging.get_verbosity()
    hf_logging.set_verbosity(verbosity)
    try:
        expected = settings()
        with pytest.raises(ZeroDivisionError), silence():
            assert hf_logging.get_verbosity() == logging.CRITICAL
            assert not hf_logging.is_progress_bar_enabled()
            warnings.warn("unheard", stacklevel=1)
            raise ZeroDivisionError
        assert settings() == expected
    finally:
        hf_logging.set_verbosity(before)


def test_bars_that_were_off_stay_off():
    hf_logging.disable_progress_bar()
    try:
        with quiet():
            pass
        assert not hf_logging.is_progress_bar_enabled()
    finally:
        hf_logging.enable_progress_bar()


def test_nothing_reaches_standard_error(capsys):
    with without_bars():
        sys.stderr.write("a progress bar")
    assert capsys.readouterr().err == ""
