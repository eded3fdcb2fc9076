"""The page and its API on untrained runs of four scripts: what each tab asks, and in a browser as a person would."""

import argparse
import json
import re
import shutil
import socket
import threading
import types

from scriptorium import UserError
from scriptorium.data import corpora
from scriptorium.data.vocabulary import Vocabulary
from scriptorium.training import finding, trained
from scriptorium.training.finding import bundled
from scriptorium.web import server
from scriptorium.web.listener import Listener

import keras
import numpy as np
import pytest
from helpers import run_here, write_run

import chars
import demo
import names_vae
import sentences
import transformer_vae

HOST = "127.0.0.1:8000"
RANDOM = np.random.default_rng(3)
LINES = [" ".join(RANDOM.choice(["it", "is", "a", "list", "of", "names", "."], 5)) for _ in range(60)]
NAMES = ["anna", "bo", "carl", "dora", "emil", "fritz", "greta", "hans"]
SMALL = {
    "sentences": (sentences, ["-L", "8", "-E", "8", "-H", "4", "-m", "8", "-g", "8"], "word", {}),
    "names_vae": (
        names_vae,
        ["-L", "16", "-H", "8", "--prior-units", "20", "-m", "9"],
        "char",
        {"labels": {"label_1": ["de", "en"]}, "label_counts": [[1, 3], [2, 5]]},
    ),
    "transformer_vae": (
        transformer_vae,
        ["-L", "12", "--num-heads", "3", "--latent-tokens", "3", "-H", "5", "-m", "20", "--level", "word"],
        "word",
        {},
    ),
    "chars": (chars, ["-L", "8", "-E", "8", "-g", "20"], "char", {}),
}


def make_run(logdir, name):
    """Makes an untrained run as its script would leave it."""
    script, argv, level, more = SMALL[name]
    texts = NAMES if name == "names_vae" else LINES
    (logdir / f"{name}.txt").write_text("\n".join(texts * 8), encoding="utf-8")
    args = vars(script.parse_args([*argv, "-D", str(logdir / f"{name}.txt"), "--dtype", "float32"]))
    options = {k: v for k, v in args.items() if k not in ("given", "groups", "flags", "argv")} | more
    options = json.loads(json.dumps(options, default=str))
    vocabulary = Vocabulary.build(texts, level)
    text = corpora.reload(options, labeled=name == "names_vae")
    corpus = {"name": f"{name}.txt", "fingerprint": text.fingerprint, "description": "toy"}
    keras.config.set_dtype_policy("float32")
    keras.utils.set_random_seed(1)
    write_run(logdir / name / "small", name, options, vocabulary, corpus, script.build(options, vocabulary))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    logdir = tmp_path_factory.mktemp("runs")
    for name in SMALL:
        make_run(logdir, name)
    return logdir


@pytest.fixture(scope="module")
def tools(runs):
    found = {}
    chosen = demo.chosen(demo.parse_args(["-T", str(runs)]))
    for directory in (path for path in chosen if path.is_relative_to(runs)):
        tool = demo.tool_of(trained.load(directory, str(runs), demo.SCRIPTS))
        found[f"{tool.run.script}/{tool.run.name}"] = tool
    return found


@pytest.fixture(scope="module")
def client(tools):
    return server.Server(*demo.answers_of(tools), {HOST}).site.test_client()


def ask(client, name, run, **fields):
    return client.post(f"/api/{name}", json={"run": f"{run}/small", **fields}, headers={"Host": HOST})


def test_runs_are_told_with_what_they_can_do(client, tools):
    rows = client.get("/api/runs", headers={"Host": HOST}).json["runs"]
    assert [row["id"] for row in rows] == list(tools) and {row["kind"] for row in rows} == {"texts", "names", "running"}
    names = next(row for row in rows if row["kind"] == "names")
    assert names["languages"] == ["de", "en"] and len(names["examples"]) == 2


@pytest.mark.parametrize("run", ["sentences", "transformer_vae", "names_vae"])
def test_texts_between_reconstructed_sampled_and_on_the_map(client, tools, run):
    first, second = tools[f"{run}/small"].examples
    ends = {"first": first, "second": second}
    steps = ask(client, "walk", run, **ends, points=3).json["walk"]
    assert [step["share"] for step in steps] == [0, 0.25, 0.5, 0.75, 1]
    for step in steps:
        assert ask(client, "between", run, **ends, share=step["share"]).json["text"] == step["text"]
    assert ask(client, "reconstruct", run, text=first).json["text"] == steps[0]["text"]
    assert len(ask(client, "sample", run, count=3, seed=2).json["texts"]) == 3
    points = ask(client, "map", run).json["points"]
    assert len(points) > 3 and abs(np.mean([x for _, x, _ in points])) < 1e-3
    assert isinstance(ask(client, "text_at", run, x=0.5, y=-1).json["text"], str)


def test_names_of_a_language_near_a_name_and_with_a_beginning(client):
    rows = ask(client, "names", "names_vae", count=5, language="de", prefix="an").json["names"]
    assert len(rows) == 5 and all(row["name"].startswith("an") for row in rows)
    assert all(row["nearest"] in NAMES and row["distance"] >= 0 for row in rows)
    near = [ask(client, "names", "names_vae", count=4, anchor="anna", seed=seed).json for seed in (1, 1, 2)]
    assert near[0] == near[1]
    assert "language must be one of" in ask(client, "names", "names_vae", language="xx").json["error"]
    assert ask(client, "names", "names_vae", anchor="a" * 30).status_code == 400


def test_a_text_is_continued_piece_by_piece(client, tools):
    found = [ask(client, "continue", "chars", prompt="it is", length=20, seed=seed) for seed in (1, 1, 2)]
    first, again, other = (response.get_data(as_text=True) for response in found)
    assert len(first) == 20 and first == again != other
    fields = server.Fields({"prompt": "it", "length": 20})
    assert len(list(tools["chars/small"].complete(fields))) > 1


def test_a_text_that_is_not_the_run_s_own_is_never_served(runs, tools):
    secret = runs / "secret.txt"
    secret.write_text("\n".join(f"secret {i}" for i in range(60)), encoding="utf-8")
    for script in ("sentences", "names_vae"):
        codec = tools[f"{script}/small"].codec
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(codec.run.options, "data", str(secret))
            tool = demo.tool_of(codec)
            assert tool.corpus is None and not any("secret" in text for text in tool.texts())
        if script == "names_vae":
            assert tool.known is None


def test_what_a_run_cannot_do_is_a_sentence(client):
    for response in (
        ask(client, "names", "sentences"),
        ask(client, "between", "chars"),
        ask(client, "continue", "sentences"),
        ask(client, "walk", "other"),
        ask(client, "between", "sentences", first=" ", second="it", share=0),
        ask(client, "sample", "sentences", path="/etc/passwd"),
    ):
        assert response.status_code == 400 and response.json["error"].endswith((".", "'"))


def test_runs_that_fit_are_opened_else_those_that_come_with_the_project(tmp_path, monkeypatch):
    args, ready = argparse.Namespace(run=None, logdir=str(tmp_path)), bundled(demo.SCRIPTS)
    assert demo.chosen(args) == ready and len(ready) == 6
    make_run(tmp_path, "sentences")
    assert demo.chosen(args) == [
        tmp_path / "sentences" / "small",
        *(run for run in ready if run.parent.name != "sentences"),
    ]
    (tmp_path / "sentences" / "small" / "best.safetensors").unlink()
    assert demo.chosen(args) == ready
    monkeypatch.setattr(finding, "PRETRAINED", tmp_path / "none")
    with pytest.raises(UserError, match="no run"):
        demo.chosen(args)


def test_a_taken_port_shows_before_a_run_is_opened(monkeypatch):
    monkeypatch.setattr(demo, "open_tools", lambda *_: pytest.fail("a run was opened"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_here(demo, "--port", port, status=2)
    assert done.stderr.startswith(f"demo.py: error: Cannot serve at 127.0.0.1:{port}") and done.stderr.count("\n") == 1
    for host in ("a" * 70, "::1::1"):
        assert "Cannot serve at" in run_here(demo, "--port", 0, "--host", host, status=2).stderr
    assert "--host is empty" in run_here(demo, "--host", "", status=2).stderr


def test_each_run_has_a_label_of_its_own():
    rows = [("a", "pydocs", False), ("b", "pydocs", False), ("a", "pydocs", False), ("pydocs", "pydocs", True)]
    labels, taken = [], []
    for name, corpus, bundled_run in rows:
        config = {"corpus": {"name": corpus}}
        run = types.SimpleNamespace(script="sentences", name=name, config=config, is_packed=bundled_run)
        taken.append(demo.key_of(run, taken))
        labels.append(demo.label_of(taken[-1], run))
    assert taken == ["sentences/a", "sentences/b", "sentences/a 2", "sentences/pydocs"]
    assert labels == [f"sentences: pydocs{rest}" for rest in (", a", ", b", ", a 2", " (bundled)")]


def test_addresses():
    assert demo.is_loopback("localhost") and demo.is_loopback("127.0.0.2") and demo.is_loopback("::1")
    assert not demo.is_loopback("0.0.0.0") and not demo.is_loopback("example.org")
    assert demo.accepted_hosts("127.0.0.1", 8000) >= {"localhost:8000", "127.0.0.1:8000", "[::1]:8000"}
    assert "127.0.0.1" in demo.accepted_hosts("127.0.0.1", 80)
    assert "127.0.0.1" not in demo.accepted_hosts("127.0.0.1", 8000)
    for everywhere in ("0.0.0.0", "::"):
        assert f"{demo.name_of(everywhere).lower()}:8000" in demo.accepted_hosts(everywhere, 8000)
    assert demo.name_of("::1") == "[::1]" and demo.name_of("127.0.0.1") == "127.0.0.1"


# In a browser --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def page(tools):
    """Yields the page in a Chromium that the system has, with a list of what went wrong in it."""
    browsers = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (requirements-dev.txt)")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not path:
        pytest.skip("no Chromium is installed (apt-get install chromium)")
    for tool in tools.values():
        tool.warm()
    listening = demo.listen("127.0.0.1", 0)
    port = listening.getsockname()[1]
    # A second run of names, so that there is one to choose.
    answers = demo.answers_of(tools | {"names_vae/other": tools["names_vae/small"]})
    site = Listener(server.Server(*answers, demo.accepted_hosts("127.0.0.1", port)).site, listening, server.MAX_BYTES)
    threading.Thread(target=site.run, daemon=True).start()
    with browsers.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.problems = []
        page.on("console", lambda message: page.problems.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.set_default_timeout(60_000)
        browsers.expect.set_options(timeout=60_000)
        page.goto(f"http://127.0.0.1:{port}/")
        page.wait_for_selector("#names-found li")
        yield page
        browser.close()
    site.stop()


def test_each_tab_in_a_browser(page):
    from playwright.sync_api import expect

    for tab in ("names", "texts", "continue", "map"):
        page.click(f"#tab-{tab}")
        assert page.is_visible(f"#panel-{tab}") and page.locator("[role=tabpanel]:visible").count() == 1
        # Nothing is wider than a phone.
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.click("#tab-names")
    expect(page.locator("#names-language option")).to_have_text(["any", "English", "German"])
    expect(page.locator("#names-run option")).to_have_text(
        [f"names_vae: names_vae.txt, {n}" for n in ("small", "other")]
    )
    page.select_option("#names-run", "names_vae/other")
    expect(page.locator("#names-language option")).to_have_text(["any", "English", "German"])
    expect(page.locator("#names-found li")).to_have_count(12)
    page.fill("#names-prefix", "an")
    page.fill("#names-count", "7")
    page.click("#names-form button")
    expect(page.locator("#names-found li")).to_have_count(7)
    assert all(name.startswith("an") for name in page.locator("#names-found strong").all_inner_texts())
    page.click("#names-walk button")
    expect(page.locator("#names-steps li")).to_have_count(11)
    page.click("#tab-texts")
    page.fill("#texts-first", "it is a <b>list</b> .")
    page.locator("#texts-share").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#texts-unknown")).to_contain_text("< b >")
    page.click("#texts-walk")
    expect(page.locator("#texts-found li")).to_have_count(9)
    page.click("#tab-continue")
    assert page.is_hidden("#continue-run")  # there is nothing to choose
    page.fill("#continue-prompt", "it is")
    page.fill("#continue-length", "30")
    page.click("#continue-go")
    expect(page.locator("#continue-text")).to_have_text(re.compile(r"^it is.{30}$", re.DOTALL))
    page.click("#tab-map")
    expect(page.locator("#map-near")).to_contain_text("Nearest dot")
    page.click("#map-canvas", position={"x": 40, "y": 30})
    expect(page.locator("#map-text")).not_to_be_empty()
    assert page.is_hidden("#trouble") and page.problems == []


def test_with_a_keyboard_alone(page):
    from playwright.sync_api import expect

    page.click("#tab-names")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.id") == "tab-texts" and page.is_visible("#panel-texts")
    page.keyboard.press("End")
    assert page.is_visible("#panel-map")
    page.locator("#map-canvas").focus()
    expect(page.locator("#map-near")).to_contain_text("Nearest dot")
    before = page.evaluate("state.cross[0]")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert page.evaluate("state.cross[0]") > before


def test_an_error_is_shown_as_a_sentence(page):
    page.click("#tab-texts")
    page.fill("#texts-first", "\u200b")
    page.dispatch_event("#texts-first", "change")
    page.wait_for_selector("#trouble:visible")
    assert page.inner_text("#trouble").endswith(".")
    page.fill("#texts-first", "it is")
    page.dispatch_event("#texts-first", "change")
    page.wait_for_selector("#trouble", state="hidden")
