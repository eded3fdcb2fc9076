import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from scriptorium import ROOT, UserError
from scriptorium.command_line import command
from scriptorium.data.vocabulary import SPECIAL_TOKENS
from scriptorium.training import storage
from scriptorium.training.console import Console, progress_line
from scriptorium.training.fit import DRY_RUN_BATCHES, fit
from scriptorium.training.opening import open_run
from scriptorium.training.tensorboard import Board

import keras
import numpy as np
import pytest
import tiny_script
from tiny_runs import STEPS, assert_same_outcome, go, rows, state, wait_for
from tiny_script import arguments


def test_the_files_of_a_run(straight):
    directory, history = straight
    config = json.loads((directory / "config.json").read_text())
    assert config["script"] == "tiny" and config["options"]["units"] == 8 and config["options"]["epochs"] == 3
    assert config["corpus"]["fingerprint"] == "70-0" and config["dtype"] == "float32" and config["parameters"] > 0
    vocabulary = json.loads((directory / "vocab.json").read_text())
    assert vocabulary["special"] == list(SPECIAL_TOKENS) and not set(SPECIAL_TOKENS) & set(vocabulary["tokens"])
    assert (directory / "history.png").read_bytes().startswith(b"\x89PNG")
    assert [row["epoch"] for row in rows(directory)] == ["1", "2", "3"]
    assert [row["step"] for row in rows(directory)] == ["18", "36", "54"]
    assert history["val_neg_elbo"][2] < history["val_neg_elbo"][0]
    assert set(history) >= {"neg_elbo", "perplexity", "kl_weight", "learning_rate", "tokens_per_second", "seconds"}


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="only JAX returns before a step has been computed")
def test_the_speed_counts_steps_that_are_done(tmp_path, monkeypatch):
    ready, clock, model = [], time.monotonic, []

    def watched():
        if sys._getframe(1).f_code.co_name == "on_train_batch_end" and model:
            ready.append(all(leaf.is_ready() for leaf in keras.tree.flatten(model[0]._jax_state)))
        return clock()

    monkeypatch.setattr("time.monotonic", watched)
    begin = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: model.append(begin.model))
    go(tmp_path, "-e", "1", "-L", "512", callbacks=[begin])
    assert len(ready) >= STEPS and all(ready)


def test_the_best_epoch_is_kept(tmp_path):
    class Worse(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                self.best = self.model.get_weights()
                self.model.logits.bias.assign(np.linspace(-20, 20, self.model.logits.bias.shape[0]))

    worse = Worse()
    run, history = go(tmp_path, "-e", "2", callbacks=[worse])
    assert history["val_neg_elbo"][1] > history["val_neg_elbo"][0]
    run.load_best(run.model)
    for weight, value in zip(run.model.get_weights(), worse.best, strict=True):
        np.testing.assert_array_equal(weight, value)
    assert state(run.directory)[0]["best"][1] == 1


def test_the_best_weights_of_part_of_an_epoch_are_gone_when_training_continues(tmp_path):
    """Validation within an epoch may be better than any at an end; a run that never stopped has not seen it."""

    class Spoil(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.model.optimizer.iterations.numpy() >= STEPS + 10:
                self.model.logits.bias.assign(np.linspace(-20, 20, self.model.logits.bias.shape[0]))

    straight, _ = go(tmp_path, "-e", "2", callbacks=[Spoil()])
    first, _ = go(tmp_path, "-e", "2", "--name", "stopped", "--max-steps", str(STEPS + 5), callbacks=[Spoil()])
    parts = [storage.load_arrays(run.directory / "best.safetensors")[1] for run in (straight, first)]
    assert any(not np.array_equal(parts[0][name], parts[1][name]) for name in parts[0])
    run, _ = go(tmp_path, "--resume", "stopped", "--max-steps", "1000", callbacks=[Spoil()])
    assert_same_outcome(run.directory, (straight.directory,))
    for name, array in storage.load_arrays(run.directory / "best.safetensors")[1].items():
        np.testing.assert_array_equal(array, parts[0][name])
    assert not (run.directory / "best-of-epochs.safetensors").exists()


@pytest.mark.parametrize("columns", [None, 60, 80, 200])
def test_banner_and_table_of_epochs(tmp_path, capsys, monkeypatch, columns):
    if columns:
        monkeypatch.setenv("COLUMNS", str(columns))
    go(tmp_path, "--name", "mine", "-e", "2")
    said = capsys.readouterr().out
    assert "\r" not in said
    lines = said.splitlines()
    assert [line.split()[0] for line in lines] == ["corpus", "model", "device", "run", "tip", "epoch", "1/2", "2/2"]
    lines.pop(4)
    assert "float32: as requested" in lines[2] and "seed 1" in lines[3]
    heads = lines[4].split()
    assert heads[:5] == ["epoch", "neg_elbo", "val_neg_elbo", "best", "left"] and heads[5] == "tokens/s"
    assert ("kl_weight" in heads) == (columns is None or columns > 80)
    assert len({len(line) for line in lines[4:]}) == 1 and len(lines[4]) <= (columns or 100)
    assert "*" in lines[5]


def test_the_heads_of_the_table_return_after_other_lines(capsys):
    console = Console()
    console.row({"epoch": "1/9", "neg_elbo": "48.21"})
    console.row({"epoch": "2/9", "neg_elbo": "47.03"})
    console.say("  samples", "    one two")
    console.row({"epoch": "3/9", "neg_elbo": "46.50"})
    assert capsys.readouterr().out.splitlines() == [
        " epoch  neg_elbo", "   1/9     48.21", "   2/9     47.03", "  samples", "    one two",
        " epoch  neg_elbo", "   3/9     46.50",
    ]  # fmt: skip


SCORES = [("reverse_lm_score", 4.8213, 5.01), ("lm_score", 3.25, None)]


@pytest.mark.parametrize("columns", range(30, 201, 10))
def test_the_live_line_fits_and_keeps_what_matters(columns):
    line = progress_line(columns, (3, 20), 0.5, SCORES, 7812.0, 7500.0)
    assert len(line) <= columns and "3/20" in line and "50%" in line
    if columns >= 40:
        assert "2h05m left" in line and "[##" in line
    if columns >= 60:
        assert "4.821 valid" in line
    if columns >= 120:
        assert "reverse_lm_score 4.821 validation 5.010" in line and "lm_score 3.250  7,812 tokens/s" in line


def test_the_live_line_of_a_common_run_at_sixty_columns():
    line = progress_line(59, (3, 20), 0.5, [("neg_elbo", 48.213, 49.03), ("kl", 22.1, 22.5)], 7812.0, 720.0)
    assert line == "3/20 [##---] 50% neg_elbo 48.21 valid 49.03 7.8k/s 12m left"


def test_phases_are_named_once_where_there_is_no_terminal(capsys):
    console = Console()
    for share in (0.1, 0.5, 1.0):
        console.phase("iw_nll", share)
    console.phase("reconstructions")
    assert capsys.readouterr().out == "computing iw_nll ...\ncomputing reconstructions ...\n"


def test_samples_are_kept(tmp_path, capsys):
    run, _, _ = tiny_script.start(arguments(tmp_path))
    run.log_texts("samples", ["one two", "三"], 1, temperature=0.5)
    run.log_texts("samples", ["four"], 2)
    run.close()
    kept = (run.directory / "samples.txt").read_text(encoding="utf-8")
    assert kept == "[epoch 1] samples (temperature 0.5)\none two\n三\n\n[epoch 2] samples\nfour\n\n"
    assert "    one two" in capsys.readouterr().out


def test_a_dry_run_leaves_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    run, history = go(tmp_path / "runs", "--dry-run")
    assert history["step"] == [DRY_RUN_BATCHES]
    assert not run.directory.exists() and not (tmp_path / "runs").exists()
    assert list((tmp_path / "temporary").iterdir()) == []
    assert "nothing is kept" in capsys.readouterr().out


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


HEADERS = {"Content-Type": "application/json"}
STATUSES = ["STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING", "STATUS_UNKNOWN"]


def test_a_run_that_is_resumed_in_the_same_second_keeps_its_earlier_events(tmp_path, monkeypatch):
    monkeypatch.setattr("time.time", lambda: 1.7e9)
    for epoch in (1, 2):
        board = Board(tmp_path, Console(), first_epoch=epoch)
        board.scalar("train", "neg_elbo", 3.0, epoch)
        board.close()
    assert [event.step for event in events_of(board, "train") if event.HasField("summary")] == [1, 2]


def test_a_tensorboard_server_shows_it_all(tmp_path):
    run, train, valid = tiny_script.start(arguments(tmp_path, "--name", "board", "--max-steps", "20"))
    codes = np.random.default_rng(0).normal(size=(5, 3))
    run.projector(codes, ["a\tb", "c", "", "三", "e"], {"tokens": [1, 2, 3, 4, 5], "who": ["x\ty", "", "z", "z", "z"]})
    fit(run, run.model, train, valid, epochs=3, max_steps=20)
    run.log_texts("samples", ["one <b>two</b>"], 1)
    run.histogram("z_mean", codes, 1)
    run.bars("kl_per_dimension", [0.1, 2.0, 0.3], 1)
    run.close()
    # A run of another script, which is still training.
    other = Board(tmp_path / "other" / "stopped", Console())
    (tmp_path / "other" / "stopped").mkdir(parents=True)
    other.row({"script": "other", "width": 3})
    # After resuming, what the interrupted epoch had logged is not there twice.
    go(tmp_path, "--resume", "board", "-e", "2", "--max-steps", "1000")
    scored = open_run("tiny", arguments(tmp_path, "--eval", "board"))
    scored.save_scores("test split", {"neg_elbo": 3.0, "exact_match": 0.5, "note": "a|b"}, 1)
    port = free_port()
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(tmp_path), "--port", str(port)]
    log = open(tmp_path / "server.log", "w")  # noqa: SIM115 (the server writes to it until the end)
    server = subprocess.Popen([*command, "--host", "127.0.0.1"], stdout=log, stderr=log)

    def ask(path, body=None):
        body = body and json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{port}/data/{path}", body, HEADERS if body else {})
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)

    train_run, valid_run, test_run = (f"tiny/board/{split}" for split in ("train", "validation", "test"))
    try:
        wait_for(lambda: set(ask("runs")) == {train_run, valid_run, test_run, "other/stopped/test"})
        wait_for(lambda: "main/neg_elbo" in ask("plugin/scalars/tags").get(valid_run, {}))
        wait_for(lambda: set(ask("plugin/scalars/tags").get(test_run, {})) == {"main/neg_elbo", "more/exact_match"})
        tags = ask("plugin/scalars/tags")
        rest = {f"more/{name}" for name in ("loss", "kl_weight", "learning_rate", "tokens_per_second")}
        assert set(tags[train_run]) == {"main/neg_elbo", "main/perplexity"} | rest
        assert set(tags[valid_run]) == {"main/neg_elbo", "main/perplexity", "more/loss"}
        points = ask(f"plugin/scalars/scalars?run={valid_run}&tag=main/neg_elbo")
        assert [step for _, step, _ in points] == [1, 2]
        # The server reads while it answers: scores first, texts and pictures a moment later.
        wait_for(lambda: sorted(ask("plugin/text/tags").get(train_run, [])) == ["run", "samples"])
        wait_for(lambda: list(ask("plugin/histograms/tags").get(train_run, [])) == ["more/z_mean"])
        assert ask("plugin/text/tags")[test_run] == ["test"]
        about, tested = (
            json.dumps(ask(f"plugin/text/text?run={run}&tag={tag}"))
            for run, tag in ((train_run, "run"), (test_run, "test"))
        )
        assert "max_steps" in about and "1000 (default: None)" in about and "batch_size" not in about
        assert "exact_match" in tested and "0.5" in tested and "a|b" in tested
        experiment = ask("plugin/hparams/experiment", {"experimentName": "", "hparamsLimit": 0, "includeMetrics": True})
        columns = {column["name"] for column in experiment["hparamInfos"]}
        assert columns == {
            "script", "corpus", "units", "batch_size", "learning_rate", "epochs", "seed", "max_steps", "dtype", "width"
        }  # fmt: skip
        tags = {metric["name"]["tag"] for metric in experiment["metricInfos"]}
        assert tags == {"main/neg_elbo", "more/exact_match"}
        wanted = {"allowedStatuses": STATUSES, "startIndex": 0, "sliceSize": 9, "colParams": []}
        rows = ask("plugin/hparams/session_groups", {"experimentName": "", **wanted})["sessionGroups"]
        rows = {row["hparams"]["script"]: row for row in rows}
        assert set(rows) == {"tiny", "other"} and rows["tiny"]["hparams"]["max_steps"] == 1000
        assert "metricValues" not in rows["other"] or rows["other"]["metricValues"] == []
        assert "one &lt;b&gt;two" in json.dumps(ask(f"plugin/text/text?run={train_run}&tag=samples"))
        assert list(ask("plugin/images/tags")[train_run]) == ["more/kl_per_dimension"]
        assert list(ask("plugin/histograms/tags")[train_run]) == ["more/z_mean"]
        embedding = ask(f"plugin/projector/info?run={train_run}")["embeddings"][0]
        assert embedding["tensorShape"] == [5, 3]
        address = f"http://127.0.0.1:{port}/data/plugin/projector/metadata?run={train_run}&name=z_mean"
        with urllib.request.urlopen(address, timeout=20) as answer:
            lines = answer.read().decode().split("\n")
        assert lines[:4] == ["text\ttokens\twho", "a b\t1\tx y", "c\t2\t-", "-\t3\tz"]
    finally:
        server.kill()
        server.wait()
        log.close()


def events_of(run, split):
    """Returns the events in the TensorBoard logs of a run."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    return [
        event for path in sorted((run.directory / split).glob("events*")) for event in EventFileLoader(str(path)).Load()
    ]


def test_a_run_has_one_row_in_the_table_of_runs(tmp_path):
    """From its start on; a later score of it replaces the row."""
    run, _, _ = tiny_script.start(arguments(tmp_path, "--name", "mine", "-L", "4"))
    tags = [value.tag for event in events_of(run, "test") for value in event.summary.value]
    assert tags == ["_hparams_/session_start_info"]
    run.close()
    for score in (3.0, 2.0):
        used = open_run("tiny", arguments(tmp_path, "--eval", "mine"))
        used.save_scores("test split", {"perplexity": score, "bleu_4": 0.1}, 1)
        used.close()
        assert used.board is None
        values = [value for event in events_of(run, "test") for value in event.summary.value]
        tags = [value.tag for value in values]
        assert tags == [
            *("_hparams_/session_start_info", "main/perplexity", "more/bleu_4", "test", "_hparams_/session_end_info"),
        ]
        assert values[1].tensor.float_val == [score] or values[1].simple_value == score
    assert used.changed == {"units": (4, 8), "dtype": ("float32", "auto")}
    # Scores of a bundled run leave it as it is.
    used.config["packed"] = True
    used.log_scores({"perplexity": 1.0})
    assert [value.tag for event in events_of(run, "test") for value in event.summary.value] == tags


def test_a_name_that_is_not_given_says_what_differs(tmp_path):
    argv = ("-L", "4", "-l", "0.003", "-e", "2", "--max-steps", "3")
    run, _, _ = tiny_script.start(arguments(tmp_path, *argv))
    run.close()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d-\d{6}-units4-epochs2-learning_rate0.003-max_steps3.*", run.name), run.name
    run.changed = {"data": ("/home/me/my texts!.txt", None), "no_latent": (True, False), "a" * 50: (1, 0), "b": (2, 0)}
    assert run._suffix() == "-my-texts-no_latent-b2"


def test_bars_name_their_axes(tmp_path, monkeypatch):
    run, _, _ = tiny_script.start(arguments(tmp_path, "--dry-run"))
    drawn = []
    monkeypatch.setattr(run.board, "figure", lambda split, tag, figure, step: drawn.append(figure.axes[0]))
    for tag in ("kl_per_position", "variance_per_dimension"):
        run.bars(tag, [1.0, 2.0], 1)
    run.close()
    assert [(axes.get_xlabel(), axes.get_ylabel()) for axes in drawn] == [
        ("position", "KL (nats)"), ("dimension", "variance")
    ]  # fmt: skip


# The command line -------------------------------------------------------------------------------------------------


def test_errors_are_one_line(capsys, monkeypatch):
    def main(args):
        raise UserError("first\nsecond")

    monkeypatch.setattr(sys, "argv", ["/somewhere/tiny.py"])
    with pytest.raises(SystemExit) as stopped:
        command(main, lambda: None)
    assert stopped.value.code == 2 and capsys.readouterr().err == "tiny.py: error: first second\n"


def test_the_console_holds_only_our_lines(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    command = [sys.executable, str(Path(tiny_script.__file__)), "-T", str(tmp_path), "-e", "1"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 7
