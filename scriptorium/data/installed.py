"""Text from the packages installed with this Python: source files and single lines of code, with a cache.

Sources are parsed with `ast` and never imported. Their text depends on the versions of the packages, so these are part
of the key in the cache.
"""

import ast
import hashlib
import importlib.metadata
import importlib.util
import os
import pathlib
import platform
import random
import re
import sys
import sysconfig
import tempfile
import warnings

from scriptorium.streams import note

CACHE_NAME = "scriptorium"
_TESTS = {"test", "tests", "testing", "idle_test"}


def code_lines(longest=60):
    """Reads single lines of the standard library that parse as Python on their own.

    Args:
        longest: characters; longer lines are left out.

    Returns:
        list of str without indentation or duplicates, in a fixed random order. Comments, text within strings and
        expressions that do nothing (a name, a number) are left out.
    """
    lines = {}
    for path in source_files(("",)):
        try:
            source = path.read_bytes()
            tree = ast.parse(source)
            rows = source.decode().replace("\r\n", "\n").split("\n")
        except (SyntaxError, ValueError, OSError):
            continue
        strings = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
        quoted = {
            row for node in strings if node.end_lineno > node.lineno for row in range(node.lineno, node.end_lineno + 1)
        }
        for row, line in enumerate(rows, 1):
            if row not in quoted and 2 < len(line.strip()) <= longest:
                lines[line.strip()] = None
    kept = [line for line in lines if is_python(line)]
    random.Random(0).shuffle(kept)
    return kept


def is_python(line):
    """Whether a line is, on its own, Python code that does something."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            body = ast.parse(line).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    idle = (
        ast.Constant,
        ast.Name,
        ast.Tuple,
        ast.Attribute,
        ast.BinOp,
        ast.BoolOp,
        ast.Compare,
        ast.UnaryOp,
        ast.JoinedStr,
    )
    return bool(body) and not any(isinstance(node, ast.Expr) and isinstance(node.value, idle) for node in body)


def source_files(packages):
    """Lists the Python files of installed packages ("" is the standard library), without tests, in a fixed order."""
    files = []
    for package in packages:
        root = _folder(package)
        if root is None:
            continue
        for path in sorted(root.rglob("*.py"), key=lambda path: path.relative_to(root).parts):
            parts = path.relative_to(root).parts
            if not package and parts[0].removesuffix(".py") not in sys.stdlib_module_names:
                continue
            if not _TESTS & set(parts) and not re.search(r"^test_|_test\.py$", path.name):
                files.append(path)
    return files


def _folder(package):
    if not package:
        return pathlib.Path(sysconfig.get_path("stdlib"))
    spec = importlib.util.find_spec(package)
    return pathlib.Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None


def _versions(packages):
    distributions = importlib.metadata.packages_distributions()
    versions = [f"python {platform.python_version()}"]
    for package in packages:
        for name in sorted(set(distributions.get(package, ()))):
            versions.append(f"{package} {name} {importlib.metadata.version(name)}")
    return versions


def _cache_folder():
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path("~/.cache").expanduser()
    for folder in (pathlib.Path(home) / CACHE_NAME, pathlib.Path(tempfile.gettempdir()) / CACHE_NAME):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    return None


def cached(name, packages, make, *modules):
    """Returns the texts of `make()`, from the cache if they were read with the same versions of all packages.

    Args:
        name: str, for the file's name.
        packages: import names of the packages that `make` reads, in addition to the standard library.
        make: function without arguments that returns a list of one-line str; its source file is part of the key.
        modules: other modules of the project that it uses; so are theirs.

    Returns:
        list of str. A damaged cache is rebuilt; if none can be written, the texts are read again each time.
    """
    sources = [make.__code__.co_filename, __file__, *(module.__file__ for module in modules)]
    key = [name, *_versions(packages), *(pathlib.Path(source).read_text("utf-8") for source in sources)]
    folder = _cache_folder()
    path = folder and folder / f"{name}-{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}.txt"
    try:
        head, _, body = path.read_bytes().partition(b"\n") if path else (b"", b"", b"")
        if head.decode() == hashlib.sha256(body).hexdigest():
            return body.decode().split("\n")
    except (OSError, UnicodeDecodeError):
        pass
    note(f"Preparing {name} (once, about half a minute) ...")
    texts = make()
    if path:
        _write(path, "\n".join(texts).encode())
    return texts


def _write(path, body):
    # Under another name first, so that nobody reads half a file.
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
