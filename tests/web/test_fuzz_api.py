"""The API of demo.py gets absurd requests: every whole one is answered, none with status 500."""

import importlib.util
import logging
import socket
import threading
import types

from scriptorium import ROOT
from scriptorium.data.vocabulary import Vocabulary
from scriptorium.web import listener, server

import numpy as np
import pytest
from helpers import entries_of

import demo

spec = importlib.util.spec_from_file_location("fuzz_api", ROOT / "benchmarks" / "fuzz_api.py")
fuzz_api = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fuzz_api)


class FakeCodec:
    """A latent space without a model: a text's code is its length."""

    def __init__(self, script):
        vocabulary = Vocabulary.build(["it is a list of names"], "char" if script == "names_vae" else "word")
        model = types.SimpleNamespace(latent_shape=(2,))
        options = {"max_length": 20, "positions": 12, "temperature": 1.0, "gen_length": 12, "task": "x", "data": None}
        config = {"corpus": {"name": "toy", "fingerprint": ""}}
        self.run = types.SimpleNamespace(
            script=script, name="small", model=model, vocabulary=vocabulary, options=options, config=config,
            is_packed=False,
        )  # fmt: skip
        self.labels = types.SimpleNamespace(kinds={"label_1": ["de", "en"]})

    def encode(self, texts):
        return np.array([[len(text), self.run.vocabulary.encode(text)[:1].sum()] for text in texts], "float32"), None

    def walk_settings(self, shares, drawn=False):
        return {}

    def decode(self, z, max_length=None, scores=False):
        texts = [f"{row[0]:.0f} letters" for row in z]
        return (texts, np.zeros(len(texts))) if scores else texts

    def sample_prior(self, n, seed):
        return np.random.default_rng(seed).normal(size=(n, 2))

    def score(self, texts, z):
        return np.zeros(len(texts))

    def sample(self, n, seed, **settings):
        return ["Anna"] * n

    def writer(self, **settings):
        return settings

    def stream(self, writer, prompt, length, seed):
        yield from "a" * length


@pytest.fixture(scope="module")
def fuzzed():
    """Yields the port of the API on models that only pretend, and its runs."""
    tools = {script: demo.tool_of(FakeCodec(script)) for script in ("sentences", "names_vae", "chars")}
    for tool in tools.values():
        tool.corpus = None
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    answers, streams = demo.answers_of(entries_of(tools))
    rates = server.Rates(burst=10_000)
    site = server.Server(answers, streams, demo.accepted_hosts("127.0.0.1", port), rates=rates).site
    serving = listener.Listener(site, listening, server.MAX_BYTES)
    threading.Thread(target=serving.run, daemon=True).start()
    yield port, answers["runs"]()["runs"]
    serving.stop()


def test_absurd_requests_are_refused_and_none_breaks_anything(fuzzed, caplog):
    with caplog.at_level(logging.ERROR):
        counts, wrong = fuzz_api.campaign(*fuzzed, count=150, seed=3)
    assert wrong == [] and counts.total() == 150
    assert counts[200] > 15 and counts[400] > 50
    assert not caplog.records


def test_requests_depend_on_the_seed_alone():
    runs = [{"id": "a", "kind": "texts"}, {"id": "b", "kind": "names"}, {"id": "c", "kind": "running"}]
    drawn = [[fuzz_api.Requests(seed, "localhost:1", runs).next() for _ in range(3)] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize(
    "name, field, value",
    [
        ("continue", "temperature", 0.0005),
        ("continue", "temperature", 1000.1),
        ("continue", "temperature", 1e-40),
        ("continue", "top_p", 0),
        ("sample", "count", 10**400),
        ("text_at", "x", 10**400),
    ],
)
def test_numbers_outside_their_bounds_are_refused(fuzzed, name, field, value):
    port, runs = fuzzed
    run = {"continue": "chars"}.get(name, "sentences")
    fields = {"run": run, field: value} | ({"y": 1} if name == "text_at" else {})
    body = fuzz_api.json.dumps(fields).encode()
    requests = fuzz_api.Requests(1, f"127.0.0.1:{port}", runs)
    assert fuzz_api.send(port, requests.http("POST", f"/api/{name}", body)) == 400


@pytest.mark.parametrize("temperature", [0, 0.001, 0.75, 1000])
def test_temperatures_that_make_sense_are_taken(temperature):
    tool, seen = demo.tool_of(FakeCodec("chars")), []
    tool.model.stream = lambda writer, *_: seen.append(writer["temperature"])
    tool.complete(server.Fields({"prompt": "a", "temperature": temperature}))
    assert seen == [temperature]
