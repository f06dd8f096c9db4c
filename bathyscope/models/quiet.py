"""Keep transformers silent while it loads, and give its settings back afterwards."""

import contextlib
import io
import logging as levels
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No warnings, log lines or progress bars of transformers inside the block; errors still raise.

    Bars of huggingface_hub stay: a download of gigabytes should be seen.

    The process's own settings for them are as before when the block ends, exceptions included.
    """
    from transformers.utils import logging

    verbosity, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(levels.CRITICAL)
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(verbosity)
        if has_bars:
            logging.enable_progress_bar()


@contextlib.contextmanager
def without_bars() -> Iterator[None]:
    """`quiet`, and nothing on standard error: the GGUF reader's progress bar has no switch of its own."""
    with quiet(), contextlib.redirect_stderr(io.StringIO()):
        yield
