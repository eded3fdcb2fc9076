import collections
import csv
import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys
from types import SimpleNamespace

from scriptorium import UserError
from scriptorium.command_line import Parser
from scriptorium.data import corpora, installed, pydocs, running_text, tasks, textfiles
from scriptorium.data.textfiles import split_sentences
from scriptorium.data.vocabulary import Vocabulary
from scriptorium.text_gan.samples import drop_unknown

import pytest

import util
from util import add_data_options

SHARED = pathlib.Path(__file__).parents[2] / "shared" / "data"
NLTK_DATA = SHARED / "nltk_data"


def shared(name):
    if not (SHARED / name).exists():
        pytest.skip(f"{SHARED / name} is not there")
    return SHARED / name


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def numbered(n, form="Text number {}."):
    return "".join(form.format(i) + "\n" for i in range(n))


def splits(corpus):
    return {split: list(getattr(corpus, split)) for split in ("train", "valid", "test")}


def everything(corpus):
    return [*corpus.train, *corpus.valid, *corpus.test]


# Built-in corpora -----------------------------------------------------------------------------------------------------


def test_pydocs_are_sentences():
    corpus = corpora.load("pydocs")
    texts = everything(corpus)
    assert len(texts) > 10_000 and len(corpus.valid) == len(corpus.test)
    assert (corpus.level, corpus.language, corpus.labels) == ("word", "en", None)
    for text in texts:
        assert 3 <= len(text.split()) <= 12 and text[-1] in ".?!\"')" and text == " ".join(text.split())
        assert re.match(r"[\"'(]?[A-Z]", text) and not re.search(r"`|::|>>>|https?:|[{}<>=_\\]", text)
    assert len({" ".join(re.findall("[a-z]+", text.lower())) for text in texts}) == len(texts)
    share = sum("copyright" in text.lower() or text.startswith(("Args", "Returns:")) for text in texts)
    assert share == 0
    assert corpora.load("pydocs").fingerprint == corpus.fingerprint != corpora.load("pydocs", seed=2).fingerprint


def test_a_docstring_gives_its_prose_and_nothing_else():
    docstring = """Return the ``weight`` of a :class:`~zoo.Animal`, in kilograms.

    This is *not* rounded (see e.g. Dr. Doe's book).  It may
    be None. lower-case starts are no sentences. Trailing words without

    - The scale must be clean before
      any animal is weighed.
    - item

    Look at this::

        Code that is indented is never read.

    >>> Doctests are not read.
    Neither is their output.

    Args:
        animal: The animal that is weighed.

    Parameters
    ----------
    other : str
        The parameter is a string.

    Nor is the end of the section read.

    Notes
    -----
    The `foo(bar)` call is code, and so it is left out.
    .. note:: This is a directive, which is left out.
    Copyright laws are not prose.
    """
    assert list(pydocs._candidates(docstring)) == [
        "Return the weight of a Animal, in kilograms.",
        "This is not rounded (see e.g. Dr. Doe's book).",
        "The scale must be clean before any animal is weighed.",
    ]


def test_headings_have_no_verb():
    sentences = [
        "You must acquire it.",
        "It should acquire one.",
        "The lock acquires a thread.",
        "We can filter it now.",
    ]
    bases, thirds = pydocs._verbs([*sentences, "They will filter all."])
    verbal = ["Acquire locks.", "A lock acquires threads.", "It works.", "The lock is here.", "Filters each event."]
    assert all(pydocs._has_verb(sentence, bases, thirds) for sentence in verbal)
    headings = ["Base class for locks.", "Lexer for the language.", "List of the filters.", "Filters of the base."]
    assert not any(pydocs._has_verb(sentence, bases, thirds) for sentence in headings)


@pytest.mark.parametrize(
    "pieces",
    [
        ["Mr. J. Doe left at 3.5 p.m.", " He did, i.e. not.", " (Why?)", " “So!”", " The end"],
        ["One.", "  Two...", "\n`Three,' said four!", " `Five?'", " Six"],
        ["天气很好。", "我们去吧！", "“走！”", "好"],
        ["no end"],
        ["  ends with spaces.  "],
    ],
)
def test_sentences_are_split_where_they_end(pieces):
    assert split_sentences("".join(pieces)) == pieces


def test_pylines_are_python():
    corpus = corpora.load("pylines")
    texts = everything(corpus)
    assert corpus.level == "char" and len(set(texts)) == len(texts) > 30_000
    assert all(installed.is_python(text) and text == text.strip() and len(text) <= 120 for text in texts[::50])
    assert installed.is_python("return x") and installed.is_python("f(x)  # why")
    assert not any(map(installed.is_python, ["# why", "x", "'a'", "a, b", "if x:", "a b", "1 + 1", "x == y", "\0"]))


def test_names_are_labelled_and_balanced():
    corpus = corpora.load("names")
    pairs = [pair for split, texts in splits(corpus).items() for pair in zip(texts, corpus.labels[split], strict=True)]
    counts = collections.Counter(label for _, label in pairs)
    assert len(counts) >= 25 and min(counts.values()) >= 300 and max(counts.values()) <= 500
    assert (
        len(set(pairs)) == len(pairs)
        and ("Aaden", "en") in pairs
        and ("Zoey", "nl") in pairs
        and ("Jane", "vi") not in pairs
    )
    assert not set(corpus.train) & (set(corpus.valid) | set(corpus.test)) and not set(corpus.valid) & set(corpus.test)
    assert f"{len(counts)} languages" in corpora.TASKS["names"]


def test_the_cache_is_used_and_made_again_when_damaged_or_out_of_date(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = []

    def make():
        made.append(1)
        return ["one", "zwölf"]

    module = SimpleNamespace(__file__=str(write(tmp_path / "helper.py", "")))

    def read():
        return installed.cached("trial", (), make, module)

    assert read() == read() == ["one", "zwölf"] and len(made) == 1
    (file,) = (tmp_path / installed.CACHE_NAME).iterdir()
    for damage in (file.read_bytes()[:-3], b"", b"\xff\n", file.read_bytes() + b"x"):
        file.write_bytes(damage)
        before = len(made)
        assert read() == read() == ["one", "zwölf"] and len(made) == before + 1
    write(tmp_path / "helper.py", "# another version")
    before = len(made)
    assert read() == read() == ["one", "zwölf"] and len(made) == before + 1
    monkeypatch.setattr(installed.platform, "python_version", lambda: "9.9")
    assert read() == ["one", "zwölf"] and len(made) == before + 2


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(write(tmp_path / "file", "")))
    monkeypatch.setattr(installed.tempfile, "tempdir", str(tmp_path / "temporary"))
    assert installed.cached("trial", (), lambda: ["text"]) == ["text"]
    assert list((tmp_path / "temporary" / installed.CACHE_NAME).iterdir()), "the temporary folder takes the place"
    monkeypatch.setattr(installed.tempfile, "tempdir", str(tmp_path / "file"))
    assert installed.cached("trial", (), lambda: ["text"]) == ["text"]


# Files ----------------------------------------------------------------------------------------------------------------

WRAPPED = """
CHAPTER I

  Alice was beginning to get very tired of sitting by her sister
on the bank, and of having nothing to do: once or twice she had
peeped into the book her sister was reading, but it had no
pictures or conversations in it. `What is the use of a book,'
she thought, `without pictures?'  So she was considering in her
own mind, as well as she could, for the hot day made her feel
very sleepy and stupid, whether the pleasure of making a chain
would be worth the trouble of getting up and picking flowers.

""" + "".join(
    f"There was nothing so very remarkable in number {i:3}; nor did she think\nit so very much.\n\n" for i in range(99)
)


def test_a_file_is_taken_as_lines_entries_or_prose(tmp_path):
    def texts(content):
        return list(textfiles.read_texts([write(tmp_path / "file.txt", content)]))

    assert texts("b \n\n  a a\nc  c") == ["b", "a a", "c  c"]
    assert texts("One.\n  Two.\n    -- Somebody\n%\nThree\n%\n%\nFour\n") == ["One. Two.", "Three", "Four"]
    prose = texts(WRAPPED)
    assert prose[0] == "CHAPTER I" and prose[1].startswith("Alice was") and prose[1].endswith("conversations in it.")
    assert prose[2].startswith("`What is") and prose[3].startswith("So she") and prose[3].endswith("picking flowers.")
    assert len(prose) == 4 + 99
    paragraph = "This is said. That is asked? " * 20
    assert texts(f"{paragraph}\n{paragraph}\n") == ["This is said.", "That is asked?"] * 40


@pytest.mark.parametrize(
    "name, kind",
    [
        ("alice/alice.txt", "wrapped"),
        ("fortunes/fortunes.txt", "entries"),
        ("ptb/train.txt", "lines"),
        ("texygen/image_coco.txt", "lines"),
        ("coco_val/coco.valannotations.txt", "lines"),
        ("headlines/non_clickbait_data.txt", "lines"),
        ("names_makemore/names.txt", "lines"),
        ("tinyshakespeare/input.txt", "lines"),
    ],
)
def test_the_kind_of_real_files(name, kind):
    with open(shared(name), encoding="utf-8") as file:
        assert textfiles.kind_of(file.readlines()[:5000]) == kind


@pytest.mark.parametrize("limit", [None, 1000])
@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + numbered(300, "Text {}, \N{GRINNING FACE}\N{CJK UNIFIED IDEOGRAPH-6C34}\r").encode(),
        WRAPPED.encode(),
        "%\n".join(f"Entry {i}\nhas two lines\n  -- who\n" for i in range(200)).encode(),
        ("A first thing is said here. Then a second. " * 10 + "\n").encode() * 3 + b"Third, at the end. No more!",
        numbered(300, "明天{}會更好").encode(),
    ],
)
def test_a_file_read_when_asked_for_equals_one_in_memory(tmp_path, content, limit):
    path = write(tmp_path / "file.txt", content)
    small, big = (corpora.load(path=path, big_file=size, limit=limit) for size in (corpora.BIG_FILE, 0))
    assert isinstance(small.train, list) and isinstance(big.train, textfiles.Lines)
    assert splits(small) == splits(big) and small == corpora.dataclasses.replace(big, **splits(big))
    assert [big.train[i] for i in range(len(big.train))] == small.train and big.train[-1] == small.train[-1]
    assert list(big.train[1:3]) == small.train[1:3]
    assert not any("\ufeff" in text or "\r" in text or text != text.strip() for text in small.train)


def test_rows_of_any_length_and_several_files(tmp_path, monkeypatch):
    monkeypatch.setattr(textfiles, "LONGEST_ROW", 7)
    first, second = write(tmp_path / "a.txt", "äöüäöü end\nshort\n"), write(tmp_path / "b.txt", "b\n" * 3)
    lines = textfiles.read_texts([first, second])
    assert "".join(lines).replace(" ", "") == "äöüäöüendshortbbb" and lines[len(lines) - 1] == "b"
    assert all(len(text.encode()) <= 7 for text in lines)


def test_a_split_is_seeded_and_shares_no_text(tmp_path):
    path = write(tmp_path / "file.txt", numbered(200) + numbered(100))
    corpus = corpora.load(path=path)
    texts = splits(corpus)
    assert {split: len(found) for split, found in texts.items()} == {"train": 180, "valid": 10, "test": 10}
    assert sorted(everything(corpus)) == sorted(set(numbered(200).splitlines()))
    assert splits(corpora.load(path=path)) == texts != splits(corpora.load(path=path, seed=2))
    assert corpus.fingerprint != corpora.load(path=path, seed=2).fingerprint
    assert corpus.train == [text for text in numbered(200).splitlines() if text in set(corpus.train)], (
        "order of the file"
    )
    sizes = "180 train, 10 valid, 10 test texts (split by seed 1), words"
    assert corpus.description == f"file.txt: 300 texts read, 100 repeated ones left out; {sizes}"
    write(path, numbered(50_000))
    assert [len(found) for found in splits(corpora.load(path=path)).values()] == [46_000, 2000, 2000]
    write(path, "a\nb\nc\na\n")
    assert sorted(everything(corpora.load(path=path))) == ["a", "b", "c"]


def banner(path, *options):
    """Returns the description of a text after `util.load`, and its splits."""
    run = SimpleNamespace(is_new=True, dry_run=True, vocabulary=None, options={})  # whose batches stay as they are
    args = parser().parse_args(["-D", str(path), *options])
    args.batch_size = 1
    corpus, _, found = util.load(run, args)
    return corpus, found


def test_the_banner_counts_what_is_read_and_what_is_kept(tmp_path):
    for split, sizes in (("train", [1, 2, 3, 4, 9]), ("valid", [2, 9, 9]), ("test", [2, 4])):
        write(tmp_path / f"{split}.txt", "".join(" ".join("ab"[i % 2] for i in range(n)) + "\n" for n in sizes))
    description = banner(tmp_path, "-m", "3")[0].description
    sizes = "3 train (2 too long left out), 1 valid (2 too long left out), 1 test (1 too long left out) texts"
    assert description == f"{tmp_path.name}: 10 texts read; {sizes} (split as given), words"
    description = banner(tmp_path, "-m", "3", "-C", "2")[0].description
    assert "5 train (3 cut), 3 valid (2 cut), 2 test (1 cut) texts" in description
    assert "left out" not in description
    corpus, found = banner(tmp_path, "-m", "3", "-w", "1")
    found = drop_unknown(corpus, found)
    sizes = [f"{len(found[split])} {split} (" for split in corpora.SPLITS]
    assert all(size in corpus.description for size in sizes) and "with unknown words left out" in corpus.description
    assert "50% of the test tokens become <unk>" in corpus.description


def test_the_banner_tells_what_a_given_vocabulary_does_not_know():
    known = Vocabulary.build(["a"], "char")
    assert util.unknown_note(["aaa"], known) == ""
    note = "; 40.0% of the tokens are not in the given vocabulary and become <unk>: C B"
    assert util.unknown_note(["aaCCB", "Caaaa"], known) == note


def test_splits_that_are_given_are_kept_as_they_are(tmp_path):
    write(tmp_path / "ptb.train.txt", "b\na\na\nc\n")
    write(tmp_path / "ptb.dev.txt", "a\na\n")
    write(tmp_path / "test.txt", "z\n")
    write(tmp_path / "README.txt", "no text of the corpus")
    corpus = corpora.load(path=tmp_path, seed=5)
    assert splits(corpus) == {"train": ["b", "a", "a", "c"], "valid": ["a", "a"], "test": ["z"]}
    assert "split as given" in corpus.description
    (tmp_path / "ptb.dev.txt").unlink()
    corpus = corpora.load(path=tmp_path)
    assert corpus.test == ["z"] and len(set(corpus.valid)) == 1 and not set(corpus.valid) & set(corpus.train)
    assert sorted(corpus.train + corpus.valid) == ["a", "a", "b", "c"]
    assert "valid cut from train by seed 1" in corpus.description


def test_a_folder_without_splits_is_one_corpus(tmp_path):
    write(tmp_path / "latest.txt", numbered(30, "late {}"))
    write(tmp_path / "first.txt", numbered(30, "first {}"))
    corpus = corpora.load(path=tmp_path)
    assert corpus.train[0].startswith("first") and corpus.train[-1].startswith("late")
    assert sum(map(len, splits(corpus).values())) == 60


def test_limit_reads_no_more_characters(tmp_path):
    path = write(tmp_path / "file.txt", numbered(100, "äöü {:06}"))
    texts = everything(corpora.load(path=path, limit=110))
    assert sorted(texts) == [f"äöü {i:06}" for i in range(10)]
    assert sum(len(text) + 1 for text in everything(corpora.load("pydocs", limit=5000))) <= 5000


@pytest.mark.parametrize(
    "content, words",
    [
        (None, ["no such file"]),
        (b"", ["no text"]),
        (b"\xef\xbb\xbf \n\n", ["no text"]),
        (b"text\n\0", ["binary", "byte 5"]),
        (b"fine\nna\xefve\n", ["byte 7", "UTF-8"]),
        (b"cut off \xe6\xb0", ["byte 8", "UTF-8"]),
        (b"one\none\ntwo\n", ["2 different", "at least 3"]),
    ],
)
@pytest.mark.parametrize("big_file", [0, corpora.BIG_FILE])
def test_a_bad_file_is_told_in_one_line(tmp_path, content, words, big_file):
    path = tmp_path / "file.txt"
    if content is not None:
        write(path, content)
    with pytest.raises(UserError) as error:
        corpora.load(path=path, big_file=big_file)
    assert all(word in str(error.value) for word in [*words, "file.txt"]) and "\n" not in str(error.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_only_regular_files_are_read(tmp_path):
    (tmp_path / "folder").mkdir()
    write(tmp_path / "folder" / "train.txt", numbered(30))
    for pipe in (tmp_path / "pipe.txt", tmp_path / "folder" / "valid.txt"):
        os.mkfifo(pipe)
    (tmp_path / "loop.txt").symlink_to(tmp_path / "loop.txt")
    (tmp_path / "pipe").symlink_to(tmp_path / "pipe.txt")
    for name in ("pipe.txt", "folder", "loop.txt", "pipe", "/dev/zero"):
        for read in (corpora.load, running_text.read):
            for settings in [{}] if read is running_text.read else [{}, {"labeled": True}]:
                with pytest.raises(UserError, match=r"a pipe, not a file|symbolic links|a device, not"):
                    read(path=tmp_path / name, **settings)
    (tmp_path / "link.txt").symlink_to(write(tmp_path / "real.txt", numbered(30)))
    assert corpora.load(path=tmp_path / "link.txt").train


@pytest.mark.parametrize("labels", ["", "de\t"])
def test_the_text_of_a_run_is_read_again_only_if_it_is_that_text(tmp_path, labels):
    path = write(tmp_path / "file.txt", numbered(30, labels + "word {}"))
    fingerprint = corpora.load(path=path, labeled=bool(labels)).fingerprint
    options = {"data": str(path), "limit": None, "level": None}
    assert corpora.reload_or_none(options, fingerprint).fingerprint == fingerprint
    assert all("\t" not in text for text in corpora.reload_or_none(options, fingerprint).train)
    write(path, numbered(31, labels + "word {}"))
    assert corpora.reload_or_none(options, fingerprint) is None
    for wrong in ({"data": "/etc/passwd"}, {"data": 3}, {"data": [1]}, {"task": "none"}, {"task": []}, {"limit": "x"}):
        assert corpora.reload_or_none(options | {"data": None} | wrong, "") is None


def test_other_bad_input(tmp_path):
    with pytest.raises(UserError, match=r"no .txt, .csv, .jsonl, .json files"):
        corpora.load(path=tmp_path)
    write(tmp_path / "test.txt", "a\n")
    with pytest.raises(UserError, match=r"add a file to train on"):
        corpora.load(path=tmp_path)
    with pytest.raises(UserError, match=r"Unknown task 'nothing'; choose one of pydocs, pylines, .*sinica"):
        corpora.load("nothing")
    if os.geteuid():
        (tmp_path / "test.txt").chmod(0)
        with pytest.raises(UserError, match=r"test.txt: Permission denied"):
            corpora.load(path=tmp_path / "test.txt")


# Levels and languages -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form, level, language",
    [
        ("The cat no. {} sat down, and it slept.", "word", "en"),
        ("a lower-case caption of {} dogs, two cats and a bird.", "word", "en"),
        ("the <unk> of {} is here", "space", "en"),
        ("the cat {} sat down , and it did n't sleep .", "space", "en"),
        ("她在第{}天買了書，然後回家。", "char", "zh"),
        ("她 在 第{}天 買 了 書 ， 然後 回家 。", "space", "zh"),
        ("今日は{}冊の本を買いました。", "char", "ja"),
        ("Кошка номер {} спит.", "word", "en"),
        ("สวัสดีครับ ผมชื่อสมชาย{}", "char", "en"),
        ("ខ្ញុំស្រឡាញ់ភាសាខ្មែរ លេខ{}", "char", "en"),
        ("ຂ້ອຍຮັກພາສາລາວ ເລກທີ{}", "char", "en"),
        ("ကျွန်တော်သည် မြန်မာစာကို ချစ်သည်{}", "char", "en"),
        ("ผม ชื่อ สม ชาย {}", "space", "en"),
        ("The cat {} said สวัสดี to everyone.", "word", "en"),
    ],
)
def test_level_and_language_are_found(tmp_path, monkeypatch, form, level, language):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    path = write(tmp_path / "file.txt", numbered(50, form))
    corpus = corpora.load(path=path)
    assert (corpus.level, corpus.language) == (level, language)
    by_char = corpora.load(path=path, level="char")
    assert by_char.level == "char" and (" " in by_char.train[0]) == (language == "en")
    if level == "char":
        with pytest.raises(UserError, match=r"no spaces between its words: .*--level char"):
            corpora.load(path=path, level="word")


@pytest.mark.parametrize("big_file", [0, corpora.BIG_FILE])
def test_chinese_is_put_into_words_where_jieba_is_installed(tmp_path, monkeypatch, big_file):
    write(tmp_path / "jieba.py", "def lcut(text): return [text[:2], text[2:]]\ndef setLogLevel(level): pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    path = write(tmp_path / "file.txt", numbered(50, "明天{}會更好"))
    try:
        corpus = corpora.load(path=path, big_file=big_file)
        assert corpus.level == "space" and all(re.fullmatch(r"明天 \d+會更好", text) for text in corpus.train)
        assert corpora.load(path=path, level="char", big_file=big_file).train[0] == corpus.train[0].replace(" ", "")
    finally:
        sys.modules.pop("jieba", None)


def test_ptb_is_taken_as_it_stands():
    corpus = corpora.load(path=shared("ptb"))
    assert [len(found) for found in splits(corpus).values()] == [42068, 3370, 3761] and corpus.level == "space"
    assert sum(len(text.split()) + 1 for text in corpus.test) == 82430


# NLTK -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def nltk_data(monkeypatch):
    import nltk

    shared("nltk_data")
    monkeypatch.setattr(nltk.data, "path", [str(NLTK_DATA)])


@pytest.mark.parametrize(
    "task, least, sentence",
    [
        ("alice", 1300, "'I shall sit here,' he said, 'on and off, for days and days.'"),
        ("shakespeare", 10_000, "To be, or not to be: that is the question:"),
        ("treebank", 3800, "Mr. Vinken is chairman of Elsevier N.V., the Dutch publishing group."),
        ("brown", 50_000, "The jury further said in term-end presentments that"),
        ("genesis", 3000, "In the beginning God created the heaven and the earth."),
        ("sinica", 9000, "嘉珍 和 我 住在 同一條 巷子"),
    ],
)
def test_tasks_through_nltk(nltk_data, task, least, sentence):
    corpus = corpora.load(task)
    texts = everything(corpus)
    assert len(texts) >= least and all(texts)
    assert any(sentence[:25].strip("'`") in text for text in texts)
    assert (corpus.level, corpus.language) == (("space", "zh") if task == "sinica" else ("word", "en"))
    if task == "sinica":
        assert sentence.replace(" ", "") in everything(corpora.load(task, level="char"))
    assert not any("*T*" in text or "-LRB-" in text for text in texts)


def test_headlines_have_topics(tmp_path, monkeypatch):
    import nltk

    folder = tmp_path / "corpora" / "reuters"
    for i in range(40):
        write(folder / "training" / str(i), f"GRAIN PRICES &lt;{i}> RISE\n  Mounting prices\n")
    write(folder / "cats.txt", "".join(f"training/{i} {'grain wheat' if i % 2 else 'trade'}\n" for i in range(40)))
    tmp_path.chmod(0o700)
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    corpus = corpora.load("headlines")
    assert "GRAIN PRICES <3> RISE" in corpus.train + corpus.valid + corpus.test
    for split, texts in splits(corpus).items():
        assert corpus.labels[split] == ["grain" if int(re.search(r"\d+", text)[0]) % 2 else "trade" for text in texts]


def test_a_corpus_that_cannot_be_fetched_is_told_in_one_line(tmp_path, monkeypatch, capfd):
    import nltk

    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    asked = []
    monkeypatch.setattr(nltk, "download", lambda name, **options: asked.append(name))
    with pytest.raises(
        UserError, match=r"`python -m nltk.downloader sinica_treebank`.*pydocs, pylines, names"
    ) as error:
        corpora.load("sinica")
    assert asked == ["sinica_treebank"] and "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")


def test_nltk_says_nothing_of_its_own_without_a_network(tmp_path):
    # A proxy that refuses at once stands for a machine without a network.
    program = "import sys; from scriptorium.data import tasks; sys.exit(0 if tasks._download('no_such_corpus') else 7)"
    environment = os.environ | {"NLTK_DATA": str(tmp_path), "HOME": str(tmp_path), "https_proxy": "http://127.0.0.1:9"}
    environment |= {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 7 and "nltk" not in (done.stdout + done.stderr).lower()


def test_a_damaged_copy_is_told_in_one_line(tmp_path, monkeypatch):
    import nltk

    write(tmp_path / "corpora" / "brown.zip", b"PK not a zip file")
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    monkeypatch.setattr(nltk, "download", lambda name, **options: False)
    with pytest.raises(UserError, match=r"python -m nltk.downloader brown") as error:
        corpora.load("brown")
    assert "\n" not in str(error.value)


# Command line ---------------------------------------------------------------------------------------------------------


def parser():
    parser = Parser("any", "Reads a corpus.")
    add_data_options(parser, task="alice", max_length=50, top_words=123)
    return parser


def test_options_and_their_older_spellings():
    assert vars(parser().parse_args([])) == {
        **{"task": "alice", "data": None, "limit": None, "max_length": 50, "clip_length": None},
        **{"top_words": 123, "level": None, "layout": "auto"},
    }
    for words, name, value in [
        ("-t brown|--task brown", "task", "brown"),
        ("-D x|--data x|--data_dir x|--data-directory x", "data", "x"),
        ("-I 9|--limit 9", "limit", 9),
        ("-m 9|--max-length 9|--max_length 9|--sequence_length 9", "max_length", 9),
        ("-C 9|--clip-length 9", "clip_length", 9),
        ("-w 9|--top-words 9|--top_words 9", "top_words", 9),
        ("--level char", "level", "char"),
    ]:
        for spelling in words.split("|"):
            assert getattr(parser().parse_args(spelling.split()), name) == value
    both = parser().parse_args(["-t", "brown", "-D", "x"])
    assert (both.task, both.data) == ("brown", "x")
    text = parser().format_help()
    assert "data:" in text and all(task in text for task in tasks.TASKS)


@pytest.mark.parametrize("words", [["-t", "nothing"], ["-m", "0"], ["-w", "-5"], ["-I", "x"], ["--level", "syllable"]])
def test_options_that_make_no_sense(words, capsys):
    with pytest.raises(SystemExit) as exit_:
        parser().parse_args(words)
    assert exit_.value.code == 2 and words[1] in capsys.readouterr().err


def test_a_path_goes_before_a_task(tmp_path):
    assert corpora.load("brown", write(tmp_path / "file.txt", numbered(9))).name == "file.txt"


def test_labels_of_lines_of_folders_and_of_splits(tmp_path):
    names = [f"name{i}" for i in range(60)]
    one = write(
        tmp_path / "names.txt", "".join(f"{'ab'[i % 2]}\t{'fm'[i % 3 == 0]}\t{n}\n" for i, n in enumerate(names))
    )
    corpus = corpora.load(path=one, level="char", labeled=True)
    found = {n: label for s in corpora.SPLITS for n, label in zip(getattr(corpus, s), corpus.labels[s], strict=True)}
    assert found["name4"] == "a\tf" and found["name3"] == "b\tm" and len(corpus.test) == len(corpus.labels["test"])
    for label, part in (("greek", names[:30]), ("irish", names[25:])):
        write(tmp_path / "languages" / f"{label}.txt", "\n".join(part))
    corpus = corpora.load(path=tmp_path / "languages", level="char", labeled=True)
    pairs = {split: list(zip(getattr(corpus, split), corpus.labels[split], strict=True)) for split in corpora.SPLITS}
    assert sum(map(len, pairs.values())) == 65
    # A name of both languages is in one split with both.
    for name in names[25:30]:
        holding = [split for split in pairs if any(name == n for n, _ in pairs[split])]
        assert len(holding) == 1 and {(name, "greek"), (name, "irish")} <= set(pairs[holding[0]])
    for split in ("train", "valid", "test"):
        write(tmp_path / "given" / f"{split}.txt", f"x\t{split}one\n{split}two\n")
    corpus = corpora.load(path=tmp_path / "given", level="char", labeled=True)
    assert corpus.labels["valid"] == ["x", ""] and list(corpus.test) == ["testone", "testtwo"]
    assert corpora.load(path=write(tmp_path / "plain.txt", numbered(50)), labeled=True).labels is None


def test_lines_with_different_numbers_of_labels(tmp_path):
    file = write(tmp_path / "names.txt", "a\tb\tanna\nc\tbert\n" * 5)
    with pytest.raises(UserError, match=r"some have 1, others 2: see names\.txt, line 2, and names\.txt, line 1"):
        corpora.load(path=file, labeled=True)


def test_texts_and_labels_of_tables(tmp_path):
    rows = [("a", "one,  two"), ("b", 'said "so"'), ("", "three\tfour"), ("a", "")] + [
        ("b", f"line {i}") for i in range(9)
    ]
    table, objects = tmp_path / "x.csv", tmp_path / "x.jsonl"
    with open(table, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("id", "label", "text"), *((1, *row) for row in rows)])
    lines = [json.dumps({"text": text, "label": label or None}) for label, text in rows]
    objects.write_text("\n".join(lines) + "\n", encoding="utf-8")
    wanted = {(label, " ".join(text.split())) for label, text in rows if text}
    for path in (table, objects):
        corpus = corpora.load(path=path, level="char", labeled=True)
        found = [pair for s in corpora.SPLITS for pair in zip(corpus.labels[s], getattr(corpus, s), strict=True)]
        assert set(found) == wanted
        assert set(everything(corpora.load(path=path, level="char"))) == {text for _, text in wanted}
        assert set(everything(corpora.load(path=path, level="char", limit=160))) < {text for _, text in wanted}
    table.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(UserError, match="no column `text`; the columns are: a, b"):
        corpora.load(path=table)
    not_an_object = "not a JSON object with a key `text`"
    for bad, message in (("{", "object 1 is not valid JSON"), ("[1]", not_an_object), ("{}", not_an_object)):
        objects.write_text(bad + "\n", encoding="utf-8")
        with pytest.raises(UserError, match=message):
            corpora.load(path=objects)
