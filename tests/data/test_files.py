"""Files that a user names: what is opened, where lines end, and tables."""

import codecs
import json
import os
import stat

from scriptorium import UserError
from scriptorium.data import corpora, digits, files, running_text, sources, tables, textfiles
from scriptorium.data.vectors import read_vectors
from scriptorium.data.vocabulary import Vocabulary, read_vocabulary

import numpy as np
import pytest

WORDS = Vocabulary.build(["a b"], "space")
READERS = {
    "texts": lambda path: corpora.load(path=path),
    "labeled": lambda path: corpora.load(path=path, labeled=True),
    "running text": lambda path: running_text.read(path=path),
    "bytes": lambda path: running_text.read(path=path, level="byte"),
    "vectors": lambda path: read_vectors(path, WORDS, np.zeros((6, 2))),
    "vocabulary": lambda path: read_vocabulary(path, None),
    "lines": textfiles.lines_of,
    "pictures": digits.read,
}


def lines(n=60, end="\n"):
    return "".join(f"Text number {i}.{end}" for i in range(n))


def everything(corpus):
    return sorted([*corpus.train, *corpus.valid, *corpus.test])


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# Paths ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reader", READERS)
def test_whatever_is_no_file_is_told_in_one_line(tmp_path, reader):
    os.mkfifo(tmp_path / "pipe.npy")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "lost").symlink_to("nowhere")
    write(tmp_path / "file", "a")
    cases = {
        "": "path of a file is empty",
        tmp_path / "pipe.npy": "is a pipe",
        tmp_path / "loop": "symbolic links",
        tmp_path / "lost": "no such file",
        tmp_path / "file" / "inside": "Not a directory",
        tmp_path / ("long" * 100): "too long",
        "/dev/zero": "is a device",
        "a\0b": "no such file",
        "\ud800": "no such file",
    }
    for path, said in cases.items():
        with pytest.raises(UserError, match=said) as error:
            READERS[reader](path)
        assert str(error.value).isprintable()


def test_an_array_that_is_none_is_told_in_one_line(tmp_path):
    np.savez(tmp_path / "z.npz", a=1)
    np.save(tmp_path / "words.npy", np.array(["a"]))
    np.save(tmp_path / "nan.npy", np.full((6, 2), np.nan))
    archive, words, empty = ((tmp_path / name).read_bytes() for name in ("z.npz", "words.npy", "nan.npy"))
    for content in (b"", b"PK\3\4", b"abc", archive, words, empty):
        for name, reader in (("x.npy", "vectors"), ("x.npz", "pictures")):
            with pytest.raises(UserError, match=name):
                READERS[reader](write(tmp_path / name, content))


def test_a_folder_that_may_not_be_read_is_told_in_one_line(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "listdir", refuse)
    monkeypatch.setattr(os, "scandir", refuse)
    for reader in ("texts", "labeled", "running text"):
        with pytest.raises(UserError, match="Permission denied"):
            READERS[reader](tmp_path)


def test_names_in_another_encoding(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/n\xff\n.txt")
    with open(path, "w", encoding="utf-8") as file:
        file.write(lines())
    for corpus in (corpora.load(path=path), running_text.read(path=path)):
        assert corpus.name == "n\ufffd\ufffd.txt" and corpus.description.isprintable()


def test_what_a_folder_holds_is_read_or_named(tmp_path):
    for name in ("train.txt", "test.txt", "extra.txt", "README.md", "a.md"):
        write(tmp_path / name, lines())
    (tmp_path / "more").mkdir()
    assert "not read: README.md, a.md, extra.txt and 1 more" in corpora.load(path=tmp_path).description
    assert "not read: README.md, a.md, extra.txt and 1 more" in running_text.read(path=tmp_path).description
    write(tmp_path / "train-test.txt", lines())
    with pytest.raises(UserError, match=r"train-test\.txt is named after train and test"):
        corpora.load(path=tmp_path)


def test_tables_and_text_files_in_one_folder(tmp_path):
    write(tmp_path / "a.csv", "text\nfoo\nbar\n")
    write(tmp_path / "b.txt", "q\tone\ntwo\n")
    assert everything(corpora.load(path=tmp_path)) == ["bar", "foo", "q\tone", "two"]
    assert everything(corpora.load(path=tmp_path, labeled=True)) == ["bar", "foo", "one", "two"]


def test_lines_with_labels_keep_them_in_a_folder(tmp_path):
    write(tmp_path / "it.txt", "f\tanna\nf\tada\nf\tbea\n")
    write(tmp_path / "de.txt", "m\totto\nudo\n")
    source = sources.read_source(tmp_path, None, 0, True, "auto")
    assert source.labels["train"] == ["m", "", "f", "f", "f"]


# Lines ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["\r", "\r\n"])
def test_every_line_end_is_one(tmp_path, end, monkeypatch):
    monkeypatch.setattr(files, "CHUNK", 5)  # CR and LF come in different chunks
    wanted = everything(corpora.load(path=write(tmp_path / "x.txt", lines())))
    assert everything(corpora.load(path=write(tmp_path / "x.txt", lines(end=end)))) == wanted
    for labeled in (False, True):
        table = "label,text" + end + "".join(f'a,"x {i}{end}second"{end}' for i in range(9))
        corpus = corpora.load(path=write(tmp_path / "x.csv", table), labeled=labeled)
        assert everything(corpus) == [f"x {i} second" for i in range(9)]
    objects = "".join(f'{{"text": "x {i}"}}{end}' for i in range(9))
    assert everything(corpora.load(path=write(tmp_path / "x.jsonl", objects))) == [f"x {i}" for i in range(9)]


def test_a_text_is_one_line_by_any_definition(tmp_path):
    path = write(tmp_path / "x.txt", "".join(f"a{i}\u2028b\x85c\x0cd  e\n" for i in range(9)))
    for settings in ({}, {"labeled": True}, {"big_file": 0}):
        assert everything(corpora.load(path=path, **settings)) == [f"a{i} b c d  e" for i in range(9)]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32"])
def test_other_encodings_are_told_by_name(tmp_path, encoding):
    mark = codecs.BOM_UTF16_BE if encoding == "utf-16-be" else b""
    for name, reader in (("x.txt", "texts"), ("x.csv", "texts"), ("x.json", "texts"), ("x.txt", "running text")):
        with pytest.raises(UserError, match=encoding[:6].upper()):
            READERS[reader](write(tmp_path / name, mark + lines().encode(encoding)))


@pytest.mark.parametrize("text", ["x" + "é" * 900, "я" * 900, "😀" * 300, "a\r\n" * 300, "x" * 101 + "\0"])
@pytest.mark.parametrize("limit", [98, 99, 100, 101])
def test_the_first_characters_are_read_and_no_others_matter(tmp_path, text, limit):
    data, first = text.encode() + b"\xff\xff", text.replace("\r\n", "\n")[:limit]
    found = running_text.read(path=write(tmp_path / "x.txt", data), limit=limit)
    assert "".join(found.vocabulary.decode(getattr(found, split)) for split in corpora.SPLITS) == first
    rows = "".join(row for _, row in files.rows(tmp_path / "x.txt", limit))
    assert rows.replace("\r\n", "\n").replace("\r", "\n") == first
    whole = running_text.read(path=tmp_path / "x.txt", limit=limit, level="byte")
    assert sum(len(getattr(whole, split)) for split in corpora.SPLITS) == limit
    with pytest.raises(UserError, match=r"byte .* is not UTF-8|binary data at byte 101"):
        running_text.read(path=tmp_path / "x.txt", limit=1000)


def test_no_line_end_is_cut_in_two(tmp_path):
    for size in range(60, 64):
        text = "".join(f"{i % 10}\r\n" for i in range(size))
        found = running_text.read(path=write(tmp_path / "x.txt", text))
        parts = [found.vocabulary.decode(getattr(found, split)) for split in corpora.SPLITS]
        assert "".join(parts) == text.replace("\r\n", "\n")


# Layouts --------------------------------------------------------------------------------------------------------------

FORTUNES = "".join(f"A saying {i},\nand more.\n  -- Somebody\n%\n" for i in range(40))


@pytest.mark.parametrize(
    "text",
    [
        "\\section{A}\n%\nSome text here.\n" * 30,
        "x = 1;\n%\n-- a note\nother\nlines\nfollow\n" * 30,
        "Words\n%\n-- a note\nother\nlines\nfollow\n" * 30,
        "Some text.\n% a comment\n%\n" * 30,
        "Some text.\n" * 50 + "%\n%\n%\n",
    ],
)
def test_percent_signs_alone_make_no_fortune_file(text):
    assert textfiles.kind_of(text.splitlines(keepends=True)) == "lines"
    assert textfiles.kind_of(FORTUNES.splitlines(keepends=True)) == "entries"


def test_the_layout_that_is_asked_for(tmp_path):
    path = write(tmp_path / "x.txt", FORTUNES)
    fortune = corpora.load(path=path)
    assert "read as a fortune file (40 lines of sources left out)" in fortune.description and fortune.read == 40
    assert corpora.load(path=path, layout="fortune") == fortune
    assert corpora.load(path=path, layout="lines").read == 160
    write(path, "One is here. Two is there.\n" * 9 + "Three is it. Four is not.\n")
    prose = corpora.load(path=path, layout="prose")
    assert prose.read == 20 and "prose cut into sentences" in prose.description
    for settings in ({"path": path, "labeled": True}, {"task": "names"}, {"path": write(tmp_path / "x.csv", "text\n")}):
        with pytest.raises(UserError, match="--format prose"):
            corpora.load(**settings, layout="prose")


# Tables ---------------------------------------------------------------------------------------------------------------


def table(path, text, limit=None):
    return tables.read_table(write(path, text), limit)[0]


@pytest.mark.parametrize(
    "text, said",
    [
        ("id,text\n1,fine\n\n2,a, b\n", r"x.csv, line 4: 3 field\(s\), but the header has 2"),
        ('id,text\n1,"two\nlines"\n2\n', "line 4: 1 field"),
        ('id,text\n1,"he said \\"no\\", loudly"\n', "line 2: .*expected after"),
        ('id,text\n1,a\n2,"open\n3,b\n', "line 3: a quoted field does not end"),
        ("text\na, b\n", "line 2: 2 field"),
        ("id;text\n1;a;b\n", "line 2: 3 field"),
        ("id,text,Text\n1,a,b\n", "2 columns `text`"),
        ("a;b\n1;2\n", "no column `text`; the columns are: a;b"),
        ("id,text\n", "no text"),
        ("", "no column `text`"),
        ("id,text\n1,a\0\n", "binary data at byte 11"),
    ],
)
def test_rows_that_cannot_be_read_as_meant(tmp_path, text, said):
    with pytest.raises(UserError, match=said):
        table(tmp_path / "x.csv", text)


def test_tables_of_other_separators_and_headers(tmp_path):
    for sign in ",;\t|":
        assert table(tmp_path / "x.csv", f"Label{sign} TEXT\na{sign}b\n") == [("a", "b")]
    assert table(tmp_path / "x.csv", "\ufeffsep=;\r\nid;text\r\n1;a, b\r\n") == [("", "a, b")]
    assert table(tmp_path / "x.csv", 'text\n"a ""b"", c"\n' + "d" * 200_000) == [("", 'a "b", c'), ("", "d" * 200_000)]
    assert tables.read_table(write(tmp_path / "x.csv", "id,text\n1,a\n,\n2, \n")) == ([("", "a")], 2)
    rows = "".join(f'1,"é {i}\n{i}"\n' for i in range(9))
    assert table(tmp_path / "x.csv", "id,text\n" + rows, 30) == [("", "é 0 0"), ("", "é 1 1")]
    assert len(table(tmp_path / "x.csv", "id,text\n" + rows, len(rows) + 7)) == 9


@pytest.mark.parametrize("value", ['{"a": 1}', "[1]", "NaN", "1.5", "true"])
def test_texts_that_are_no_strings(tmp_path, value):
    with pytest.raises(UserError, match="object 2: text is not a string"):
        table(tmp_path / "x.jsonl", f'{{"text": "a"}}\n{{"text": {value}}}\n')


def test_json_objects_however_they_are_written(tmp_path):
    objects = [{"text": f"a {i}", "label": i % 2} for i in range(6)]
    wanted = [(str(i % 2), f"a {i}") for i in range(6)]
    for indent in (None, 2):
        whole = json.dumps(objects, indent=indent)
        assert table(tmp_path / "x.json", whole) == table(tmp_path / "x.jsonl", whole) == wanted
        assert table(tmp_path / "x.json", "\n".join(json.dumps(row, indent=indent) for row in objects)) == wanted
        assert table(tmp_path / "x.json", whole, len(whole) - 5) == wanted[:5]
        for bad in (whole[:-1], whole + "]", whole.replace("}, ", "} ").replace("},\n", "}\n")):
            with pytest.raises(UserError, match=r"x.json: after object \d, line \d+: "):
                table(tmp_path / "x.json", bad)
    long = [{"text": f"{i} " + "x" * 2**20} for i in range(2)]
    assert [len(text) for _, text in table(tmp_path / "x.jsonl", "\n".join(map(json.dumps, long)))] == [2**20 + 2] * 2
    halves = '{"text": "a \\ud83d b", "label": "\\udc00"}\n{"Text": "\\ud83d\\ude00"}\n{"text": null}\n'
    assert table(tmp_path / "x.jsonl", halves) == [("\ufffd", "a \ufffd b"), ("", "\U0001f600")]
    with pytest.raises(UserError, match="object 1: label"):
        table(tmp_path / "x.jsonl", '{"text": "a", "label": ["b"]}')


def test_only_regular_files_are_opened(tmp_path):
    path = write(tmp_path / "x.txt", "a")
    with files.open_file(path) as file:
        assert stat.S_ISREG(os.fstat(file.fileno()).st_mode) and file.read() == b"a"


# Nothing is lost silently ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("blank", ["", "\n", "\r\n", " \n\n"])
def test_an_entry_of_a_fortune_file_may_hold_empty_lines(tmp_path, blank):
    text = "".join(f"é {i} first,{blank}\nsecond line\n{blank}-- An Author\n{blank}more of it\n%\n" for i in range(9))
    source = sources.read_source(write(tmp_path / "a.txt", text), None, 0, False, "fortune")
    assert list(source.texts["train"]) == [f"é {i} first, second line" for i in range(9)]
    assert "18 lines of sources left out" in source.notes[0]


@pytest.mark.parametrize("columns", ["text", "text,more"])
def test_every_empty_text_of_a_table_is_counted(tmp_path, columns):
    more = "," * columns.count(",")
    rows = f'{columns}\n""{more}\na{more}\n" "{more}\n\nb{more}\n'
    pairs, empty = tables.read_table(write(tmp_path / "a.csv", rows))
    assert [text for _, text in pairs] == ["a", "b"] and empty == 2


def test_spaces_after_the_separators_of_a_table_are_no_part_of_its_fields(tmp_path):
    table = write(tmp_path / "a.csv", 'label, text\nde, "a, ""b"""\nen, c\n "f", "d"\n')
    assert tables.read_table(table)[0] == [("de", 'a, "b"'), ("en", "c"), ("f", "d")]


@pytest.mark.parametrize("text", ['{"text": "a", "text": "b"}', '[{"text": "a", "x": {"y": 1, "y": 2}}]'])
def test_a_key_that_stands_twice_in_a_json_object_is_an_error(tmp_path, text):
    with pytest.raises(UserError, match=r"object 1 is not valid JSON: it has the key '\w+' twice"):
        tables.read_table(write(tmp_path / "a.json", text))


@pytest.mark.parametrize(
    "limit, texts", [(6, ["anna"]), (7, ["anna"]), (8, ["anna"]), (13, ["anna", "otto"]), (99, None)]
)
def test_a_limit_never_makes_a_text_of_a_label(tmp_path, limit, texts):
    path = write(tmp_path / "a.txt", "f\tanna\nm\totto\nf\tida\n")
    source = sources.read_source(path, limit, 2**26, True, "auto")
    assert source.texts["train"] == (texts or ["anna", "otto", "ida"])
    assert source.labels["train"] == ["f", "m", "f"][: len(source.texts["train"])]
