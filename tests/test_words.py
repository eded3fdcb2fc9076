"""The word RNN: its regularizers, averaged weights, and command line."""

import functools
import json

from scriptorium.data.vocabulary import PAD, Vocabulary
from scriptorium.nn.recurrent import LSTM, with_weight_drop
from scriptorium.training import storage
from scriptorium.training.callbacks import AverageWeights, averaging_optimizer

import keras
import numpy as np
import pytest
from helpers import run_here
from keras import ops

import words

SMALL = ["-L", 12, "-E", 8, "-b", 8, "-g", 12]
STREAM = ["--stream", "--window", 7, "--ema", 0.9, "--optimizer", "sgd"]
VOCABULARY = Vocabulary.build(["the cat sat on the mat . a dog ran home"], "space")


def made(*argv):
    keras.utils.set_random_seed(1)
    args = words.parse_args(["-E", "8", "-L", "12", "-b", "2", *argv])
    options = {name: value for name, value in vars(args).items() if name not in ("given", "groups", "flags", "argv")}
    return words.build(options, VOCABULARY)


def test_weight_drop_thins_recurrent_weights_in_training_alone():
    layer = with_weight_drop(LSTM)(4, 0.5, return_sequences=True)
    plain = LSTM(4, return_sequences=True)
    x = np.random.default_rng(1).normal(size=(3, 6, 5)).astype("float32")
    layer(x), plain(x)
    plain.set_weights([np.asarray(weight) for weight in layer.trainable_variables])
    np.testing.assert_allclose(layer(x), plain(x), rtol=1e-6)
    kernel = layer.cell.recurrent_kernel
    first, second = np.asarray(layer(x, training=True)), np.asarray(layer(x, training=True))
    assert layer.cell.recurrent_kernel is kernel
    # The first step has no state to multiply; what comes after differs from call to call.
    np.testing.assert_allclose(first[:, 0], np.asarray(plain(x))[:, 0], rtol=1e-6)
    assert not np.allclose(first[:, 1:], second[:, 1:])


def test_weight_drop_at_its_rate():
    dropped = with_weight_drop(LSTM)(64, 0.3).weight_dropout
    thinned = np.asarray(dropped(np.ones((64, 256), "float32"), training=True))
    assert np.mean(thinned == 0) == pytest.approx(0.3, abs=0.02)
    np.testing.assert_allclose(thinned[thinned != 0], 1 / 0.7, rtol=1e-6)


def test_dropped_outputs_are_the_same_at_all_times():
    model = made("--dropout", "0.5", "-d", "0", "--input-dropout", "0")
    kept, _ = model.read(np.full((2, 9), 5, "int32"), model.start(2), training=True)
    zero = np.asarray(kept) == 0
    assert (zero == zero[:, :1]).all() and 0 < zero.mean() < 1


def test_word_dropout_leaves_out_whole_words():
    model = made("-d", "0.5", "--input-dropout", "0")
    ids = np.tile(np.arange(4, 14, dtype="int32"), (3, 2))
    entered = np.asarray(model.embed(ids, True))
    gone = (entered == 0).all(-1)
    assert (gone == gone[:1, :10].repeat(3, 0)[:, np.arange(20) % 10]).all() and 0 < gone.mean() < 1
    np.testing.assert_allclose(entered[~gone], 2 * np.asarray(model.embedding(ids))[~gone], rtol=1e-6)


def test_the_loss_is_a_mean_over_what_counts():
    model = made()
    ids = np.array([[4, 5, 3, PAD], [6, 3, PAD, PAD]], "int32")
    y = model(ids)
    assert float(model.compute_loss(x=ids, y_pred=y)) == pytest.approx(np.asarray(y["nll"]).sum() / 5, rel=1e-5)


def test_averaged_weights_are_in_the_model_from_validation_to_the_end_of_the_epoch():
    model = made()
    model.compile(keras.optimizers.Adam(0.1, use_ema=True, ema_momentum=0.9))
    model.fit(np.full((8, 4), 5, "int32"), batch_size=2, verbose=0)
    last = [ops.convert_to_numpy(variable).copy() for variable in model.trainable_variables]
    averages = [ops.convert_to_numpy(variable).copy() for variable in model.optimizer._model_variables_moving_average]
    callback = AverageWeights()
    callback.set_model(model)
    callback.on_test_begin()
    for variable, average in zip(model.trainable_variables, averages, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), average)
    callback.on_epoch_end(0)
    for variable, value in zip(model.trainable_variables, last, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), value)


def test_averages_are_found_in_the_optimizer_that_float16_wraps():
    model = made()
    inner = keras.optimizers.Adam(0.1, use_ema=True, ema_momentum=0.9)
    model.compile(keras.optimizers.LossScaleOptimizer(inner))
    model.fit(np.full((8, 4), 5, "int32"), batch_size=2, verbose=0)
    assert averaging_optimizer(model) is inner
    averages = [ops.convert_to_numpy(variable).copy() for variable in inner._model_variables_moving_average]
    callback = AverageWeights()
    callback.set_model(model)
    callback.on_test_begin()
    for variable, average in zip(model.trainable_variables, averages, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), average)
    model.compile(keras.optimizers.Adam(0.1))
    assert averaging_optimizer(model) is None


# The command line --------------------------------------------------------------------------------------------------


run = functools.partial(run_here, words)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("words")
    random = np.random.default_rng(1)
    who, what, when = ["the cat", "a dog", "my bird"], ["sat", "ran home", "sang a song"], ["once", "again", "alone"]
    lines = [" ".join(random.choice(part) for part in (who, what, when)) + f" {i} ." for i in range(200)]
    (folder / "text.txt").write_text("\n".join(lines), encoding="utf-8")
    where = ["-D", folder / "text.txt", "-T", folder / "runs"]
    sentences = run(*where, *SMALL, "-e", 2, "--name", "sentences")
    stream = run(*where, *SMALL, *STREAM, "-e", 2, "--name", "stream")
    return folder, where, sentences, stream


def test_training(trained):
    folder, _, *done = trained
    for name, output in zip(("sentences", "stream"), done, strict=True):
        scores = json.loads((folder / "runs" / "words" / name / "eval.json").read_text())
        total = scores["nll"] * scores["texts"]
        assert scores["perplexity"] == pytest.approx(np.exp(total / scores["tokens"]))
        assert scores["perplexity"] < 250
        assert "temperature 1.2" in output.stdout and not output.stderr


def test_evaluation_with_a_cache(trained):
    folder, where, *_ = trained
    run("--eval", "stream", *where, "--cache", 50)
    scores = json.loads((folder / "runs" / "words" / "stream" / "eval.json").read_text())
    assert 0 < scores["perplexity_with_cache"] != scores["perplexity"]


def test_nats_of_each_line(trained, tmp_path):
    folder, *_ = trained
    (tmp_path / "lines.txt").write_text("the cat sat once .\n\nonce sat cat the .\n", encoding="utf-8")
    done = run("--score", tmp_path / "lines.txt", "--eval", "sentences", "-T", folder / "runs")
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    wanted = [("6", "the cat sat once ."), ("1", ""), ("6", "once sat cat the .")]
    assert [(tokens, line) for _, tokens, line in rows] == wanted
    assert all(float(nats) > 0 for nats, *_ in rows)


def test_going_on_with_a_sentence(trained):
    folder, *_ = trained
    done = run("--sample", "sentences", "-T", folder / "runs", "--num-samples", 2, text="the cat\nzebra\n")
    assert done.stdout.count("the cat") >= 2 and "not in the vocabulary, read as <unk>: zebra" in done.stderr


def test_a_stopped_run_ends_as_one_that_never_stopped(trained):
    folder, where, *_ = trained
    run(*where, *SMALL, *STREAM, "-e", 2, "--name", "stopped", "--max-steps", 20, "-o", 0)
    run("--resume", "stopped", *where, "--max-steps", 1000)
    ends = [
        storage.load_arrays(folder / "runs" / "words" / name / "last.safetensors")[1] for name in ("stream", "stopped")
    ]
    for name, array in ends[0].items():
        np.testing.assert_array_equal(array, ends[1][name], err_msg=name)


def test_a_run_that_was_killed_before_its_first_save_starts_from_the_same_weights(trained, tmp_path, monkeypatch):
    _, where, *_ = trained
    (tmp_path / "vectors.txt").write_text(f"cat {' '.join(['0.5'] * 8)}\n", encoding="utf-8")
    first = []

    def killed(run, *rest):
        first.append(run.model.get_weights())
        raise KeyboardInterrupt

    monkeypatch.setattr(words, "fit_run", killed)
    run(*where, *SMALL, "--embeddings", tmp_path / "vectors.txt", "--name", "killed", status=130)
    run("--resume", "killed", *where[2:], status=130)
    assert all(np.array_equal(a, b) for a, b in zip(*first, strict=True))


def test_gradient_descent_has_its_own_defaults():
    args = words.parse_args(["--optimizer", "sgd"])
    assert (args.learning_rate, args.clip_norm) == (20.0, 0.25)
    args = words.parse_args(["--optimizer", "sgd", "-l", "5", "--clip-norm", "1"])
    assert (args.learning_rate, args.clip_norm) == (5.0, 1.0)
    assert words.parse_args([]).learning_rate == 2e-3


def test_the_command_lines_of_older_scripts():
    argv = "-e 5 -E 30 -o 2 -l 0.001 -b 20 -D a.txt -L 30 -m 50 -w 1000 -r 4 -x 2 -I 900"
    args = words.parse_args(argv.split())
    assert (args.epochs, args.embedding_dim, args.units, args.max_length) == (5, 30, 30, 50)
    assert (args.top_words, args.num_layers, args.limit, args.seed) == (1000, 3, 900, 4)


@pytest.mark.parametrize(
    ("argv", "said"),
    [(["--score", "nowhere.txt"], "no run"), (["-D", "nowhere.txt"], "no such file"), (["--dropout", "2"], "not from")],
)
def test_bad_input_is_one_line(tmp_path, argv, said):
    done = run(*argv, "-T", tmp_path, status=2)
    assert said in done.stderr and "Traceback" not in done.stderr and not list(tmp_path.iterdir())


def test_averages_of_thousands_of_steps():
    assert words.parse_args(["--ema", "0.999"]).ema == words.parse_args(["--average", "0.999"]).ema == 0.999
