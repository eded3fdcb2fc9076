"""Which run is opened, and which never."""

import os
import sys

from scriptorium import UserError
from scriptorium.command_line import Parser
from scriptorium.training import storage, trained

import pytest
from line_script import Line, make_run


@pytest.fixture
def opened(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "names_vae", Line())

    def load_vae_from_args(*argv):
        parser = Parser("any", "Opens a run.")
        trained.add_options(parser)
        return trained.load_codec_from_args(parser.parse([*argv, "--logdir", str(tmp_path)])).run.name

    return load_vae_from_args


def aged(directory, seconds):
    os.utime(directory / "config.json", (seconds, seconds))


def test_the_newest_vae_with_weights(opened, tmp_path):
    aged(make_run(tmp_path, name="old"), 1000)
    aged(make_run(tmp_path, name="good"), 2000)
    aged(make_run(tmp_path, name="language-model", no_latent=True), 3000)
    aged(make_run(tmp_path, name="begun", weights=False), 4000)
    aged(make_run(tmp_path, script="chars", name="other"), 5000)
    assert opened() == "good"
    assert opened("--run", "old") == "old"
    assert opened("--run", str(tmp_path / "names_vae" / "old")) == "old"
    with pytest.raises(UserError, match=r"^language-model is a language model without a latent space\.$"):
        opened("--run", "language-model")
    with pytest.raises(UserError, match=r"^begun has no weights yet\.$"):
        opened("--run", "begun")


def test_options_of_the_training_choose(opened, tmp_path):
    aged(make_run(tmp_path, name="wide", units=16, learning_rate=2e-4, annealing_pivot=600), 1000)
    corpus = {"name": "ptb", "fingerprint": "", "description": "ptb"}
    aged(make_run(tmp_path, name="penn", word_dropout=0.1, corpus=corpus), 2000)
    aged(make_run(tmp_path, name="newest"), 3000)
    assert opened("--num_units", "16", "--learning_rate", "0.0002", "--annealing_pivot", "600") == "wide"
    assert opened("--keep_prob", "0.9") == "penn"
    assert opened("--keep_prob", "1.0") == "newest"
    assert opened("--data_dir", "./data/ptb") == "penn"
    with pytest.raises(UserError, match=r"newest has units 8, .*; penn has .*; wide was trained on toy, not on ptb\."):
        opened("--num_units", "16", "--data_dir", "ptb")
    with pytest.raises(UserError, match=r"^wide has batch_size None, not 64\.$"):
        opened("--run", "wide", "--batch_size", "64")


def test_no_other_module_is_imported(opened, tmp_path, monkeypatch):
    directory = make_run(tmp_path)
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    config = storage.read_json(directory / "config.json")
    storage.write_json(directory / "config.json", config | {"script": "evil"})
    with pytest.raises(UserError, match=r"is a run of evil\.py"):
        opened()


def damage(directory, what):
    config = storage.read_json(directory / "config.json")
    if what == "half":
        (directory / "config.json").write_text('{"script": "names_')
    elif what == "vocabulary":
        (directory / "vocab.json").write_text("{}")
    elif what == "list":
        storage.write_json(directory / "config.json", config | {"options": [1]})
    elif what == "options":
        storage.write_json(directory / "config.json", config | {"options": {"latent_dim": "2"}})


@pytest.mark.parametrize("what", ["half", "vocabulary", "list", "options"])
def test_a_damaged_run(opened, tmp_path, what):
    damage(make_run(tmp_path), what)
    for argv in ([], ["--run", "line"]):
        with pytest.raises(UserError, match="damaged"):
            opened(*argv)
