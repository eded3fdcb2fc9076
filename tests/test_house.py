"""The laws of the house that a program can check: which files there are, what imports what, how long things are."""

import ast
import re
import subprocess
import sys
import tomllib

from scriptorium import ROOT

import pytest

MODELS = {"chars", "words", "sentences", "names_vae", "transformer_vae", "text_gan"}
TOOLS = {"homotopy", "demo", "score", "compare", "share"}
# From the bottom up: a folder imports from itself and from those in lines before its own.
FLOORS = (
    {"scriptorium"},
    {"streams"},
    {"nn", "scores", "command_line", "pictures"},
    {"data"},
    {"training", "decoding"},
    {"vae"},
    {"names_vae", "transformer_vae", "text_gan"},
    {"web"},
)
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}
PACKAGE = sorted((ROOT / "scriptorium").rglob("*.py"))
SCRIPTS = sorted(ROOT.glob("*.py"))
LINES = {"text_gan.py": 750}
# `scriptorium.load` imports this one inside the function.
LAZY = ("scriptorium/__init__.py", "scriptorium.training.trained")
SCRIPT_LINES, MODULE_LINES, FUNCTION_LINES = 550, 300, 60


def named(path):
    return str(path.relative_to(ROOT))


def imports(path):
    """Returns the full names of all modules that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{named(path)} has a relative import"
            for alias in node.names:
                inner = ROOT / node.module.replace(".", "/") / alias.name
                is_module = inner.is_dir() or inner.with_suffix(".py").is_file()
                found.add(f"{node.module}.{alias.name}" if is_module else node.module)
    return found


def room(module):
    """Returns the folder, or the file next to the folders, of a module of the package."""
    return [*module.split("."), "scriptorium"][1]


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_the_root_holds_the_scripts_and_no_other_python_file():
    assert {path.stem for path in SCRIPTS} == MODELS | TOOLS | {"util"}


def test_every_room_has_its_floor():
    rooms = {room(module_of(path)) for path in PACKAGE}
    assert rooms == set(FLOOR)
    assert all((folder / "__init__.py").is_file() for folder in {path.parent for path in PACKAGE})


@pytest.mark.parametrize("path", PACKAGE, ids=named)
def test_the_package_imports_downwards(path):
    here = room(module_of(path))
    for module in imports(path):
        top = module.split(".")[0]
        assert top not in MODELS | TOOLS | {"util", "tests"}, f"{named(path)} imports {module}, which is above it"
        if top == "scriptorium" and (named(path), module) != LAZY:
            there = room(module)
            allowed = there == here or FLOOR[there] < FLOOR[here]
            assert allowed, f"{named(path)} imports {module}, which is not below {here}"


@pytest.mark.parametrize("script", sorted(TOOLS))
def test_a_wrong_option_is_refused_before_keras_is_loaded(script):
    command = [sys.executable, "-X", "importtime", str(ROOT / f"{script}.py"), "--nope"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "there is no option --nope" in done.stderr
    loaded = {line.split("|")[-1].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert "scriptorium" in loaded and not loaded & {"keras", "tensorflow", "jax", "torch"}


def test_no_module_imports_itself_by_way_of_others():
    modules = {module_of(path): {m for m in imports(path) if m.startswith("scriptorium")} for path in PACKAGE}
    done, way = set(), []

    def visit(module):
        assert module not in way, f"a circle: {' -> '.join([*way[way.index(module) :], module])}"
        if module in done or module not in modules:
            return
        way.append(module)
        for other in sorted(modules[module] - {"scriptorium"}):
            visit(other)
        done.add(way.pop())

    for module in sorted(modules):
        visit(module)


def test_scripts_import_no_script_but_util():
    for path in SCRIPTS:
        assert not {module.split(".")[0] for module in imports(path)} & (MODELS | TOOLS), named(path)
    util = next(path for path in SCRIPTS if path.stem == "util")
    assert "util" not in imports(util)


def test_scripts_are_loaded_by_a_fixed_list_alone():
    loading = [
        path for path in [*PACKAGE, *SCRIPTS] if re.search(r"\bimport_module\(|__import__\(", path.read_text("utf-8"))
    ]
    # faker's lists of names are modules too: tasks.py loads those, by names that pkgutil finds.
    assert {named(path) for path in loading} == {"scriptorium/training/trained.py", "scriptorium/data/tasks.py"}
    from scriptorium.training import trained

    assert set(trained.SCRIPTS) <= MODELS


@pytest.mark.parametrize("path", [*SCRIPTS, *PACKAGE], ids=named)
def test_nothing_is_too_long(path):
    text = path.read_text("utf-8")
    most = LINES.get(named(path), SCRIPT_LINES if path in SCRIPTS else MODULE_LINES)
    assert text.count("\n") <= most, f"{named(path)} has {text.count(chr(10))} lines, more than {most}"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = node.end_lineno - node.lineno + 1
            assert lines <= FUNCTION_LINES, f"{named(path)}: {node.name} has {lines} lines, more than {FUNCTION_LINES}"


@pytest.mark.parametrize("path", [*SCRIPTS, *PACKAGE], ids=named)
def test_no_layer_hides_what_torch_calls(path):
    # On torch a layer is a torch.nn.Module, whose methods these are.
    taken = {"forward", "train", "eval", "to", "type", "float", "half", "double", "parameters", "modules", "children"}
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ClassDef) and any(
            ast.unparse(base).endswith(("Layer", "Model")) for base in node.bases
        ):
            stored = {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute) and _is_stored(part)}
            assert not stored & taken, f"{named(path)}: {node.name} has an attribute {stored & taken}"


def _is_stored(node):
    return isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name) and node.value.id == "self"


def test_both_ways_to_install_ask_for_the_same():
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    wanted = [line for line in lines if line and not line.startswith("#")]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["dependencies"] == wanted and project["name"] == "scriptorium"


def test_what_the_package_reads_is_installed_with_it():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["package-data"]
    installed = {
        path for package, patterns in settings.items() for pattern in patterns
        for path in ROOT.joinpath(*package.split(".")).glob(pattern)
    }  # fmt: skip
    read = {path for path in (ROOT / "scriptorium").rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert read == installed


def test_pages_are_not_too_long():
    for path in (ROOT / "scriptorium" / "web" / "page").iterdir():
        assert path.read_text("utf-8").count("\n") <= SCRIPT_LINES, named(path)
