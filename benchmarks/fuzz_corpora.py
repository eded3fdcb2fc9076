"""Absurd text files, tables and folders, whose texts are known, for fuzz.py: none may be lost without being said."""

import codecs
import collections
import csv
import io
import json
import os
import re
import unicodedata

import common  # noqa: F401 (says where the package is)
from scriptorium import UserError
from scriptorium.data import corpora, files, running_text, sources
from scriptorium.data.textfiles import LAYOUTS
from scriptorium.data.vocabulary import LEVELS, UNK

WORDS = [
    "the", "a", "cat", "dog", "ran", "sat", "on", "mat", "of", "is", "that", "and", "house", "river", "Anna", "Bob",
    "old", "new", "over", "under", "It", "They", "Dr.", "e.g.",
]  # fmt: skip
ALPHABETS = [
    "àéîõüçñßŁœ", "αβγδεζ", "абвгдежз", "אבגדה", "ابجده", "ไทยภาษา", "中文字句。", "ひらがなカタ", "한국어", "हिन्दी",
    "e\u0301o\u0308\u0323", "\u202eab\u202c\u200f", "\u200b\u200d\u2060\ufeff", "🏴‍☠️👩‍👩‍👧🇩🇪",
    "\U00020000\U0001d518\U000e0041", "\ufdd0\uffff\U0010ffff", "\ue000\U000f0000", "\x01\x1b\x7f\x9f", "İıſKÅ",
    "ﬁ㍿½",
]  # fmt: skip
# Texts that look like something else.
ODD = [
    "<pad>", "<eos> <start>", "<unk>", "%", "%%", "-- ", "-- Author", "---", "% comment", r"\begin{x}", "nan",
    "null", "-1", '"', "'", '""', '"quoted"', ",", ";", "|", "a,b", "a;b", "a, b", 'say "a" to', "sep=;", "text",
    "label", "#", "\\", "\\n", "=1+1", "[", "{", "{}", "[1]", ".", "...", "?!", "_", "-", "\u00a0x\u00a0",
    "a\u3000b", "x" * 300, "A. B. C.", r"{\bf a} & b \\", "x\u2028y", "x\u0085y", "x\x0by\x0cz", "x\x1cy", "\u2029",
]  # fmt: skip
LINE_ENDS = ["\n", "\n", "\n", "\r\n", "\r"]
COUNTS = [0, 1, 2, 3, 4, 5, 8, 20, 45, 45, 45, 130]


def key(text):
    """Returns a text without white space and surrogates, which readers may change."""
    return "".join(text.split())


class Texts:
    """Draws texts."""

    def __init__(self, random):
        self.random = random

    def word(self):
        draw = self.random
        if draw.random() < 0.7:
            return draw.choice(WORDS)
        if draw.random() < 0.2:
            code = draw.randrange(0xA0, 0x110000)
            return "\ufffd" if 0xD800 <= code < 0xE000 else unicodedata.normalize("NFD", chr(code))
        return "".join(draw.choices(draw.choice(ALPHABETS), k=draw.randint(1, 5)))

    def text(self):
        draw = self.random
        if draw.random() < 0.08:
            return draw.choice(ODD)
        words = [self.word() for _ in range(draw.choice([1, 2, 3, 5, 8, 12]))]
        if draw.random() < 0.1:
            words.insert(draw.randrange(len(words) + 1), draw.choice(ODD))
        return draw.choice([" ", " ", " ", "  ", ". "]).join(words) + draw.choice(["", "", ".", "!", " ", "?\u00a0"])

    def texts(self):
        draw, count = self.random, self.random.choice(COUNTS)
        made = [self.text() for _ in range(count)]
        if count and draw.random() < 0.3:  # repeated ones
            made += draw.choices(made, k=draw.randint(1, count))
        return made

    def joined(self, rows):
        """Returns lines as one text, with any line ends, perhaps with empty lines."""
        draw = self.random
        end, mixed, blank = draw.choice(LINE_ENDS), draw.random() < 0.1, draw.random() < 0.1
        ends = [draw.choice(LINE_ENDS) if mixed else end for _ in rows]
        lines = [
            row + stop + (stop if blank and draw.random() < 0.3 else "") for row, stop in zip(rows, ends, strict=True)
        ]
        whole = "".join(lines)
        return whole.rstrip("\r\n") if draw.random() < 0.3 else whole


class File:
    """A file's name and bytes, and what they mean.

    Attributes:
        name: str.
        data: bytes.
        pairs: list of (label, text) that were written, or None if the file cannot be read as anything.
        content: str, the whole text, or None.
        kind: "lines", "prose", "fortune", "csv", "json", "rows" for a table whose quotes may be lost and whose
            texts may be cut at line ends, or "part" for one that lacks rows.
    """

    def __init__(self, name, content, pairs, kind):
        self.name, self.content, self.pairs, self.kind = name, content, pairs, kind
        self.data = content.encode("utf-8", "surrogatepass")


def lines(draw, texts):
    made = texts.texts()
    return File("a.txt", texts.joined(made), [("", text) for text in made], "lines")


def labeled(draw, texts):
    kinds, pairs, rows = draw.choice([1, 1, 2, 3]), [], []
    for text in texts.texts():
        text = text.replace("\t", " ")
        label = "\t".join(draw.choice(["de", "en", "", "f m", "é", "1"]) for _ in range(kinds))
        label = "" if draw.random() < 0.1 else label
        pairs.append((label, text))
        ragged = draw.random() < 0.01
        rows.append((label + "\t" if label or draw.random() < 0.5 else "") + ("x\t" if ragged else "") + text)
        if ragged:
            pairs[-1] = (None, text)
    return File("a.txt", texts.joined(rows), pairs, "lines")


def prose(draw, texts):
    paragraphs, made = [], []
    for _ in range(draw.choice([1, 3, 10, 40])):
        sentences = []
        for _ in range(draw.randint(1, 6)):
            words = " ".join(texts.word() for _ in range(draw.randint(4, 20)))
            sentences.append(words.strip() + draw.choice([".", "?", "!", "。"]))
        made += sentences
        words, rows = " ".join(sentences).split(" "), [""]
        width = draw.choice([50, 70, 100, 10_000])
        for word in words:
            rows = [*rows, word] if len(rows[-1]) + len(word) > width else [*rows[:-1], f"{rows[-1]} {word}".strip()]
        paragraphs += [*rows, ""]
    return File("a.txt", texts.joined(paragraphs), [("", text) for text in made], "prose")


def fortune(draw, texts):
    rows, made = [], []
    source = draw.random() < 0.5
    for _ in range(draw.choice([2, 5, 30])):
        entry = [" ".join(texts.word() for _ in range(draw.randint(3, 9))) for _ in range(draw.randint(1, 4))]
        made += entry
        rows += [*entry, *(["\t\t-- An Author"] if source and draw.random() < 0.7 else []), "%"]
    made += ["-- An Author"] * sum("-- An" in row for row in rows)
    return File("a.txt", texts.joined(rows), [("", text) for text in made], "fortune")


def latex(draw, texts):
    rows = []
    for _ in range(draw.choice([5, 60, 200])):
        word, text = texts.word(), texts.text()
        rows.append(draw.choice(["%", "%", f"\\section{{{word}}}", text, "x & y \\\\", f"% {word}", ""]))
    return File("a.tex", texts.joined(rows), [("", row) for row in rows], "fortune")


def table(draw, texts):
    """A CSV file; a broken one still has its meant texts."""
    made = [(draw.choice(["de", "en", "", "a,b", 'x"y']), text) for text in texts.texts()]
    if draw.random() < 0.3:  # line ends within fields
        made = [(label, text.replace(" ", draw.choice(["\n", "\r\n", " "]), 1)) for label, text in made]
    columns = draw.choice(
        [["text"], ["label", "text"], ["text", "label"], ["id", "Text", "LABEL", "more"], ["title", "TEXT"]]
    )
    at = {name.lower(): place for place, name in enumerate(columns)}
    rows = []
    for label, text in made:
        row = [draw.choice(["1", "", "x y"]) for _ in columns]
        row[at["text"]] = text
        if "label" in at:
            row[at["label"]] = label
        rows.append(row)
    sign, out = draw.choice([",", ",", ",", ";", "\t", "|"]), io.StringIO(newline="")
    end = draw.choice(LINE_ENDS)
    # Python leaves a line end within a field unquoted if the lines end otherwise.
    quoting = csv.QUOTE_ALL if end == "\r" else draw.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
    csv.writer(out, delimiter=sign, quoting=quoting, lineterminator=end).writerows([columns, *rows])
    content, kind = out.getvalue(), "csv"
    pairs = [(label if "label" in at else "", text) for label, text in made]
    if draw.random() < 0.3:
        content, kind = _broken_table(draw, content, columns, rows, sign)
    return File(draw.choice(["a.csv", "a.CSV"]), content, pairs, kind)


def _broken_table(draw, content, columns, rows, sign):
    """Returns a table that is not quite CSV, and its kind: see `File`."""
    defect, end = draw.randrange(9), draw.choice(["\n", "\r\n"])
    if defect == 0:  # no quotes at all
        return end.join(sign.join(row) for row in [columns, *rows]) + end, "rows"
    if defect == 1:  # quotes escaped by a backslash
        quoted = [['"' + field.replace('"', '\\"') + '"' for field in row] for row in rows]
        return end.join(sign.join(row) for row in [columns, *quoted]) + end, "rows"
    if defect == 2:  # a space after each separator
        quoted = [['"' + field.replace('"', '""') + '"' for field in row] for row in [columns, *rows]]
        return end.join(f"{sign} ".join(row) for row in quoted) + end, "csv"
    if defect == 3:  # Excel's first line
        return f"sep={sign}{end}{content}", "csv"
    if defect == 4:  # ragged
        whole = content.splitlines(keepends=True)
        place = draw.randrange(len(whole))
        whole[place] = draw.choice([sign + whole[place], whole[place].rstrip() + sign + "x" + end, "x" + end])
        return "".join(whole), "part"
    if defect == 5:
        return content[: draw.randrange(len(content) + 1)], "part"
    if defect == 6:  # a quote somewhere
        place = draw.randrange(len(content) + 1)
        return content[:place] + '"' + content[place:], "rows"
    if defect == 7:
        return content + end * 3 + " " + end, "rows" if len(columns) == 1 else "csv"
    return end * 2 + content, "csv"


def objects(draw, texts):
    """JSON values, some of them wrong; an input whose meaning is not clear has None for its pairs."""
    pairs, rows, clear = [], [], True
    for text in texts.texts():
        label = draw.choice(["de", "", None, 3, True, "é", 1.5])
        row = {"text": text, "label": label} if draw.random() < 0.9 else {"Text": text, "more": {"a": [text]}}
        pairs.append(("" if row.get("label") is None else str(label), text))
        if draw.random() < 0.01:
            clear = False
            row["text"] = draw.choice([3, True, ["a"], {"a": 1}, float("nan"), float("inf")])
        elif draw.random() < 0.01:
            pairs[-1] = (pairs[-1][0], "")
            row = {**row, "text": None}
            row.pop("Text", None)
        rows.append(row)
    ascii_only = draw.random() < 0.5
    written = [json.dumps(row, ensure_ascii=ascii_only) for row in rows]
    if draw.random() < 0.1 and written:
        place, kind = draw.randrange(len(written)), draw.randrange(8)
        bad = ['{"text": "a", "text": "b"}', "[" * 5000, '{"text": "a",}', "{'text': 'a'}", "3", '{"text": "a"', "// x",
               '{"text": "a", "x": ' + "[" * 3000 + "]" * 3000 + "}"][kind]  # fmt: skip
        written[place], clear = bad, False
    if draw.random() < 0.1 and written:
        # Half a surrogate pair.
        written.append('{"text": "half \\ud83d"}')
        pairs.append(("", "half \ufffd"))
    shape = draw.randrange(4)
    if shape == 0:
        content = draw.choice(["[%s]", "[\n%s\n]\n", " [%s] ", "[%s", "[%s,]"]) % draw.choice([", ", ",\n"]).join(
            written
        )
    elif shape == 1:
        content = draw.choice(["", " ", "\n\n"]).join(written)
    else:
        content = texts.joined(written)
    return File(draw.choice(["a.jsonl", "a.json", "a.JSONL"]), content, pairs if clear else None, "json")


MAKERS = [lines, lines, lines, labeled, labeled, prose, fortune, latex, table, table, table, objects, objects]


def damaged(draw, file):
    """Returns the bytes of a file, in another encoding or with wrong bytes now and then, and whether they are UTF-8."""
    kind, text = draw.random(), file.content
    if kind < 0.8:
        return file.data
    if kind < 0.88:
        return codecs.BOM_UTF8 + file.data
    if kind < 0.94:
        encoding = draw.choice(
            ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "cp1251", "shift-jis", "utf-7"]
        )
        return text.encode(encoding, "replace")
    data = bytearray(file.data)
    place = draw.randrange(len(data) + 1)
    data[place:place] = draw.choice(
        [b"\0", b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\x80", b"\xe2\x82"]
    )
    return bytes(data)


class Corpora:
    """Draws files and folders, and reads them."""

    def input(self, random, folder):
        """Writes an input into an empty folder; returns a description of it and a function that reads it."""
        texts = Texts(random)
        if random.random() < 0.2:
            path, made = self.folder(random, texts, folder), None
        else:
            file = random.choice(MAKERS)(random, texts)
            path, made = folder / file.name, file
            made.data = damaged(random, file)
            path.write_bytes(made.data)
        if made is None:
            path, made = path
        if random.random() < 0.2:
            options = {"level": random.choice(["char", "byte"])}
            options |= {"size": random.choice([1, 3, 50])} if random.random() < 0.3 else {}
            read = self.check_running
        else:
            options = {"level": random.choice([None, None, None, *LEVELS]), "labeled": random.random() < 0.4}
            options |= {"layout": random.choice(list(LAYOUTS)) if random.random() < 0.4 else "auto"}
            options |= {"big_file": random.choice([0, 2**26])}
            read = self.check
        options["limit"] = random.choice([1, 2, 30, 100, 1000]) if random.random() < 0.25 else None
        return f"{path.name} {options}", lambda: read(path, made, options)

    def folder(self, draw, texts, folder):
        """Writes a folder of files; returns its path and the files that are read, a dict of split -> list of `File`."""
        inside, made = folder / draw.choice(["corpus", "c o", "über", "%s"]), {}
        inside.mkdir()
        names = draw.choice([
            ["train", "valid", "test"], ["train", "dev"], ["my-train-1", "my_train_2", "val"], ["a", "b", "test"],
            ["training", "validation", "testing"], ["one"], ["a", "b"], ["contrast", "latest"], ["train", "train.test"],
        ])  # fmt: skip
        maker = draw.choice(MAKERS)
        for name in names:
            file = (maker if draw.random() < 0.9 else draw.choice(MAKERS))(draw, texts)
            suffix = file.name.rpartition(".")[2].replace("tex", "txt")
            file.data = damaged(draw, file) if draw.random() < 0.3 else file.data
            path = inside / f"{name}.{suffix}"
            path.write_bytes(file.data)
            made[path.name] = file
        more = draw.choice(
            ["README.txt", ".hidden.txt", "notes.md", "sub/", "pipe.txt", "link.txt", "loop.txt", None, None]
        )
        if more == "sub/":
            (inside / "sub").mkdir()
            (inside / "sub" / "x.txt").write_text("lost\n" * 50, "utf-8")
        elif more == "pipe.txt":
            os.mkfifo(inside / more)
        elif more in ("link.txt", "loop.txt"):
            (inside / more).symlink_to("nowhere" if more == "link.txt" else more)
        elif more:
            (inside / more).write_text("more text\n" * 9, "utf-8")
        return inside, made

    # Checks -----------------------------------------------------------------------------------------------------------

    def check(self, path, made, options):
        """Reads a corpus; returns whether it was accepted."""
        try:
            corpus = corpora.load(path=path, **options)
        except UserError as error:
            return error
        source = sources.read_source(path, *(options[name] for name in ("limit", "big_file", "labeled", "layout")))
        parts = ("train", "valid", "test")
        found = [text for texts in source.texts.values() for text in texts]
        kept = [text for part in parts for text in getattr(corpus, part)]
        if corpus.read != len(found) or corpus.repeated != corpus.read - len(kept):
            return f"{len(found)} texts read, {len(kept)} kept, but told {corpus.read} and {corpus.repeated} repeated"
        if {key(text) for text in found} != {key(text) for text in kept}:
            return "the splits hold other texts than the file"
        if corpus.labels and any(len(corpus.labels[part]) != len(getattr(corpus, part)) for part in parts):
            return "there are more or fewer labels than texts"
        kept_of = made if isinstance(made, dict) else {path.name: made}
        written = [
            file for name, file in sorted(kept_of.items()) if name not in corpus.description or path.name == name
        ]
        return self.compare(written, found, source, corpus, options)

    def compare(self, written, found, source, corpus, options):
        """Returns True if the texts of a source are those that were written, or else what differs."""
        for file in written:
            try:
                text = file.data.decode("utf-8")
            except UnicodeDecodeError:
                text = None
            if options["limit"] is None and (text is None or "\0" in text):
                return "bytes that are not UTF-8 text were read"
        if any(
            file.data.removeprefix(codecs.BOM_UTF8) != file.content.encode("utf-8", "surrogatepass") for file in written
        ):
            return True  # other text than was meant, which nobody can know
        if any(file.pairs is None for file in written):
            return True if options["limit"] else "an unclear file was read"
        fortune = "fortune" in corpus.how
        meant = collections.Counter()
        for file in written:
            if file.kind in ("csv", "json", "rows", "part"):
                some = [text for _, text in file.pairs]
            elif options["labeled"]:
                some = [files.one_line(row.rpartition("\t")[2]) for row in _rows(file)]
            else:
                some = _rows(file)
            meant.update("".join(map(key, some)))
        got = collections.Counter("".join(map(key, found)))
        kinds = {file.kind for file in written}
        for sign in "\ufeff" + "%" * fortune + ('",;|\\x' if kinds & {"rows", "part"} else ""):
            meant.pop(sign, None), got.pop(sign, None)
        if options["limit"] is not None or "part" in kinds:
            return True if not got - meant else f"characters were read that nobody wrote: {str(got - meant)[:200]}"
        if got == meant:
            return self.compare_pairs(written, source, options)
        if not got - meant and fortune and "lines of sources left out" in corpus.description:
            return True
        return f"lost {str(dict(meant - got))[:200]}, added {str(dict(got - meant))[:200]}; {corpus.description}"

    def compare_pairs(self, written, source, options):
        """Compares texts one by one, with their labels, where a file has one per row."""
        if len(written) != 1 or written[0].kind not in ("csv", "json"):
            return True
        meant = [(label.strip(), key(text)) for label, text in written[0].pairs if text.strip()]
        found, labels = source.texts["train"], (source.labels or {}).get("train")
        if [text for _, text in meant] != [key(text) for text in found]:
            return "the texts of the table are cut otherwise than they were written"
        if labels and [label for label, _ in meant] != labels:
            return "labels differ"
        if options["labeled"] and not labels and any(label for label, _ in meant):
            return "the labels are lost"
        empty = len(written[0].pairs) - len(meant)
        return True if not empty or f"{empty:,} row(s)" in "; ".join(source.notes) else f"{empty} empty rows, not told"

    def check_running(self, path, made, options):
        """Reads running text; returns whether it was accepted, or else what differs."""
        try:
            text = running_text.read(path=path, **options)
        except UserError as error:
            return error
        if isinstance(made, dict):
            return True
        data = made.data if options["level"] == "byte" else made.data.removeprefix(codecs.BOM_UTF8)
        meant = data.decode("latin-1") if options["level"] == "byte" else None
        if meant is None:
            try:
                meant = data.decode("utf-8")
            except UnicodeDecodeError as error:
                if options["limit"] is None:
                    return "bytes that are not UTF-8 text were read"
                meant = data[: error.start].decode("utf-8")
            meant = re.sub("\r\n?", "\n", meant)
        meant = meant[: options["limit"]]
        ids = [i for part in (text.train, text.valid, text.test) for i in part.tolist()]
        if len(ids) != len(meant):
            return f"{len(ids)} of {len(meant)} characters were read"
        if any(i != UNK and text.vocabulary.tokens[i] != sign for i, sign in zip(ids, meant, strict=True)):
            return "other characters were read"
        unknown = ids.count(UNK)
        told = re.search(r"; ([\d,]+) others become <unk>", text.description)
        return (
            True
            if unknown == int(told[1].replace(",", "") if told else 0)
            else f"{unknown} unknown characters, not told"
        )


def _rows(file):
    return re.split("\r\n|\r|\n", file.content)
