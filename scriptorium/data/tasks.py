"""The named corpora: built in, or downloaded once through NLTK.

The tasks in BUILT_IN need no download. The others are read from NLTK's folders (the environment variable NLTK_DATA
adds one), and downloaded to them if they are not there.
"""

import contextlib
import html
import importlib
import io
import pkgutil
import random
import re
import socket
import warnings
import zipfile

from scriptorium import UserError
from scriptorium.data import digits, installed, pydocs
from scriptorium.data.scenes import english
from scriptorium.data.textfiles import split_sentences

TASKS = {
    "pydocs": "English sentences from the documentation of Python and its packages (no download)",
    "pylines": "single lines of Python code, 60 characters at most (no download)",
    "names": "first names of 31 languages, as characters, labeled (no download)",
    "scenes": "everyday sentences from a grammar, the same everywhere, of known probability (no download)",
    "alice": "sentences of Alice in Wonderland (NLTK)",
    "shakespeare": "sentences of eight plays by Shakespeare (NLTK)",
    "treebank": "sentences of the Wall Street Journal, a tenth of the Penn Treebank (NLTK)",
    "brown": "sentences of the Brown corpus, American English of 1961 (NLTK)",
    "genesis": "sentences of the book of Genesis, King James and World English Bible (NLTK)",
    "headlines": "Reuters headlines, labeled with their topic (NLTK)",
    "sinica": "Chinese sentences, split into words (NLTK)",
    "digits": "handwritten digits drawn in characters, labeled (MNIST, downloaded once by Keras)",
}
BUILT_IN = ("pydocs", "pylines", "names", "scenes")


def read_task(task, rows=9, direction="down"):
    """Reads a named corpus.

    Args:
        task: key of TASKS; but `scenes.read` reads the task scenes, which has splits of its own.
        rows, direction: of the texts of `digits`.

    Returns:
        (texts, labels): lists of str of the same length; labels is None if the corpus has none.

    Raises:
        UserError: a corpus that cannot be downloaded, or is damaged.
    """
    if task == "pydocs":
        return installed.cached("pydocs", pydocs.PACKAGES, pydocs.sentences, english), None
    if task == "pylines":
        return installed.cached("pylines", (), installed.code_lines), None
    if task == "names":
        return _names()
    if task == "digits":
        return digits.texts(*digits.fetch(), rows, direction)
    return _from_nltk(task)


def running(task):
    """Returns the text of a task in its original layout, str; None for a task of separate texts."""
    if task not in ("alice", "shakespeare", "genesis"):
        return None
    return _from_nltk(task, _RUNNING)


def _names(least=300, most=500):
    """First names and languages that have `least` names in faker; at most `most` of each, spread over the alphabet."""
    from faker.providers import person

    names = {}
    for module in pkgutil.iter_modules(person.__path__):
        language, _, country = module.name.partition("_")
        # English locales of Asia and Africa hold names of other languages; some hold only a placeholder (John, Jane).
        if language == "en" and country not in ("", "US", "GB", "IE", "NZ", "CA", "AU"):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            provider = importlib.import_module(f"{person.__name__}.{module.name}").Provider(None)
        first_names = {str(name).strip() for name in provider.first_names}
        names.setdefault(language, set()).update(
            first_names - {"John", "Jane"} if len(first_names) < 3 else first_names
        )
    pairs = []
    for language, first_names in sorted(names.items()):
        if len(first_names) >= least:
            chosen = sorted(first_names)
            chosen = [chosen[i * len(chosen) // most] for i in range(most)] if len(chosen) > most else chosen
            pairs.extend((name, language) for name in chosen)
    random.Random(0).shuffle(pairs)
    return [name for name, _ in pairs], [language for _, language in pairs]


def _from_nltk(task, readers=None):
    import nltk

    package = {"alice": "gutenberg", "sinica": "sinica_treebank", "headlines": "reuters"}.get(task, task)
    fetch = f"python -m nltk.downloader {package}"
    if not (_is_here(package) or _download(package)):
        raise UserError(
            f"The corpus {task} cannot be downloaded now: run `{fetch}` with a network connection,"
            f" or use a task that needs none: {', '.join(BUILT_IN)}."
        )
    corpus = getattr(nltk.corpus, package)
    try:
        return (readers or _NLTK_READERS)[task](corpus)
    except (LookupError, OSError, ValueError, SyntaxError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())[:100]
        raise UserError(f"NLTK's copy of {package} cannot be read ({reason}); download it again: {fetch}") from None


def _is_here(package):
    import nltk

    for name in (package, f"{package}.zip"):
        with contextlib.suppress(LookupError, OSError, zipfile.BadZipFile):
            return bool(nltk.data.find(f"corpora/{name}"))
    return False


def _download(package):
    import nltk

    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(20)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return bool(nltk.download(package, quiet=True, print_error_to=io.StringIO())) and _is_here(package)
    except (OSError, ValueError):
        return False
    finally:
        socket.setdefaulttimeout(timeout)


def _prose(text):
    """The sentences of running text whose paragraphs are separated by blank lines."""
    pieces = (piece for paragraph in re.split(r"\n\s*\n", text) for piece in split_sentences(paragraph))
    return [" ".join(piece.split()) for piece in pieces if piece.strip()]


def _joined(sentences):
    """Sentences from lists of words, detokenized."""
    from nltk.tokenize.treebank import TreebankWordDetokenizer

    join = TreebankWordDetokenizer().detokenize
    return [join(words) for words in sentences if words]


def _alice(corpus):
    return _prose(corpus.raw("carroll-alice.txt")), None


def _speeches(corpus):
    """The speeches of all plays: (speaker, list of lines)."""
    for file in corpus.fileids():
        for speech in corpus.xml(file).iter("SPEECH"):
            # Skip stage directions inside a line: the speech is the line's text and the text after each of them.
            lines = [" ".join([line.text or "", *(part.tail or "" for part in line)]) for line in speech.iter("LINE")]
            yield speech.findtext("SPEAKER") or "", [" ".join(line.split()) for line in lines]


def _shakespeare(corpus):
    return [text for _, lines in _speeches(corpus) for text in _prose(" ".join(lines))], None


def _shakespeare_in_lines(corpus):
    return "\n".join(f"{speaker}:\n{chr(10).join(lines)}\n" for speaker, lines in _speeches(corpus))


def _treebank(corpus):
    brackets = {"-LRB-": "(", "-RRB-": ")", "-LCB-": "{", "-RCB-": "}"}
    sentences = corpus.tagged_sents()
    return _joined([[brackets.get(word, word) for word, tag in words if tag != "-NONE-"] for words in sentences]), None


def _brown(corpus):
    return installed.cached("brown", ("nltk",), lambda: _joined(corpus.sents())), None


def _genesis(corpus):
    return [text for file in ("english-kjv.txt", "english-web.txt") for text in _prose(corpus.raw(file))], None


def _headlines(corpus):
    files = corpus.fileids()
    titles = [" ".join(html.unescape(corpus.raw(file).split("\n", 1)[0]).split()) for file in files]
    return titles, [corpus.categories(file)[0] for file in files]


def _sinica(corpus):
    return [" ".join(words) for words in corpus.sents() if words], None


_RUNNING = {
    "alice": lambda corpus: corpus.raw("carroll-alice.txt").replace("\r\n", "\n"),
    "shakespeare": _shakespeare_in_lines,
    "genesis": lambda corpus: corpus.raw("english-kjv.txt") + "\n" + corpus.raw("english-web.txt"),
}
_NLTK_READERS = {
    "alice": _alice,
    "shakespeare": _shakespeare,
    "treebank": _treebank,
    "brown": _brown,
    "genesis": _genesis,
    "headlines": _headlines,
    "sinica": _sinica,
}
