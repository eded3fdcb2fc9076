"""What makes the tests quick: their models are tiny, so that nearly all of the time goes into making graphs of them."""

import gc
import importlib
import os
import sys

import pytest


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch):
    """Removes the width of the terminal that workers of pytest-xdist set."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture(scope="session", autouse=True)
def rare_garbage_collection():
    """A graph is a million objects, none of which is garbage while it is made; what was imported never is."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)


@pytest.fixture(scope="session", autouse=True)
def tensors_of_torch_become_arrays():
    """Lets numpy read tensors of torch that have a gradient, as it reads those of the other backends."""
    if os.environ.get("KERAS_BACKEND") == "torch":
        import torch

        as_array = torch.Tensor.__array__
        torch.Tensor.__array__ = lambda self, dtype=None, copy=None: as_array(self.detach(), dtype)


@pytest.fixture(scope="module", autouse=True)
def nothing_is_kept():
    """Lets go of the models of a file: the package keeps each that it has compiled, as a script has but one or two."""
    yield
    for module in [module for name, module in sys.modules.items() if name.startswith("scriptorium.")]:
        for cached in list(vars(module).values()):
            if hasattr(cached, "cache_clear"):
                cached.cache_clear()
    if "keras" in sys.modules:
        sys.modules["keras"].utils.clear_session()
    gc.collect()
    if "jax" in sys.modules and os.environ.get("KERAS_BACKEND") == "jax":
        sys.modules["jax"].clear_caches()  # XLA crashes in a process that holds too many compiled programs


@pytest.fixture(scope="module")
def one_part():
    """Does not halve batches for two cores: each half is a graph of its own, which takes as long as the whole."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.import_module("scriptorium.nn.compiled"), "PARTS", 1)
        yield
