"""Vocabularies, ragged sequences and batches."""

import argparse

from scriptorium import UserError
from scriptorium.command_line import bounded
from scriptorium.data import growing_ids
from scriptorium.data.batches import CUT, EMPTY, TOO_LONG, Batches, Sequences, encode_texts
from scriptorium.data.vocabulary import EOS, PAD, START, UNK, Vocabulary, read_vocabulary, strip_special

import keras
import numpy as np
import pytest


def test_special_ids_and_order_by_frequency():
    vocabulary = Vocabulary.build(["b b a", "c a b <unk>"], "space", 2)
    assert vocabulary.tokens == ["<pad>", "<start>", "<unk>", "<eos>", "b", "a"]
    assert vocabulary.encode("a c b").tolist() == [5, UNK, 4]
    assert vocabulary.unknown("c a d c") == ["c", "d"]
    with pytest.raises(ValueError):
        Vocabulary(["a", "b"])


def test_words_spelled_like_special_tokens_have_ids_of_their_own():
    text = "<pad> <start> a <eos> a"
    vocabulary = Vocabulary.build([text, "<unk> <pad>"], "space")
    ids = vocabulary.encode(text)
    assert min(ids) > EOS and vocabulary.decode(ids) == text
    assert vocabulary.encode("<unk> <pad> z").tolist() == [UNK, ids[0], UNK]
    assert vocabulary.unknown("<pad> <unk> z") == ["z"] and vocabulary.decode([ids[0], UNK]) == "<pad> <unk>"
    again = Vocabulary.from_json(vocabulary.to_json())
    assert again.tokens == vocabulary.tokens and again.encode(text).tolist() == ids.tolist()
    # Where a corpus does not have them, they are unknown words, and never end or pad a text.
    assert Vocabulary.build(["a"], "space").encode("<pad> <start> <eos> a").tolist() == [UNK, UNK, UNK, 4]
    pieces = Vocabulary.build(["<pad> <eos> <pad>"] * 30, "bpe", 400)
    assert min(pieces.encode("<pad> <unk> <eos>")) > EOS
    assert pieces.decode(pieces.encode("<pad> <unk> <eos>")) == "<pad> <unk> <eos>"


def test_vocabularies_of_older_runs_begin_with_the_special_tokens():
    values = {"level": "space", "language": "en", "tokens": ["<pad>", "<start>", "<unk>", "<eos>", "a"]}
    vocabulary = Vocabulary.from_json(values)
    assert vocabulary.tokens == values["tokens"] and vocabulary.encode("a <pad>").tolist() == [4, UNK]
    assert vocabulary.to_json()["special"] == values["tokens"][:4] and vocabulary.to_json()["tokens"] == ["a"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("v.txt", '1,","\n2,the\n3,""""\n', [",", "the", '"']),
        ("v.txt", 'id,word\r\n1,","\r\n2,the\r\n', [",", "the"]),
        ("v.txt", '1,,\n2,the\n3,"\n', [",", "the", '"']),
        ("v.txt", '\ufeffid;word\r1;";"\r2;the', [";", "the"]),
        ("v.txt", "the\t50\na\t30\n", ["the", "a"]),
        ("v.csv", "word,count\nthe,50\na,30\n", ["the", "a"]),
        ("v.csv", 'word\n"the"\n","\n', ["the", ","]),
        ("v.txt", 'the\n"\n","\n<unk>\n', ["the", '"', '","']),
        ("v.txt", "1\n2\n", ["1", "2"]),
        ("v.txt", "0,<pad>\n1,<start>\n2,<unk>\n3,<eos>\n4,a\n5,<pad>\n", ["a", "<pad>"]),
    ],
)
def test_words_of_a_file(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content.encode())
    assert read_vocabulary(tmp_path / name, "space").tokens[4:] == words


def test_a_file_without_words(tmp_path):
    for content in ("", "\n", "<unk>\n"):
        (tmp_path / "v.txt").write_text(content)
        with pytest.raises(UserError, match=r"v\.txt: this file has no words"):
            read_vocabulary(tmp_path / "v.txt", None)


@pytest.mark.parametrize(
    ("text", "level", "language"),
    [
        ("it 's not n't a <unk> test .", "space", "en"),
        ("it's a test, isn't it?", "word", "en"),
        ('he said "so be it" (twice), and left.', "word", "en"),
        ("Any Case: 😀👩‍👩‍👧 é ß", "char", "en"),
        ("他点点头，又笑了笑。", "char", "zh"),
        ("one", "word", "en"),
        ("if x:  print('é 😀')", "bpe", "en"),
    ],
)
def test_round_trip(text, level, language):
    vocabulary = Vocabulary.build([text], level, None, language)
    assert vocabulary.decode(vocabulary.encode(text)) == text
    again = Vocabulary.from_json(vocabulary.to_json())
    assert again.decode(again.encode(text)) == text


def test_byte_pairs():
    texts = ["return self.name", "self.name = name", "return name"] * 5
    vocabulary = Vocabulary.build(texts, "bpe", 300)
    ids = vocabulary.encode("return self.name")
    assert len(vocabulary) <= 304 and len(ids) == 4 and vocabulary.tokens[ids[0]] == "return"
    # What was never seen is spelt in bytes: nothing is unknown, and all comes back.
    strange = "Ünseen\twörds  中 "
    assert UNK not in vocabulary.encode(strange) and vocabulary.decode(vocabulary.encode(strange)) == strange
    with pytest.raises(ValueError, match="do not fit"):
        Vocabulary.from_json(vocabulary.to_json() | {"merges": [["no", "such"]]})


def test_chinese_words_need_no_spaces():
    vocabulary = Vocabulary.build(["我 很 傻 ， 是不是 ？"], "space", None, "zh")
    ids = vocabulary.encode("我很傻，是不是？", prompt=True)
    assert vocabulary.decode(ids) == "我很傻，是不是？"
    assert len(ids) == 6
    assert vocabulary.unknown("我们傻") == ["们"]


def test_chinese_characters_may_be_typed_with_spaces():
    vocabulary = Vocabulary.build(["我很傻"], "char", None, "zh")
    assert vocabulary.unknown("我 很 傻") == [] and len(vocabulary.encode("我 很 傻", prompt=True)) == 3


def test_a_prompt_is_spaced_as_the_corpus():
    vocabulary = Vocabulary.build(["do n't stop , please ."], "space")
    assert UNK not in vocabulary.encode("Don't stop, please.", prompt=True)
    assert UNK in vocabulary.encode("Don't stop, please.")


@pytest.mark.parametrize(
    "text", ["set it to 'hot'.", "the 'run' command or 'a b', that's all", "the users' list", "use \"that\" or 'this'"]
)
def test_quotes_stand_at_their_words(text):
    vocabulary = Vocabulary.build([text], "word")
    assert vocabulary.decode(vocabulary.encode(text)) == text


def test_decode_stops_at_the_end():
    vocabulary = Vocabulary.build(["a b"], "space")
    assert vocabulary.decode([START, 4, PAD, EOS, 5]) == "a"
    assert strip_special([START, 4, 5, EOS, 4]) == [4, 5]


def test_encode_texts_drops_clips_and_ends():
    vocabulary = Vocabulary.build(["a b c d"], "space")
    sequences = encode_texts(["a b", "", "a b c d", "c"], vocabulary, max_length=3)
    assert [s.tolist() for s in sequences] == [[4, 5, EOS], [6, EOS]]
    assert sequences.dropped == 2
    assert sequences.changes == {TOO_LONG: 1, EMPTY: 1, CUT: 0}
    clipped = encode_texts(["a b c d"], vocabulary, max_length=3, clip_length=2)
    assert clipped[0].tolist() == [4, 5, EOS] and clipped.changes[CUT] == 1 and clipped.dropped == 0
    assert encode_texts([""], vocabulary, prompt=True)[0].tolist() == [EOS]


def test_large_corpora_are_mapped_from_a_file(monkeypatch):
    texts = [f"w{i % 7} w{i % 5} w{i % 3}" for i in range(300)]
    vocabulary = Vocabulary.build(texts, "space")
    inside = encode_texts(texts, vocabulary)
    monkeypatch.setattr(growing_ids, "IDS_IN_MEMORY", 100)
    mapped = encode_texts(texts, vocabulary)
    assert isinstance(mapped.ids, np.memmap) and not isinstance(inside.ids, np.memmap)
    np.testing.assert_array_equal(mapped.ids, inside.ids)
    np.testing.assert_array_equal(mapped.starts, inside.starts)


@pytest.fixture
def sequences():
    random = np.random.default_rng(1)
    return Sequences.from_list([random.integers(4, 50, n) for n in random.integers(1, 30, 203)])


def contents(batches):
    return [tuple(row[row != PAD].tolist()) for i in range(len(batches)) for row in batches[i][0]]


def test_every_sequence_once_an_epoch_the_last_batch_short(sequences):
    batches = Batches(sequences, 16, buckets=10)
    assert len(batches) == 13
    assert sorted(contents(batches)) == sorted(tuple(s.tolist()) for s in sequences)
    assert sorted(len(batches[i][0]) for i in range(13)) == [11] + [16] * 12
    assert sum(batches.num_tokens(i) for i in range(13)) == len(sequences.ids)
    assert {batches[i][0].shape[1] for i in range(13)} <= set(batches.widths.tolist())
    assert len(batches.widths) <= 10


def test_order_is_a_function_of_seed_and_epoch(sequences):
    batches, same, other = (
        Batches(sequences, 16, 1),
        Batches(sequences, 16, 1),
        Batches(sequences, 16, 2),
    )
    first = contents(batches)
    assert first == contents(same) != contents(other)
    batches.on_epoch_end()
    second = contents(batches)
    assert second != first
    same.go_to(1, first=5)
    assert len(same) == 8
    assert contents(same) == [row for i in range(5, 13) for row in map(tuple, _rows(batches, i))]


def _rows(batches, index):
    return [row[row != PAD].tolist() for row in batches[index][0]]


def test_with_jax_texts_of_similar_length_have_one_width(sequences, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    order = np.argsort(sequences.lengths, kind="stable")
    widths = {sequences.padded(order[i : i + 7]).shape[1] for i in range(0, len(order), 7)}
    assert widths == {8, 16, 24, sequences.lengths.max()}
    few = sequences.first(4)
    assert few.padded(np.arange(4)).shape[1] in widths  # though all four may be shorter


def test_batches_without_shuffling_go_by_length(sequences):
    batches = Batches(sequences, 16, shuffle=False)
    lengths = [len(row) for row in contents(batches)]
    assert lengths == sorted(lengths)


def test_number_refuses_what_is_out_of_bounds():
    share = bounded(float, 0, 1)
    assert share("0.5") == 0.5
    for text in ("1.5", "-1", "nan"):
        with pytest.raises(argparse.ArgumentTypeError):
            share(text)
