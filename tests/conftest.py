"""What makes the tests quick: their models are tiny, so that nearly all of the time goes into making graphs of them."""

import gc
import importlib

import pytest


@pytest.fixture(scope="session", autouse=True)
def rare_garbage_collection():
    """A graph is a million objects, none of which is garbage while it is made; what was imported never is."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)


@pytest.fixture(scope="module")
def one_part():
    """Does not halve batches for two cores: each half is a graph of its own, which takes as long as the whole."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.import_module("scriptorium.nn.compiled"), "PARTS", 1)
        yield
