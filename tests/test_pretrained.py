"""The runs that come with the project: each is small, opens, writes, and knows what it was trained on."""

import importlib
import json
import unicodedata
from types import SimpleNamespace

from scriptorium import ROOT, UserError, load
from scriptorium.data import scenes
from scriptorium.training import finding, storage, trained
from scriptorium.training.finding import BEST, PRETRAINED, bundled
from scriptorium.transformer_vae.experiments import is_python

import numpy as np
import pytest
from helpers import run_here

RUNS = {
    "sentences": "pydocs", "names_vae": "names", "transformer_vae": "pylines", "chars": "pydocs", "words": "scenes",
    "text_gan": "scenes",
}  # fmt: skip


def folder(script, name=None):
    return PRETRAINED / script / (name or RUNS[script])


SCENES = folder("sentences", "scenes")
ALL = [*(folder(script) for script in RUNS), SCENES]


def opened(script):
    return trained.load(folder(script))


def test_all_are_there_and_no_other():
    assert sorted(bundled()) == sorted(ALL)
    assert bundled(["names_vae", "sentences"]) == [folder("names_vae"), folder("sentences"), SCENES]


@pytest.mark.parametrize("run", ALL, ids=lambda run: f"{run.parent.name}-{run.name}")
def test_small_and_said_how_it_was_made(run):
    config, names = storage.read_json(run / "config.json"), {path.name for path in run.iterdir()}
    assert sum(path.stat().st_size for path in run.iterdir()) <= 10_000_000
    assert names == {"README.md", "config.json", "vocab.json", "history.csv", "eval.json", "samples.txt", BEST}
    assert config["command"].startswith(f"python {run.parent.name}.py")
    assert config["minutes"] > 1
    assert len(storage.read_json(run / "eval.json")) > 2
    _, arrays = storage.load_arrays(run / BEST)
    assert {array.dtype for array in arrays.values() if array.dtype.kind == "f"} == {np.dtype("float16")}
    # Nothing tells where it was trained.
    assert not any(sign in str(config) for sign in ("'/", '"/', "=/", "\\\\"))


@pytest.mark.parametrize(("run", "texts"), [
    (SCENES, ["she read a book in the garden.", "did the dog eat the bread?"]),
    (folder("sentences"), ["it returns a new list .", "this is a list of names ."]),
    (folder("names_vae"), ["Maria", "Johansson"]),
    (folder("transformer_vae"), ["return x", "for key, value in items:"]),
])  # fmt: skip
def test_texts_come_back_and_are_drawn(run, texts):
    codec = trained.load(run)
    z = codec.encode(texts)[0]
    at_their_codes, swapped = (np.mean(codec.score(texts, codes)) for codes in (z, z[::-1]))
    assert at_their_codes > swapped + 3
    drawn = codec.sample(8)
    assert len(set(drawn)) >= 6 and all(text.strip() for text in drawn)
    assert drawn == codec.sample(8)


def test_names_and_lines_come_back_whole():
    for script, texts in (("names_vae", ["Anna", "Peter"]), ("transformer_vae", ["return None", "import os"])):
        codec = opened(script)
        assert codec.decode(codec.encode(texts)[0]) == texts


def test_lines_between_two_lines_parse(tmp_path):
    script, between = importlib.import_module("homotopy"), []
    for ends in (("for i in range(10):", "return self.name"), ("return x + 1", "raise ValueError(message)")):
        done = run_here(script, *ends, "-n", "7", "--json", "--run", folder("transformer_vae"), "-T", tmp_path)
        texts = [row["text"] for row in json.loads(done.stdout)["walk"]]
        between += [text for text in texts[1:-1] if text not in ends]
    assert between and all(is_python(text) for text in between), between


def test_names_near_a_name_are_written_in_its_script():
    codec = opened("names_vae")
    for anchor, script in (("Johanna", "LATIN"), ("Наташа", "CYRILLIC"), ("Ελένη", "GREEK")):
        names = codec.sample(20, anchor=anchor, radius=1.5, temperature=0.0)
        assert sum(all(unicodedata.name(letter).startswith(script) for letter in name) for name in names) >= 18, names
    italian, labels = codec.labels.parse("it"), codec.labels.encode("")
    assert codec.labels_near("Johanna", italian) == italian != codec.labels_near("Johanna", labels)


def test_characters_are_continued_and_likely():
    model, text = opened("chars"), "Return a new list with the names of all files.\n"
    nats, count = model.score(text)
    assert nats / count < 2 < model.score(text[::-1])[0] / count and count == len(text)
    longer = model.complete("The list ", length=20, temperature=0.0)
    assert longer.startswith("The list ") and len(longer) == 29
    assert longer == model.complete("The list ", length=20, temperature=0.0)


def test_load_takes_a_script_a_name_or_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load("sentences", tmp_path).run.directory == folder("sentences")
    assert load("pylines", tmp_path).run.directory == folder("transformer_vae")
    names = load(folder("names_vae"))
    assert len(names.sample(3, label="de", temperature=0.0)) == 3
    assert names.sample(2, anchor="Anna", radius=0.0, temperature=0.0) == ["Anna", "Anna"]
    assert all(name.startswith("Ma") for name in names.sample(3, prefix="Ma"))
    walk = names.walk("Anna", "Peter", points=3)
    assert (walk[0], walk[-1], len(walk)) == ("Anna", "Peter", 5)
    with pytest.raises(UserError, match="There is no run nowhere"):
        load("nowhere", tmp_path)


def test_scenes_are_written_that_their_grammar_can_write():
    grammar, codec = scenes.grammar(), trained.load(SCENES)
    ends = "she read a book in the garden.", "did the dog eat the bread?"
    walk = codec.walk(*ends, points=7)
    assert walk[0] == ends[0] and sum(map(grammar.is_grammatical, walk)) >= 8 and len(set(walk)) >= 5, walk
    for script in ("words", "text_gan"):
        texts = opened(script).sample(50, seed=1)
        assert np.mean([grammar.is_grammatical(text) for text in texts]) >= 0.4, texts
        assert len(set(texts)) >= 45


def test_used_where_there_is_no_run_and_said_so(tmp_path, capsys):
    assert finding.find("", tmp_path, ("sentences",), to_use=True) == folder("sentences")
    assert "using the bundled" in capsys.readouterr().err
    assert finding.find("pydocs", tmp_path, ("chars",), to_use=True) == folder("chars")
    assert finding.find("scenes", tmp_path, ("sentences",), to_use=True) == SCENES
    with pytest.raises(UserError, match=r"There is no run of sentences\.py"):
        finding.find("", tmp_path, ("sentences",))
    own = tmp_path / "sentences" / "own"
    own.mkdir(parents=True)
    (own / "config.json").write_text("{}", encoding="utf-8")
    assert finding.find("", tmp_path, ("sentences",), to_use=True) == own


@pytest.mark.parametrize("script", ["sentences", "chars"])
def test_sample_from_the_command_line(script, tmp_path):
    module = importlib.import_module(script)
    told = run_here(module, "--sample", "-T", tmp_path, text="It is \n")
    assert len(told.stdout) > 20 and told.stderr.count("using the bundled") == 1
    refused = run_here(module, "--resume", folder(script), "-T", tmp_path, status=2)
    assert refused.stderr.count("\n") == 1 and "start a run of your own" in refused.stderr
    assert not list(tmp_path.iterdir())


def test_scores_it_came_with_where_its_text_cannot_be_made_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    other = SimpleNamespace(name="pydocs", fingerprint="other")
    monkeypatch.setattr("scriptorium.data.running_text.read", lambda *args, **settings: other)
    before = (folder("chars") / "eval.json").read_bytes()
    done = run_here(importlib.import_module("chars"), "--eval", "-T", tmp_path)
    scores = storage.read_json(folder("chars") / "eval.json")
    assert f"{scores['nats_per_char']:.5g}" in done.stdout and "differs on this machine" in done.stderr
    assert (folder("chars") / "eval.json").read_bytes() == before


def test_a_name_that_is_nearly_right_is_suggested(tmp_path):
    done = run_here(importlib.import_module("names_vae"), "--sample", "name", "-T", tmp_path, status=2)
    assert "Did you mean names?" in done.stderr and "bundled: names" in done.stderr


def test_the_readme_shows_what_the_first_run_writes_as_it_comes():
    first = bundled(trained.VAES)[0]
    page = (ROOT / "docs" / "samples.md").read_text("utf-8")
    section = page.split(f"## {first.parent.name}/{first.name}\n")[1].split("\n## ")[0].strip()
    assert section.count("\n") > 25 and section in (ROOT / "README.md").read_text("utf-8")
