"""How thoroughly properties are tried: in seconds by default, in minutes by ``./dev test --all``, for as long as it takes with
``HYPOTHESIS_PROFILE=nightly``.
"""

from __future__ import annotations

import gc
import os
import signal

import pytest
from hypothesis import settings

# What a shell starts in its background is deaf to ctrl-C, and so were all programs and shells that tests start and end by it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Spare the collector of garbage what is there until the end: full collections walked through all tests again and again."""
    gc.freeze()


settings.register_profile("quick", max_examples=20, deadline=None)
settings.register_profile("thorough", max_examples=200, deadline=None)
settings.register_profile("nightly", max_examples=2000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
