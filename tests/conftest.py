"""What makes the tests quick: their models are tiny, so that nearly all of the time goes into making graphs of them."""

import gc

import pytest


@pytest.fixture(scope="session", autouse=True)
def rare_garbage_collection():
    """A graph is a million objects, none of which is garbage while it is made; what was imported never is."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)
