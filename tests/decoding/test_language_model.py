"""Scores of running text and going on with it, by the models of chars.py and words.py."""

from types import SimpleNamespace

from scriptorium.data.vocabulary import EOS, PAD, SPECIAL_TOKENS, START, Vocabulary
from scriptorium.decoding import continuation, language_model
from scriptorium.decoding.language_model import LanguageModel

import keras
import numpy as np
import pytest
from keras.ops import convert_to_numpy as array

import chars
import words

TEXT = "the cat sat on the mat. a dog ran to the end of the road, and the cat saw it there. " * 6


def made(script, argv, vocabulary):
    keras.utils.set_random_seed(1)
    args = script.parse_args(["-E", "8", "-L", "12", "-b", "2", *argv])
    options = {name: value for name, value in vars(args).items() if name not in ("given", "groups", "flags", "argv")}
    model = script.build(options, vocabulary)
    random = np.random.default_rng(2)
    for weight in model.trainable_variables:
        weight.assign(weight.numpy() + random.normal(0, 0.3, weight.shape).astype("float32"))
    return model


CHARACTERS = Vocabulary.build([TEXT], "char")
MODELS = {
    "plain": (chars, []),
    "gru in layers": (chars, ["-R", "gru", "-x", "1", "--layer-norm"]),
    "tied": (chars, ["--tied"]),
    "one-hot": (chars, ["--one-hot"]),
    "words": (words, ["--stream", "-x", "1"]),
    "untied words": (words, ["--stream", "--untied", "-R", "gru"]),
}


@pytest.fixture(params=MODELS)
def model(request):
    script, argv = MODELS[request.param]
    return made(script, argv, CHARACTERS)


@pytest.fixture(scope="module")
def plain():
    return made(chars, [], CHARACTERS)


def prompt_ids(text):
    return np.append(START, CHARACTERS.encode(text)).astype("int32")


def probabilities(model, ids):
    """log p of what comes after each of ids, by reading one at a time: float64 (len(ids), vocabulary)."""
    states, rows = model.start(1), []
    for token in ids:
        logits, states = model.step(keras.ops.convert_to_tensor([token], "int32"), states)
        logits = array(logits)[0].astype("float64")
        rows.append(logits - np.log(np.exp(logits - logits.max()).sum()) - logits.max())
    return np.array(rows)


def test_reading_step_by_step_is_reading_at_once(model):
    ids = np.append(START, CHARACTERS.encode(TEXT[:40])).astype("int32")
    features = array(model.read(ids[None], model.start(1))[0])[0]
    kernel = array(model.embedding.embeddings).T if model.tied else array(model.kernel)
    at_once = features @ kernel + array(model.bias)
    at_once = at_once[:, EOS + 1 :] - at_once[:, EOS + 1 :].max(-1, keepdims=True)
    one_by_one = probabilities(model, ids)[:, EOS + 1 :]
    np.testing.assert_allclose(at_once, one_by_one - one_by_one.max(-1, keepdims=True), atol=1e-4)


def test_a_text_in_windows_scores_as_a_text_in_one_piece(model):
    ids = CHARACTERS.encode(TEXT)[:60]
    whole = np.append(START, ids).astype("int32")
    at_once = language_model.nll_of(model, whole[None, :-1], whole[None, 1:])[0].mean()
    assert language_model.score(model, ids) == pytest.approx(at_once, rel=1e-5)
    # As training sees it: both rows read the same text, ten tokens at a time.
    model.carried.reset()
    windows = [np.tile(whole[None, i : i + 11], (2, 1)) for i in range(0, 60, 10)]
    carried = [model(window) for window in windows]
    carried = np.array([array(nll["nll"] if isinstance(nll, dict) else nll).mean() for nll in carried])
    assert carried.mean() == pytest.approx(at_once, rel=1e-4)
    model.carried.reset()


def test_pieces_and_places_change_no_score(plain, monkeypatch):
    ids = CHARACTERS.encode(TEXT)
    once = language_model.score(plain, ids)
    monkeypatch.setattr(language_model, "PIECE", 17)
    assert language_model.score(plain, ids) == pytest.approx(once, rel=1e-5)
    # Four places, each with all that is before it.
    assert language_model.score(plain, ids, row=len(ids) // 4, warm=len(ids)) == pytest.approx(once, rel=1e-6)


def test_cache_against_its_formula(plain):
    ids, size, share, sharpness = CHARACTERS.encode(TEXT)[:90], 20, 0.3, 0.7
    inputs = np.append(START, ids[:-1]).astype("int32")
    features = array(plain.read(inputs[None], plain.start(1))[0])[0].astype("float64")
    nll = language_model.nll_of(plain, inputs[None], ids[None].astype("int32"))[0].astype("float64")
    expected = []
    for t in range(90):
        places = range(max(0, t - size), t)
        weights = np.exp([sharpness * features[t] @ features[i] for i in places])
        cached = sum(w for w, i in zip(weights, places, strict=True) if ids[i] == ids[t]) / max(sum(weights), 1e-30)
        expected.append(-np.log((1 - share) * np.exp(-nll[t]) + share * cached))
    assert language_model.score_with_cache(plain, ids, size, share, sharpness) == pytest.approx(
        np.mean(expected), rel=1e-4
    )
    assert language_model.score_with_cache(plain, ids, size, 0.0, sharpness) == pytest.approx(
        language_model.score(plain, ids)
    )


def test_each_token_comes_with_what_the_model_expected(model):
    writer = LanguageModel(SimpleNamespace(vocabulary=CHARACTERS, model=model))
    # Five tokens in chunks of four: the second chunk begins with the state after the first.
    tokens = list(writer.stream_tokens(writer.writer(temperature=1.0, chunk=4), "the ca", 5, 3, alternatives=2))
    text = "".join(token["text"] for token in tokens)
    assert text == "".join(writer.stream(writer.writer(temperature=1.0, chunk=4), "the ca", 5, 3))
    # A line end is an <eos>: the vocabulary has none.
    written = [EOS if token["text"] == "\n" else CHARACTERS.index[token["text"]] for token in tokens]
    ids = [*prompt_ids("the ca"), *written]
    p = np.exp(probabilities(model, ids))[-6:-1]
    p[:, :EOS] = 0  # padding, <start> and <unk> are never written
    p /= p.sum(-1, keepdims=True)
    own = p[np.arange(5), ids[-5:]]
    np.testing.assert_allclose([token["p"] for token in tokens], own, rtol=1e-3)
    for token, row in zip(tokens, p, strict=True):
        best = np.argsort(-row)[:2]
        assert [name for name, _ in token["likely"]] == [continuation.text_of([i], CHARACTERS) for i in best]
        np.testing.assert_allclose([chance for _, chance in token["likely"]], row[best], rtol=1e-3)


def test_greedy_writing_takes_the_likeliest_each_time(model):
    before = prompt_ids("the ca")
    writer = continuation.Writer(model, temperature=0, chunk=6)
    ids, _ = writer.continue_(writer.start([before]))
    expected = before.tolist()
    for _ in range(6):
        log_p = probabilities(model, expected)[-1]
        log_p[: START + 2] = -np.inf
        expected.append(int(log_p.argmax()))
    assert ids[0].tolist() == expected[len(before) :]


def test_writing_goes_on_where_it_stopped(plain):
    prompts = [prompt_ids(text) for text in ("the cat", "a")]
    longer, shorter = (
        continuation.Writer(plain, temperature=0, chunk=12),
        continuation.Writer(plain, temperature=0, chunk=4),
    )
    whole, _ = longer.continue_(longer.start(prompts))
    parts, place = [], shorter.start(prompts)
    for _ in range(3):
        ids, place = shorter.continue_(place)
        parts.append(ids)
    np.testing.assert_array_equal(whole, np.concatenate(parts, axis=1))


def test_a_seed_draws_the_same_text_again(plain):
    prompt = [prompt_ids("the")]
    writer = continuation.Writer(plain, chunk=30)
    first, again, other = (writer.continue_(writer.start(prompt, seed))[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert (first > EOS).all()


def test_text_of_ids_has_a_line_for_each_sentence():
    vocabulary = Vocabulary.build(["a b"], "space")
    a, b = vocabulary.encode("a b").tolist()
    assert continuation.text_of([a, EOS, b, a], vocabulary) == "a\nb a"
    assert continuation.text_of([a, PAD, PAD], vocabulary) == "a"


class Dictated:
    """A writer that writes given ids, two at a time."""

    def __init__(self, ids):
        self.ids = ids

    def start(self, prompts, seed):
        return 0

    def continue_(self, place):
        return np.array([self.ids[place : place + 2]]), place + 2


@pytest.mark.parametrize(
    ("prompt", "more", "whole"),
    [
        ("Wait...", "maybe not .", "Wait...maybe not."),
        ("Wait --", "maybe", "Wait --maybe"),
        ("a ( b", ") .", "a ( b)."),
        ("the dog", "'s bone", "the dog's bone"),
        ("the list ", "of names .", "the list of names."),
        ("", "of names .", "of names."),
        ("zorgle ...", "maybe", "zorgle ... maybe"),
    ],
)
def test_no_letter_of_a_continuation_is_lost(prompt, more, whole):
    words = sorted(
        set(
            [
                "wait",
                "...",
                "maybe",
                "not",
                ".",
                "--",
                "a",
                "(",
                "b",
                ")",
                "the",
                "dog",
                "'s",
                "bone",
                "list",
                "of",
                "names",
            ]
        )
    )
    vocabulary = Vocabulary([*SPECIAL_TOKENS, *words], "word")
    ids = [vocabulary.index[word] for word in more.split()]
    model = LanguageModel(SimpleNamespace(vocabulary=vocabulary))
    assert prompt + "".join(model.stream(Dictated(ids), prompt, len(ids), 1)) == whole


def test_characters_are_added_exactly():
    vocabulary = Vocabulary([*SPECIAL_TOKENS, *" ab\n"], "char")
    model, ids = LanguageModel(SimpleNamespace(vocabulary=vocabulary)), [4, 4, 5, 7, 4]
    assert "".join(model.stream(Dictated(ids), "a ", 5, 1)) == "  a\n "
