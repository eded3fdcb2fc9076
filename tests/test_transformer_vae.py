"""The transformer autoencoder: lengths, windows, writing step by step, recomputation, and its objective."""

import functools
import json
import time
import types

from scriptorium.data.batches import encode_texts
from scriptorium.data.vocabulary import START, Vocabulary, strip_special
from scriptorium.nn import compiled, transformer
from scriptorium.nn.compiled import rematerialized
from scriptorium.nn.transformer import halved, upsampled
from scriptorium.transformer_vae import experiments
from scriptorium.transformer_vae import scores as code_scores
from scriptorium.vae import inference

import keras
import numpy as np
import pytest
from helpers import drawn_digits, run_here
from keras import ops

import homotopy
import transformer_vae

TEXTS = ["return self.name", "x = y + 1", "for i in range(n):", "import os, sys", "del a[i]", "pass"] * 4


SMALL = ["-L", "12", "--num-heads", "3", "--latent-tokens", "3", "-H", "5", "-m", "20", "--dropout", "0"]


pytestmark = pytest.mark.usefixtures("one_part")


@pytest.fixture
def few_samples(monkeypatch):
    """Scores fewer walks, draws and permutations than a user wants."""
    monkeypatch.setattr(code_scores, "PAIRS", 4)
    monkeypatch.setattr(code_scores, "SAMPLES", 20)
    monkeypatch.setattr(code_scores, "mmd_test", functools.partial(code_scores.mmd_test, permutations=20))


def options_of(*argv):
    args = transformer_vae.parse_args([*SMALL, *argv])
    return {k: v for k, v in vars(args).items() if k not in ("given", "groups", "flags", "argv")}


def made(*argv):
    keras.utils.set_random_seed(1)
    vocabulary = Vocabulary.build(TEXTS, "char")
    model = transformer_vae.build(options_of(*argv), vocabulary)
    return model, vocabulary, encode_texts(TEXTS, vocabulary, 20)


@pytest.mark.parametrize(("time", "lengths"), [(30, (15, 8)), (99, (50, 25)), (237, (119, 60)), (840, (420, 210))])
def test_the_funnel_halves_the_length(time, lengths):
    x = np.random.default_rng(1).normal(size=(2, time, 3)).astype("float32")
    for length in lengths:
        before, x = x, ops.convert_to_numpy(halved(ops.convert_to_tensor(x), ops.ones(x.shape[:2], bool)))
        assert x.shape[1] == length
        np.testing.assert_allclose(x[:, 0], before[:, 0], atol=1e-6)
        np.testing.assert_allclose(x[:, 2], before[:, 3:5].mean(axis=1), atol=1e-6)


def test_padding_has_no_part_in_a_mean():
    x = ops.reshape(ops.arange(5, dtype="float32"), (1, 5, 1))
    found = halved(x, ops.convert_to_tensor([[True, True, True, True, False]]))
    np.testing.assert_allclose(ops.convert_to_numpy(found)[0, :, 0], [0, 1.5, 3])


def test_buckets_of_relative_positions():
    found = transformer.buckets(200)
    assert found[0].max() == 0 and found[15, :16].tolist() == list(range(15, -1, -1))
    assert found[20, 0] == 17 and found[64, 0] == 26 and found[199, 0] == 31  # as in T5's own code, causal


@pytest.mark.parametrize("shift", [0, 2])
@pytest.mark.parametrize("time", [3, 8, 11])
def test_windows_against_a_mask(time, shift):
    random, window = np.random.default_rng(1), 4
    three = [random.normal(size=(2, time, 6)).astype("float32") for _ in range(3)]
    bias = random.normal(size=(2, window, window)).astype("float32")
    found = ops.convert_to_numpy(transformer.attend_in_windows(*three, 2, window, shift, bias))
    places = np.arange(time) + shift
    mask = (places[:, None] // window == places[None] // window) & (places[:, None] >= places[None])
    whole = bias[:, places[:, None] % window, places[None] % window]
    wanted = transformer.attend(*three, 2, mask[None], whole)
    np.testing.assert_allclose(found, ops.convert_to_numpy(wanted), atol=1e-5)


def test_a_code_vector_becomes_four_positions():
    x = np.arange(2 * 3 * 8, dtype="float32").reshape(2, 3, 8)
    found = ops.convert_to_numpy(upsampled(x))
    np.testing.assert_array_equal(found[:, 0], x[:, 0, :2])
    np.testing.assert_array_equal(found[:, 1:9], x[:, 1:].reshape(2, 8, 2))
    assert found.shape == (2, 12, 2) and not found[:, 9:].any()


@pytest.mark.parametrize("argv", [(), ("--attention-window", "6"), ("--noise-probability", "0")])
def test_steps_with_caches_equal_the_whole_at_once(argv):
    model, _, sequences = made(*argv)
    ids = sequences.padded(np.arange(4))
    z = np.random.default_rng(1).normal(size=(4, *model.latent_shape)).astype("float32")
    noise = np.array([0, 0.2, 0.6, 1], "float32")
    hidden = model.decoder(ids, z, noise)
    whole = ops.convert_to_numpy(ops.matmul(hidden, ops.transpose(model.embedding.embeddings)))
    state, token = model.start({"z": z, "noise_level": noise}), np.full(4, START, "int32")
    for t in range(ids.shape[1]):
        logits, state = model.step(token, state)
        np.testing.assert_allclose(ops.convert_to_numpy(logits), whole[:, t], atol=1e-4)
        token = ids[:, t]


@pytest.mark.parametrize("window", [0, 6])
def test_no_token_sees_those_behind_it(window):
    model, _, sequences = made("--attention-window", str(window))
    ids = sequences.padded([0], 20)
    z = np.zeros((1, *model.latent_shape), "float32")
    noise = np.zeros(1, "float32")
    before = ops.convert_to_numpy(model.decoder(ids, z, noise))
    for place in (3, 9):
        other = ids.copy()
        other[0, place] = 5
        moved = np.abs(ops.convert_to_numpy(model.decoder(other, z, noise)) - before).max(axis=-1)[0] > 1e-6
        assert not moved[: place + 1].any() and moved[place + 1]


@pytest.mark.parametrize("code", ["gaussian", "point"])
def test_the_encoder_does_not_see_padding(code):
    model, _, sequences = made("--code", code, "--latent-tokens", "5")
    narrow, wide = (model.posterior(sequences.padded([0, 1, 5], width)) for width in (None, 21))
    for a, b in zip(narrow, wide, strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(a), ops.convert_to_numpy(b), atol=1e-5)


def test_where_no_token_was_the_posterior_is_the_prior():
    model, _, sequences = made("--latent-tokens", "5")
    z_mean, z_log_var = inference.posteriors(model, sequences.first(6))
    for i, length in enumerate(sequences.lengths[:6]):
        used = 1 + -(-length // 4)
        assert not z_mean[i, used:].any() and not z_log_var[i, used:].any()
        assert z_mean[i, :used].all() and (z_log_var[i, :used] < 0).all()


def step_of(model, sequences):
    before = [w.numpy().copy() for w in model.trainable_variables]
    model.compile(keras.optimizers.SGD(1e-2))
    model.train_on_batch(sequences.padded(np.arange(6)))
    return [w.numpy() - old for w, old in zip(model.trainable_variables, before, strict=True)]


def test_recomputed_gradients_equal_plain_ones(monkeypatch):
    monkeypatch.setattr(compiled, "PARTS", 2)  # as on two cores
    plain, again = (step_of(*made("--recompute", str(n))[::2]) for n in (0, 2))
    assert max(np.abs(step).max() for step in plain) > 1e-3
    for a, b in zip(plain, again, strict=True):
        np.testing.assert_allclose(b, a, atol=1e-6)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="of the order of TensorFlow's graph")
def test_what_is_computed_again_waits_for_the_gradient():
    import tensorflow as tf

    order = []

    def noted(name, x):
        def note(x):
            time.sleep(0.3 * (name == "later"))
            order.append(name)
            return x * 2.0

        return tf.py_function(note, [x], tf.float32)

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y, passed = rematerialized(lambda x: noted("function", x), x)
            y = noted("later", y) + passed
        return tape.gradient(y, x)

    assert float(step(tf.constant(3.0))) == 5
    assert order == ["function", "later", "function"]


def test_noise_does_not_care_for_the_size_of_a_code():
    random = np.random.default_rng(1)
    z, normal = (random.normal(size=(3, 2, 50)).astype("float32") for _ in range(2))
    noise = np.array([0, 0.36, 1], "float32")
    arguments = [list(map(ops.convert_to_tensor, (codes, noise, normal))) for codes in (z, 7 * z)]
    found, larger = (ops.convert_to_numpy(transformer_vae.with_noise(*given)) for given in arguments)
    np.testing.assert_allclose(found, larger, atol=1e-5)
    unit = z / np.sqrt(np.mean(z**2, axis=-1, keepdims=True))
    np.testing.assert_allclose(found[0], unit[0], atol=1e-5)
    np.testing.assert_allclose(found[1], 0.8 * unit[1] + 0.6 * normal[1], atol=1e-5)
    np.testing.assert_allclose(found[2], normal[2], atol=1e-5)


def test_some_codes_are_read_through_noise_in_training_alone():
    model, _, _ = made("--noise-probability", "0.3")
    z = np.random.default_rng(1).normal(size=(2000, *model.latent_shape)).astype("float32")
    given, noise = map(ops.convert_to_numpy, model.read_through_noise(ops.convert_to_tensor(z), training=True))
    assert np.mean(noise > 0) == pytest.approx(0.3, abs=0.03) and 0.9 < noise.max() <= 1
    assert ((given == z).all(axis=(1, 2)) == (noise == 0)).all()
    given, noise = map(ops.convert_to_numpy, model.read_through_noise(ops.convert_to_tensor(z), training=False))
    assert (given == z).all() and not noise.any()


def test_lines_near_a_line_are_its_code_through_half_of_the_noise():
    model, vocabulary, _ = made()
    codec = transformer_vae.TransformerCodec(
        types.SimpleNamespace(model=model, vocabulary=vocabulary, options=options_of())
    )
    normal = np.random.default_rng(1).normal(size=(3, *model.latent_shape)).astype("float32")
    z, how = codec.near("pass", normal, noise_level=0.8)
    mean = codec.encode(["pass"])[0]
    given = np.repeat(mean, 3, axis=0), np.full(3, 0.4, "float32"), normal
    wanted = transformer_vae.with_noise(*map(ops.convert_to_tensor, given))
    np.testing.assert_allclose(z, ops.convert_to_numpy(wanted), atol=1e-5)
    assert how["noise_level"].tolist() == pytest.approx([0.4] * 3)
    assert len(codec.decode(z, **how)) == 3


def test_a_run_without_noise_is_not_asked_for_it(tmp_path, monkeypatch):
    monkeypatch.setattr(transformer_vae, "evaluate", lambda *args: {})  # its scores are not asked for
    sizes = ["-L", "12", "--num-heads", "3", "-H", "4", "--decoder-layers", "1", "-b", "4"]
    sizes += ["--max-steps", "2", "-o", "0"]
    (tmp_path / "lines.txt").write_text("\n".join(TEXTS * 9))
    where = ["-D", tmp_path / "lines.txt", "-T", tmp_path / "runs"]
    run_here(transformer_vae, *where, *sizes, "--noise-probability", "0", "--name", "plain", "-w", "270")
    for argv in ([transformer_vae, "--sample", "plain", "-T"], [homotopy, "a", "b", "--run", "plain", "-T"]):
        done = run_here(*argv, tmp_path / "runs", "--noise-level", "0.5", status=2)
        assert "--noise-level" in done.stderr and len(done.stderr.splitlines()) <= 3


def test_one_batch_is_learned_by_heart():
    model, _, sequences = made("--code", "point", "-L", "24", "-H", "8", "--decoder-layers", "1")
    model.compile(keras.optimizers.Adam(1e-2))
    ids = sequences.padded(np.arange(6))
    for _ in range(200):
        model.reset_metrics()
        scores = model.train_on_batch(ids, return_dict=True)
    assert scores["nll"] < 0.5
    z_mean, _ = inference.posteriors(model, sequences.first(6))
    written = code_scores.write(model, z_mean, 21)
    assert [strip_special(row) for row in written] == [strip_special(row) for row in ids]


def test_presets_are_defaults():
    args = transformer_vae.parse_args(["--preset", "tenth_5_tkn,funnel_small,60Seq,window60,batch_large", "-b", "7"])
    found = (args.latent_dim, args.latent_tokens, args.funnel, args.max_length, args.attention_window)
    assert found == (77, 5, "2_2_2", 60, 60)
    assert args.batch_size == 7 and experiments.preset("full_30_tkn") == {"latent_dim": 768, "latent_tokens": 30}
    for argv in ("--preset tiny", "--funnel 1_1", "--recompute 2", "-L 100", "--attention-window 1"):
        with pytest.raises(SystemExit):
            transformer_vae.parse_args(argv.split())


def test_the_weight_of_the_mmd_rises():
    assert float(transformer_vae.TransformerVAE.mmd_share(2500)) == pytest.approx(0.5)


def test_lines_are_searched_for_unless_they_are_drawn():
    parse = transformer_vae.parse_args
    assert parse([]).beam == 4 and parse(["--temperature", "1"]).beam == 1 and parse(["--beam", "2"]).beam == 2


def test_experiments_are_defaults_too():
    args = transformer_vae.parse_args(["--experiment", "mnist", "--rows", "14", "--preset", "window60"])
    found = (args.task, args.level, args.max_length, args.attention_window, args.check)
    assert found == ("digits", "char", 224, 60, "none")
    assert (args.latent_tokens, args.latent_dim, args.batch_size) == (58, 16, 16)
    assert args.gen_length == 225 and transformer_vae.parse_args(["-g", "9"]).gen_length == 9
    assert transformer_vae.parse_args(["--experiment", "semantics"]).task == "headlines"
    assert transformer_vae.parse_args(["--experiment", "syntax", "-D", "x.txt"]).check == "python"


def test_digits_from_training_to_their_strip(tmp_path, few_samples):
    pictures, labels = drawn_digits(200)
    np.savez(tmp_path / "x.npz", x=pictures, y=labels)
    sizes = ["-L", "12", "--num-heads", "3", "-H", "8", "--decoder-layers", "1", "-e", "1", "--name", "d"]
    where = ["-D", tmp_path / "x.npz", "-T", tmp_path / "runs"]
    run_here(transformer_vae, "--experiment", "mnist", *sizes, *where)
    scores = json.loads((tmp_path / "runs" / "transformer_vae" / "d" / "eval.json").read_text())
    assert scores["digit_accuracy_real"] > 0.8 and 0 <= scores["digit_accuracy_reconstructed"] <= 1
    assert "well_formed_95" in scores
    again = run_here(transformer_vae, "--eval", "d", *where, "--iw-samples", "2")
    assert f"digit_accuracy_real  {scores['digit_accuracy_real']:.5g}" in again.stdout
    done = run_here(homotopy, "--run", "d", "-T", tmp_path / "runs", "--random", "-n", "2")
    assert len(done.stdout.splitlines()) == 4


def test_headlines_and_what_their_codes_tell(tmp_path, few_samples):
    random = np.random.default_rng(1)
    words = {"news": ["bank", "vote", "war", "oil"], "fun": ["cat", "quiz", "star", "cake"]}
    rows = [
        (label, " ".join(random.choice(words[label], random.integers(3, 9)))) for label in words for _ in range(300)
    ]
    (tmp_path / "h.jsonl").write_text("\n".join(json.dumps({"label": a, "text": b}) for a, b in rows))
    sizes = ["-L", "12", "--num-heads", "3", "-H", "8", "--decoder-layers", "1", "-e", "1", "--name", "h", "-w", "300"]
    where = ["-D", tmp_path / "h.jsonl", "-T", tmp_path / "runs"]
    run_here(transformer_vae, "--experiment", "semantics", *sizes, *where)
    scores = json.loads((tmp_path / "runs" / "transformer_vae" / "h" / "eval.json").read_text())
    assert scores["label_accuracy_words"] == 1.0 and scores["label_accuracy"] > scores["majority"]
    (tmp_path / "plain.txt").write_text("\n".join(text for _, text in rows))
    done = run_here(transformer_vae, "--experiment", "semantics", "-D", tmp_path / "plain.txt", status=2)
    assert "labels" in done.stderr
