"""The Sentence VAE: its likelihoods and bound, its decoding, and its command line."""

import functools
import json
import shutil
from types import SimpleNamespace

from scriptorium.data.batches import Batches, Sequences, encode_texts
from scriptorium.data.vocabulary import EOS, PAD, START, UNK, Vocabulary, strip_special
from scriptorium.vae import collapse, inference, latent, report
from scriptorium.vae.codec import Codec

import keras
import numpy as np
import pytest
from helpers import run_here

import sentences

TEXTS = ["the cat sat on the mat .", "a dog ran .", "the dog sat .", "cats", "a cat ran on the mat . the end ."] * 3


def options_of(*argv):
    args = sentences.parse_args(["-E", "8", "-L", "12", "-H", "4", *argv])
    return {name: value for name, value in vars(args).items() if name not in ("given", "groups", "flags", "argv")}


def made(*argv, steps_per_epoch=1):
    keras.utils.set_random_seed(1)
    vocabulary = Vocabulary.build(TEXTS, "space")
    model = sentences.build(options_of(*argv), vocabulary, steps_per_epoch)
    # Away from the start, where every word is as likely as any other.
    random = np.random.default_rng(2)
    for weight in model.trainable_variables:
        weight.assign(weight.numpy() + random.normal(0, 0.3, weight.shape).astype("float32"))
    return model, vocabulary, encode_texts(TEXTS, vocabulary)


@pytest.fixture(scope="module")
def vae():
    return made("--posterior-norm", "0.6")


def by_steps(model, ids, z):
    """-log p(ids|z) by decoding one word at a time, in numpy."""
    state, token, total = model.start(z[None]), START, 0.0
    for word in ids.tolist():
        logits, state = model.step(np.array([token], "int32"), state)
        logits = np.asarray(logits, "float64")[0]
        total -= logits[word] - np.log(np.exp(logits - logits.max()).sum()) - logits.max()
        token = word
    return total


@pytest.mark.parametrize(
    "argv",
    [
        (),
        ("-R", "gru", "--latent-input", "state"),
        ("--latent-input", "both", "-E", "12"),
        ("--untied", "--num-layers", "2", "--latent-input", "inputs"),
        ("--share-rnn",),
        ("-d", "1"),
        ("--unidirectional", "--softplus", "--num-layers", "2"),
    ],
)
def test_decoding_step_by_step_equals_teacher_forcing(argv):
    model, _, sequences = made(*argv)
    z = np.random.default_rng(1).normal(size=(len(sequences), 4)).astype("float32")
    nll = inference.nll_of_each(model, sequences, z)
    for i in (0, 3, 4):
        assert nll[i] == pytest.approx(by_steps(model, sequences[i], z[i]), rel=1e-4)


def test_padding_and_the_other_texts_change_no_score(vae):
    model, _, sequences = vae
    z = np.random.default_rng(1).normal(size=(len(sequences), 4)).astype("float32")
    together = inference.nll_of_each(model, sequences, z)
    alone = [inference.nll_of_each(model, Sequences.from_list([s]), z[i : i + 1])[0] for i, s in enumerate(sequences)]
    np.testing.assert_allclose(together, alone, rtol=1e-5)
    wide = model.nll(sequences.padded(np.arange(5), 30), z[:5])
    np.testing.assert_allclose(wide, together[:5], rtol=1e-5)
    means, log_vars = inference.posteriors(model, sequences)
    for i in (0, 3):
        mean, log_var = inference.posteriors(model, Sequences.from_list([sequences[i]]))
        np.testing.assert_allclose([mean[0], log_var[0]], [means[i], log_vars[i]], rtol=1e-4, atol=1e-5)


def test_the_objective_is_the_bound(vae):
    model, _, sequences = vae
    ids = sequences.padded(np.arange(5))
    model.steps_done.assign(10**6)
    out = model(ids)
    loss = model.compute_loss(x=ids, y_pred=out, training=False)
    kl = latent.kl_to_standard_normal(out["z_mean"], out["z_log_var"])
    expected = np.mean([by_steps(model, sequences[i], np.asarray(out["z"][i])) for i in range(5)])
    assert float(loss) == pytest.approx(expected + float(keras.ops.sum(kl)) / 5, rel=1e-4)


def test_perplexity_is_that_of_the_bound(vae):
    model, _, sequences = vae
    ids = sequences.padded(np.arange(5))
    model.reset_metrics()
    model.compute_loss(x=ids, y_pred=model(ids), training=False)
    values = {metric.name: float(metric.result()) for metric in model.metrics}
    assert values["neg_elbo"] == pytest.approx(values["nll"] + values["kl"], rel=1e-5)
    tokens = sum(sequences.lengths[:5])
    assert values["perplexity"] == pytest.approx(np.exp(5 * values["neg_elbo"] / tokens), rel=1e-4)


def test_importance_weighted_bound():
    model, _, sequences = made("--posterior-norm", "0")
    z_mean, z_log_var = inference.posteriors(model, sequences)
    scores = inference.evaluate(model, sequences, 12, 1)
    single = [
        inference.importance_weighted_nll(model, sequences, z_mean, z_log_var, 1, seed).mean() for seed in range(100)
    ]
    # The mean of single draws estimates the negative ELBO, whose KL is exact in `evaluate`.
    elbos = []
    for seed in range(100):
        z = z_mean + np.exp(z_log_var / 2) * np.random.default_rng(seed + 500).standard_normal(z_mean.shape)
        elbos.append(inference.nll_of_each(model, sequences, z).mean() + scores["kl"])
    error = np.hypot(np.std(single), np.std(elbos)) / 10
    assert np.mean(single) == pytest.approx(np.mean(elbos), abs=4 * error)
    ten, many = (
        np.mean([inference.importance_weighted_nll(model, sequences, z_mean, z_log_var, k, s).mean() for s in range(5)])
        for k in (10, 200)
    )
    assert np.mean(single) > ten > many


def test_without_kl_the_bound_is_a_language_models_nll():
    model, _, sequences = made("--posterior-norm", "0")
    for layer in (model.encoder.z_mean, model.encoder.z_spread):
        for weight in layer.weights:
            weight.assign(np.zeros(weight.shape))
    # A decoder that does not look at z is a language model.
    model.decoder.z_to_state.kernel.assign(np.zeros(model.decoder.z_to_state.kernel.shape))
    model.decoder.z_to_output.kernel.assign(np.zeros(model.decoder.z_to_output.kernel.shape))
    kernel = model.decoder.recurrences[0].cell.kernel
    kernel.assign(np.concatenate([kernel.numpy()[:8], np.zeros((4, kernel.shape[1]))]))
    scores = inference.evaluate(model, sequences, 12, 7)
    nll = np.mean([by_steps(model, s, np.zeros(4, "float32")) for s in sequences])
    assert scores["kl"] == 0
    for name in ("nll", "neg_elbo", "iw_nll"):
        assert scores[name] == pytest.approx(nll, rel=1e-5)
    assert scores["mutual_information"] == pytest.approx(0, abs=1e-6)
    assert scores["active_units"] == 0


def test_training_adapts_the_weight_of_the_kl():
    model, _, sequences = made("--rate", "4", "--dropout", "0")
    model.compile(keras.optimizers.Adam(0.01), jit_compile=False)
    weight, ids = model.kl_weight_now(), sequences.padded(np.arange(len(sequences)))
    assert weight == pytest.approx(0.1)
    for _ in range(3):
        kl = model.train_on_batch(ids, return_dict=True)["kl"]
        model.reset_metrics()
        weight *= np.exp(0.02 * np.clip(kl / 4 - 1, -1, 1))
        assert model.kl_weight_now() == pytest.approx(weight, rel=1e-5)


def test_a_rate_or_a_weight_by_schedule(capsys):
    assert sentences.parse_args([]).rate == sentences.RATE
    for argv in (["--beta", "0.3"], ["--posterior-norm", "0.6"], ["--pretrain-epochs", "1"], ["--no-latent"]):
        assert sentences.parse_args(argv).rate == 0
        assert sentences.build(options_of(*argv), Vocabulary.build(TEXTS, "space")).control is None
    with pytest.raises(SystemExit):
        sentences.parse_args(["--rate", "12", "--free-bits", "8"])
    assert "--rate" in capsys.readouterr().err
    # A run from before there were rates.
    assert sentences.build(options_of() | {"rate": None}, Vocabulary.build(TEXTS, "space")).control is None


def test_word_dropout_hides_whole_words_and_nothing_else():
    model, _, _ = made("-d", "0.3")
    ids = np.random.default_rng(1).integers(4, 9, (200, 60)).astype("int32")
    ids[:, 0], ids[:, 50:] = START, PAD
    hidden = np.asarray(model.decoder.hide(ids, training=True))
    assert (hidden[:, 0] == START).all() and (hidden[:, 50:] == PAD).all()
    words = hidden[:, 1:50]
    assert set(np.unique(words[words != ids[:, 1:50]])) == {UNK}
    assert np.mean(words == UNK) == pytest.approx(0.3, abs=0.02)
    np.testing.assert_array_equal(model.decoder.hide(ids, training=False), ids)
    inputless, _, _ = made("-d", "1")
    assert (np.asarray(inputless.decoder.hide(ids, training=False))[:, 1:50] == UNK).all()


def test_kl_weight_waits_for_the_pretraining():
    model, _, _ = made("--pretrain-epochs", "2", "--annealing-epochs", "4", "--beta", "0.5", steps_per_epoch=10)
    assert [float(model.kl_weight(t)) for t in (0, 19, 20, 40, 60, 99)] == [0, 0, 0, 0.25, 0.5, 0.5]


def test_a_batch_overfits():
    model, _, sequences = made("--dropout", "0", "--posterior-norm", "0", "-L", "32", "--beta", "0")
    model.compile(keras.optimizers.Adam(0.02), jit_compile=False)
    ids = sequences.padded(np.arange(5))
    before = model.train_on_batch(ids, return_dict=True)["nll"]
    model.fit(np.tile(ids, (148, 1)), batch_size=5, verbose=0, shuffle=False)
    model.reset_metrics()
    assert model.train_on_batch(ids, return_dict=True)["nll"] < 0.5 < 5 < before
    z_mean, _ = inference.posteriors(model, Sequences.from_list([sequences[i] for i in range(5)]))
    ids, _ = inference.write(model, z_mean, 12)
    assert [strip_special(row) for row in ids] == [strip_special(sequences[i]) for i in range(5)]


def test_a_new_decoder_after_the_pretraining_keeps_the_encoder_and_the_embedding():
    model, _, sequences = made("--pretrain-epochs", "1")
    batches = Batches(sequences, 4)
    model.compile(keras.optimizers.Adam(0.1), jit_compile=False)
    callback = collapse.ResetDecoder(model, batches, 1)
    callback.set_model(model)
    before = {v.path: v.numpy() for v in model.trainable_variables}
    model.fit(sequences.padded(np.arange(5)), epochs=1, verbose=0)
    encoder = {v.path: v.numpy() for v in (*model.encoder.trainable_variables, model.embedding.embeddings)}
    callback.on_epoch_begin(1)
    for variable in model.trainable_variables:
        wanted = encoder[variable.path] if variable.path in encoder else before[variable.path]
        np.testing.assert_array_equal(variable, wanted, err_msg=variable.path)
    moments = [v for v in model.optimizer.variables if "momentum" in v.path]
    assert moments and not any(np.any(v) for v in moments)
    assert int(model.optimizer.iterations) == 1
    # In the middle of that epoch, after a resume, the decoder has been at it already.
    model.fit(sequences.padded(np.arange(5)), epochs=1, verbose=0)
    learned = model.decoder.bias.numpy()
    batches.go_to(1, first=2)
    callback.on_epoch_begin(1)
    np.testing.assert_array_equal(model.decoder.bias, learned)


def test_a_collapsed_posterior_is_warned_of_once(vae):
    said = []
    console = SimpleNamespace(say=said.append)
    model, vocabulary, sequences = vae
    options = options_of("--posterior-norm", "0.6")
    run = SimpleNamespace(options=options, seed=1, vocabulary=vocabulary, console=console, model=model)
    callback = report.EpochReport(run, Codec(run), sequences, every=0, last=9, advice=sentences.ADVICE)
    callback.set_model(model)
    model.steps_done.assign(0)
    callback.on_epoch_end(0, {"val_kl": 0.01})  # the KL weight is still 0: too early to tell
    model.steps_done.assign(10**6)
    callback.on_epoch_end(1, {"val_kl": 3.0})
    assert not said
    callback.on_epoch_end(2, {"val_kl": 0.05})
    callback.on_epoch_end(3, {"val_kl": 0.05})
    assert len(said) == 1 and "--posterior-norm" in said[0] and "--free-bits" in said[0]
    # With a rate, the weight must have fallen as far as it goes.
    model, run.options, callback.warned = made("--rate", "2")[0], options_of("--rate", "2"), False
    callback.set_model(model)
    callback.on_epoch_end(0, {"val_kl": 0.01})
    assert len(said) == 1
    model.control.log_weight.assign(-8.0)
    callback.on_epoch_end(1, {"val_kl": 0.01})
    assert len(said) == 2


def test_one_text_and_one_word(vae):
    model, vocabulary, _ = vae
    one = encode_texts(["cats"], vocabulary)
    assert one[0].tolist()[-1] == EOS and len(one[0]) == 2
    assert inference.posteriors(model, one)[0].shape == (1, 4)
    assert np.isfinite(inference.nll_of_each(model, one, np.zeros((1, 4)))).all()
    ids, log_prob = inference.write(model, np.zeros((1, 4)), 5, temperature=1.0)
    assert ids.shape == (1, 5) and np.isfinite(log_prob).all()


def test_the_same_seed_writes_the_same(vae):
    model, _, _ = vae
    z = np.random.default_rng(1).normal(size=(6, 4))
    first, second, other = (inference.write(model, z, 9, temperature=1.0, seed=s)[0] for s in (4, 4, 5))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


def test_the_log_probability_of_what_was_written(vae):
    model, _, _ = vae
    z = np.random.default_rng(1).normal(size=(4, 4)).astype("float32")
    for settings in ({}, {"beam": 3}):
        ids, log_prob = inference.write(model, z, 40, **settings)
        for row, value, code in zip(ids, log_prob, z, strict=True):
            if EOS in row:
                assert value == pytest.approx(-by_steps(model, row[: row.tolist().index(EOS) + 1], code), rel=1e-4)


SEEDS = [
    "--embedding_size 350 --num_units 200 --learning_rate 2e-4 --latent_dim 13 --batch_size 64 --max_steps 1000000"
    " --annealing_pivot 600000 --keep_prob 0.75 --data_dir ./data/ptb --save",
    "--embedding_size 350 --num_units 200 --learning_rate 2e-4 --latent_dim 13 --batch_size 64 --max_steps 1000000"
    " --annealing_pivot 600000 --keep_prob 1.0 ./data/ptb --eval",
    "-b 1024 -l 1e-2",
    "-e 5 -E 300 -o 1 -l 0.001 -b 128 -t alice -D data -L 300 -m 60 -I 1000 -w 10000 -T runs"
    " -r 7 -d 0.2 -x 1 -H 16 -C 9",
    "--lstm-hidden-size 99 --hidden-size 8 --tb-directory x --data-directory y --top_words 9 --max_length 7"
    " --random-seed 3",
]


@pytest.mark.parametrize("line", SEEDS)
def test_the_older_scripts_command_lines_parse(line):
    args = sentences.parse_args(line.split())
    if "--embedding_size" in line:
        assert (args.embedding_dim, args.units, args.latent_dim, args.annealing_pivot) == (350, 200, 13, 600_000)
        assert args.word_dropout == pytest.approx(0.25 if "0.75" in line else 0)
        assert args.data == "./data/ptb"
    if "--lstm-hidden-size" in line:
        assert (args.units, args.latent_dim, args.top_words, args.max_length, args.seed) == (99, 8, 9, 7, 3)


run = functools.partial(run_here, sentences)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sentences")
    random = np.random.default_rng(1)
    who, what = ["the cat", "a dog", "my bird", "the king"], ["sat", "ran home", "sang a song", "saw a ship"]
    times = ["once", "twice", "again", "today", "at night", "alone"]
    lines = sorted({" ".join(random.choice(words) for words in (who, what, times)) + " ." for _ in range(240)})
    (folder / "text.txt").write_text("\n".join(lines), encoding="utf-8")
    small = ["-E", 8, "-L", 16, "-H", 4, "-b", 8, "-T", folder / "runs"]
    done = run("-D", folder / "text.txt", "-e", 2, *small, "--name", "a")
    return folder, small, done


def test_training_from_the_command_line(trained):
    folder, _, done = trained
    directory = folder / "runs" / "sentences" / "a"
    for name in (
        "config.json",
        "vocab.json",
        "best.safetensors",
        "last.safetensors",
        "history.csv",
        "samples.txt",
        "eval.json",
    ):
        assert (directory / name).stat().st_size, name
    assert "neg_elbo" in done.stdout and "reconstructions" in done.stdout and "walk" in done.stdout
    assert "Traceback" not in done.stderr
    scores = json.loads((directory / "eval.json").read_text())
    assert scores["neg_elbo"] == pytest.approx(scores["nll"] + scores["kl"], rel=1e-6)


def test_evaluation_from_the_command_line(trained):
    folder, _, _ = trained
    run("--eval", "a", "-T", folder / "runs", "--iw-samples", 20)
    scores = json.loads((folder / "runs" / "sentences" / "a" / "eval.json").read_text())
    names = {"iw_nll", "neg_elbo", "nll", "kl", "perplexity", "mutual_information", "active_units", "bleu_4", "seconds"}
    assert names | {"exact_match"} <= set(scores) and scores["split"] == "test" and scores["iw_samples"] == 20
    assert scores["iw_nll"] <= scores["neg_elbo"] + 0.5


def test_sampling_from_the_command_line(trained):
    folder, _, _ = trained
    done = run("--sample", "-T", folder / "runs", "--num-samples", 2, text="the cat sat zzz .\n\n")
    lines = done.stdout.splitlines()
    assert [line.split(" ")[0] for line in lines] == [">", "=>", "=>", ">", "=>", "=>"]
    assert "zzz" in done.stderr
    again = run("--sample", "-T", folder / "runs", "--num-samples", 2, text="the cat sat zzz .\n\n")
    assert again.stdout == done.stdout


def test_a_seed_draws_other_samples(trained):
    folder, _, _ = trained
    first, second = (
        run("--sample", "a", "-T", folder / "runs", "--seed", seed, text="the cat sat again .\n").stdout
        for seed in (7, -1)
    )
    assert first != second and first.count("=>") == second.count("=>") == 5


def test_the_same_text_by_another_path_is_no_contradiction(trained, monkeypatch, tmp_path):
    folder, _, _ = trained
    monkeypatch.chdir(tmp_path)
    (tmp_path / "again.txt").write_bytes((folder / "text.txt").read_bytes())
    scores = folder / "runs" / "sentences" / "a" / "eval.json"
    before = json.loads(scores.read_text())["neg_elbo"]
    run("--eval", folder / "runs" / "sentences" / "a", "-D", "again.txt", "--iw-samples", 0)
    assert json.loads(scores.read_text())["neg_elbo"] == pytest.approx(before, rel=1e-6)


def test_another_text_is_scored_and_never_trained_on(trained, tmp_path):
    folder, _, _ = trained
    lines = (folder / "text.txt").read_text().splitlines()
    (tmp_path / "other.txt").write_text("\n".join(lines[:60]), encoding="utf-8")
    scores = folder / "runs" / "sentences" / "a" / "eval.json"
    before = scores.read_bytes()
    done = run(tmp_path / "other.txt", "--eval", "a", "-T", folder / "runs", "--iw-samples", 0)
    assert "other.txt is not the text that a was trained on" in done.stderr and "neg_elbo" in done.stdout
    assert scores.read_bytes() == before
    for argv in (["--resume", "a"], ["--sample", "a"]):
        message = bad("-D", tmp_path / "other.txt", *argv, "-T", folder / "runs")
        assert "other.txt" in message and "trained on" in message


def test_a_pivot_chooses_the_logistic_schedule(capsys):
    assert sentences.parse_args(["--annealing-pivot", "60"]).kl_schedule == "logistic"
    with pytest.raises(SystemExit):
        sentences.parse_args(["--annealing-pivot", "60", "--kl-schedule", "linear"])
    assert "word_dropout" in sentences.parse_args(["--keep_prob", "1.0"]).given
    assert "word_dropout" not in sentences.parse_args(["--keep_prob", "1.0", "--eval"]).given


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("options/rnn_type", False),
        ("options/latent_dim", 2**31),
        ("options/latent_dim", 2**70),
        ("options/units", 4096),
        ("options/batch_size", 50_000_000),
        ("options/units", "16"),
        ("options/num_layers", 10_000),
        ("options/temperature", -1),
        ("options/dropout", None),
        ("seed", -1),
        ("seed", 2**70),
        ("dtype", "float8"),
        ("corpus/name", 3),
        ("script", 7),
    ],
)
def test_a_config_with_a_wrong_value_is_damaged(trained, tmp_path, key, value):
    folder, _, _ = trained
    shutil.copytree(folder / "runs" / "sentences" / "a", tmp_path / "runs" / "sentences" / "a")
    path = tmp_path / "runs" / "sentences" / "a" / "config.json"
    config = json.loads(path.read_text())
    part, _, name = key.rpartition("/")
    (config[part] if part else config)[name] = value
    path.write_text(json.dumps(config))
    for action in ("--sample", "--resume"):
        assert "damaged" in bad(action, "a", "-T", tmp_path / "runs")


def test_a_config_nested_without_end_is_damaged(trained, tmp_path):
    path = tmp_path / "sentences" / "a" / "config.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"a":' * 100_000)
    assert "damaged" in bad("--eval", "a", "-T", tmp_path)


def test_a_python_prompt(trained):
    folder, _, _ = trained
    typed = "print(len(codec.decode(np.zeros((3, 4)))))\n"
    done = run("--sample", "a", "--interactive", "-T", folder / "runs", text=typed)
    assert done.stdout == ">>> 3\n>>> "


def test_a_language_model(trained):
    folder, small, _ = trained
    run("-D", folder / "text.txt", "-e", 1, *small, "--name", "lm", "--no-latent")
    scores = json.loads((folder / "runs" / "sentences" / "lm" / "eval.json").read_text())
    assert scores["perplexity"] == pytest.approx(np.exp(scores["nll"] * scores["texts"] / scores["tokens"]), rel=1e-5)
    done = run("--sample", "lm", "-T", folder / "runs", text="\n")
    assert done.stdout.count("=>") == 5


@pytest.mark.parametrize(
    "argv",
    [
        ("--pretrain-epochs", 1, "--free-bits", 4, "--posterior-norm", 0),
        ("--aggressive-encoder", "--mmd", 5, "--kl-schedule", "cyclical"),
    ],
)
def test_the_other_remedies_train(trained, argv):
    folder, small, _ = trained
    done = run("-D", folder / "text.txt", "-e", 1, *small, "--dry-run", *argv)
    assert "kl" in done.stdout


def bad(*argv):
    done = run(*argv, status=2)
    assert len(done.stderr.strip().splitlines()) == 1 and "Traceback" not in done.stderr, done.stderr
    return done.stderr


def test_bad_input_gets_one_line(trained, tmp_path):
    folder, small, _ = trained
    runs = ("-T", folder / "runs")
    assert "no such" in bad("-D", tmp_path / "missing.txt", "-T", tmp_path / "runs")
    (tmp_path / "empty.txt").write_text("")
    assert "empty" in bad("-D", tmp_path / "empty.txt", "-T", tmp_path / "runs")
    (tmp_path / "binary.txt").write_bytes(b"a\0b\n" * 50)
    bad("-D", tmp_path / "binary.txt", "-T", tmp_path / "runs")
    (tmp_path / "latin.txt").write_bytes(b"good line\n" * 5 + "schön\n".encode("latin-1"))
    assert "53" in bad("-D", tmp_path / "latin.txt", "-T", tmp_path / "runs")
    (tmp_path / "few.txt").write_text("one line .\ntwo lines .\nthree lines here .\nfour .\nfive is it .\n")
    assert "batch" in bad("-D", tmp_path / "few.txt", "-T", tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
    assert "nosuch" in bad("--sample", "nosuch", *runs)
    message = bad("--resume", "a", "-E", 9, *runs)
    assert "8" in message and "9" in message
    bad("-D", folder / "text.txt", *small, "--name", "a")
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("cat 1 2 3\n")
    assert "line 1" in bad("-D", folder / "text.txt", *small, "--embeddings", vectors)


@pytest.mark.parametrize(
    "argv", [("-E", "0"), ("-d", "1.5"), ("-t", "nosuch"), ("--kl-schedule", "steep"), ("-b", "x")]
)
def test_impossible_options(argv):
    done = run(*argv, status=2)
    assert "error:" in done.stderr and "Traceback" not in done.stderr


def test_a_run_on_a_path_without_a_flag_is_used_again(tmp_path):
    path = tmp_path / "letters.txt"
    path.write_text(
        "\n".join(f"it is {word} ." for word in ["one", "two", "three", "four", "five", "six", "seven"]) + "\n", "utf-8"
    )
    small = ["-E", 4, "-L", 8, "--encoder-units", 4, "-H", 2, "-b", 2, "--max-steps", 2, "-o", 0]
    run_here(sentences, path, "-T", tmp_path / "runs", *small)
    (run,) = (tmp_path / "runs" / "sentences").iterdir()
    assert "-letters-" in run.name and "text" not in json.loads((run / "config.json").read_text("utf-8"))["changed"]
    for argv in (["--sample"], ["--sample", run], ["--eval", "--iw-samples", 2]):
        run_here(sentences, *argv, "-T", tmp_path / "runs", text="it is .\n")
