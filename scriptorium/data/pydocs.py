"""English prose that comes with every installation: sentences from the docstrings of Python and its packages.

The unindented paragraphs of a docstring are cut into sentences, and only text that reads as a sentence is kept: it
begins with a capital letter, ends with a period, consists of words and has a verb.
"""

import ast
import collections
import inspect
import random
import re
import warnings

from scriptorium.data.installed import source_files
from scriptorium.data.scenes.english import third_person
from scriptorium.data.textfiles import split_sentences

# The requirements and their dependencies, by import name; those that are not installed are skipped.
PACKAGES = (
    *("numpy", "keras", "nltk", "matplotlib", "tensorflow", "tensorboard", "tensorboardX", "faker", "absl", "click"),
    *(
        "dateutil",
        "flatbuffers",
        "fontTools",
        "grpc",
        "h5py",
        "joblib",
        "markdown",
        "optree",
        "packaging",
        "PIL",
        "pygments",
    ),
    *("pyparsing", "regex", "requests", "rich", "urllib3", "werkzeug", "wrapt"),
)


# Which sentences of a docstring are prose -----------------------------------------------------------------------------

_UNDERLINE = re.compile(r"([=\-~^*\"'#+`])\1{2,}$")
_LISTS = {"parameters", "other parameters", "returns", "return", "yields", "receives", "raises", "warns", "attributes"}
_LISTS |= {
    "methods",
    "arguments",
    "args",
    "keyword arguments",
    "examples",
    "example",
    "see also",
    "references",
    "members",
}
_ROLE = re.compile(r":[a-zA-Z][a-zA-Z:+-]*:`[~!.]?([^`<]*?)(?:\s*<[^>]*>)?`")
_LITERAL = re.compile(r"``([^`]*)``|`([^`<]*?)(?:\s*<[^>]*>)?`_{0,2}")
_EMPHASIS = re.compile(r"\*\*([^*\s][^*]*)\*\*|\*([^*\s][^*]*)\*")
_LABEL = re.compile(r"(?:note|warning|important|caution|tip|deprecated|summary|remark|hint)\s?::?\s+", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z]+(?:['’-][A-Za-z]+)*(?:['’]s?)?(?:/[A-Za-z]+)?|\d[\d.,]*|e\.g|i\.e|a\.k\.a|-")
_UNWANTED = re.compile(
    r"copyright|licen[cs]e|warrant(?:y|ies)|rights reserved|todo\b|fixme|xxx|:param|@|^(?:args|returns?|raises|see) ?:"
    r"|^(?:changed|new|added|deprecated) in |^see (?:also|below)|^note [^t]",
    re.IGNORECASE,
)


def _words(text):
    return frozenset(text.split())


_FINITE = _words(
    "is are was were has have had do does did can could will would shall should must may might cannot let isn't aren't "
    "wasn't weren't hasn't haven't doesn't don't didn't can't couldn't won't wouldn't shouldn't mustn't it's that's "
    "there's you're they're we're you'll it'll"
)
_PRONOUNS = _words("it this we you they these there that i")
# Words that are not verbs although a noun may follow them.
_CLOSED = _words(
    "a an the and or but not no nor so yet for in on at by with without of from to into onto within inside over "
    "under about between through per via like unlike as than if when whenever while where because since until unless "
    "although though that this these those which who whose what how why whether it we you they i its your their our "
    "his her here there given such also then thus hence only just even otherwise instead however once after before "
    "during both either neither all any each every some several most many more less other another same one two first "
    "second last next none true note example useful optional following specified named different various multiple "
    "new be"
)
_BULLET = re.compile(r"(?:[-*+•]|\(?\d+[.)])\s+(?=\S)")


def _paragraphs(docstring):
    """The unindented paragraphs of a docstring, as lists of lines: no code, tables or parameters."""
    lines = [line.rstrip() for line in inspect.cleandoc(docstring).split("\n")]
    paragraph, skipped = [], False
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if line and not line[0].isspace() and len(following) > 2 and _UNDERLINE.match(following.strip()):
            skipped = line.lower().rstrip(":") in _LISTS
            line = ""
        if _UNDERLINE.match(line.strip()):
            line = ""
        bullet = _BULLET.match(line)
        if paragraph and (not line or bullet or skipped):
            yield paragraph
            paragraph = []
        if bullet and not skipped:
            paragraph = ["", line[bullet.end() :]]
        elif paragraph and not paragraph[0]:
            # The lines of a list item are indented below its first line.
            paragraph.append(line.strip() if line[0].isspace() else line)
        elif line and not skipped:
            paragraph.append(line)
    if paragraph:
        yield paragraph


def _plain(sentence):
    """A sentence without the markup of reStructuredText and Markdown, white space squeezed."""
    # Of a name in a role, such as :class:`~package.module.Name`, keep the last part.
    sentence = _ROLE.sub(lambda match: match[1] if " " in match[1] else match[1].rsplit(".", 1)[-1], sentence)
    sentence = _LITERAL.sub(lambda match: match[1] or match[2] or "", sentence)
    sentence = _EMPHASIS.sub(lambda match: match[1] or match[2], sentence)
    return _LABEL.sub("", " ".join(sentence.replace(" -- ", " - ").split()), count=1)


def _is_prose(sentence):
    words = sentence.split()
    if not 3 <= len(words) <= 12 or not re.match(r"[\"'(]?[A-Z]", sentence) or _UNWANTED.search(sentence):
        return False
    if re.search(r"(?:^|\s)[.,;:]|::", sentence) or not re.search(r"[a-z0-9\"')]{2}[.?!]['\")]?$", sentence):
        return False
    if re.search(r"[A-Za-z]{2}[.?!] [a-z]", sentence):
        return False
    if sentence.count("(") != sentence.count(")") or sentence.count('"') % 2:
        return False
    bare = [word.strip("\"'(),.;:?!“”‘’") for word in words]
    names = sum(1 for word in bare if re.search(r"[a-zA-Z][A-Z]|\d", word))
    return all(_WORD.fullmatch(word) for word in bare) and 5 * names <= len(words) + 2


def _docstrings(path):
    """The docstrings of a source file; none if this Python cannot parse it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return
    # Walk statements only: expressions are nine tenths of a tree and hold no docstrings.
    nodes = [tree]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node, clean=False)
            if text:
                yield text
        for field in ("body", "orelse", "finalbody", "handlers"):
            nodes.extend(part for part in getattr(node, field, ()) if isinstance(part, ast.stmt | ast.excepthandler))


def _candidates(docstring):
    for paragraph in _paragraphs(docstring):
        # Indented lines are code or continue a list; the text before them may still be whole sentences.
        margin = next(
            (i for i, line in enumerate(paragraph) if line[:1].isspace() or line.startswith((">>>", "```"))), None
        )
        pieces = split_sentences(" ".join(paragraph[:margin]))
        for piece in pieces:
            sentence = _plain(piece)
            if _is_prose(sentence):
                yield sentence


def _verbs(sentences):
    """The verbs of a corpus, found by how they are used, as (base forms, forms with -s)."""
    counts = collections.Counter()
    for sentence in sentences:
        # "... must acquire", and "Acquire the ..." at the head of a sentence.
        counts.update(
            re.findall(r"\b(?:can|cannot|could|will|would|should|must|may|might)(?: not)? ([a-z]{2,})\b", sentence)
        )
        head = re.match(r"([A-Z][a-z]+) (?:a|an|the|this|all|any|each|one|two|its|whether|if|these|every)\b", sentence)
        counts.update([head[1].lower()] if head else ())
    common = {word for word, count in counts.items() if count >= 2 and not word.endswith(("ly", "ed", "ing"))} - _CLOSED
    bases = {
        word for word in common if not (word.endswith("s") and not word.endswith("ss")) or third_person(word) in common
    }
    return bases, {third_person(word) for word in bases} | (common - bases)


def _has_verb(sentence, bases, thirds):
    # "Base class for filters." is a heading: a sentence begins with its verb or has a finite one.
    words = [word.strip("\"'(),.;:?!") for word in sentence.lower().split()]
    if words[0] in _PRONOUNS or not _FINITE.isdisjoint(words):
        return True
    if (words[0] in bases or words[0] in thirds) and words[1] != "of":
        return True
    subjects = _PRONOUNS | {"which", "who", "also", "then", "only", "what"}
    return any(
        word in thirds and following != "of" and (before in subjects or before not in _CLOSED)
        for before, word, following in zip(words[1:], words[2:], words[3:], strict=False)
    )


def sentences():
    """Reads English sentences of 3 to 12 words from the docstrings of the standard library and of the requirements.

    Returns:
        list of str in a fixed random order, without duplicates (ignoring case, digits and punctuation).
    """
    from pydoc_data.topics import topics

    seen = {}
    docstrings = [text for _, text in sorted(topics.items())]
    for path in source_files(("", *PACKAGES)):
        docstrings.extend(_docstrings(path))
    for docstring in docstrings:
        for sentence in _candidates(docstring):
            seen.setdefault(" ".join(re.findall(r"[a-z]+", sentence.lower())), sentence)
    bases, thirds = _verbs(seen.values())
    kept = [sentence for sentence in seen.values() if _has_verb(sentence, bases, thirds)]
    random.Random(0).shuffle(kept)
    return kept
