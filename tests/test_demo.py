"""The page and its API on untrained runs of five scripts: what each tab asks, and in a browser as a person would."""

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
from scriptorium.text_gan.samples import LIKELIHOOD
from scriptorium.training import finding, storage, trained
from scriptorium.training.finding import bundled
from scriptorium.web import server, watching
from scriptorium.web.listener import Listener

import keras
import numpy as np
import pytest
from helpers import entries_of, run_here, write_run
from test_text_gan import SIZES

import chars
import demo
import names_vae
import sentences
import text_gan
import transformer_vae

HOST = "127.0.0.1:8000"
RANDOM = np.random.default_rng(3)
LINES = [" ".join(RANDOM.choice(["it", "is", "a", "list", "of", "names", "."], 5)) for _ in range(60)]
KINDS = {"texts", "names", "running", "samples"}
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
    "text_gan": (text_gan, [*SIZES, "-m", "12"], "word", {}),
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
    return server.Server(*demo.answers_of(entries_of(tools)), {HOST}).site.test_client()


def ask(client, name, run, **fields):
    return client.post(f"/api/{name}", json={"run": f"{run}/small", **fields}, headers={"Host": HOST})


def test_runs_are_told_with_what_they_can_do(client, tools):
    rows = client.get("/api/runs", headers={"Host": HOST}).json["runs"]
    assert [row["id"] for row in rows] == list(tools) and {row["kind"] for row in rows} == KINDS
    names = next(row for row in rows if row["kind"] == "names")
    assert names["languages"] == ["de", "en"] and len(names["examples"]) >= 2
    assert all(row["state"] == "ready" for row in rows)


@pytest.mark.parametrize("run", ["sentences", "transformer_vae", "names_vae"])
def test_texts_between_reconstructed_sampled_and_on_the_map(client, tools, run):
    first, second = tools[f"{run}/small"].examples[:2]
    ends = {"first": first, "second": second}
    steps = ask(client, "walk", run, **ends, points=3).json["walk"]
    assert [step["share"] for step in steps] == [0, 0.25, 0.5, 0.75, 1]
    assert [steps[0]["text"], steps[-1]["text"]] == [first, second] and all(step["log_prob"] < 0 for step in steps)
    for step in steps[1:-1]:
        assert ask(client, "between", run, **ends, share=step["share"]).json["text"] == step["text"]
    again = ask(client, "reconstruct", run, text=first).json["text"]
    assert again == ask(client, "between", run, **ends, share=0).json["text"]
    assert len(ask(client, "sample", run, count=3, seed=2).json["texts"]) == 3
    drawn = ask(client, "map", run).json
    points, columns = drawn["points"], drawn["columns"]
    assert len(points) > 3 and abs(np.mean([x for _, x, _ in points])) < 1e-3
    assert columns and all(len(values) == len(points) for values in columns.values())
    assert ("alphabet" in columns) == (run == "names_vae")
    # The ends of the walk lie where the map shows their texts, and there the code is that of the text.
    place = {text: (x, y) for text, x, y in points}
    assert place[first] == pytest.approx((steps[0]["x"], steps[0]["y"]), abs=1e-3)
    there = ask(client, "text_at", run, x=place[first][0], y=place[first][1]).json
    assert there == {"text": again, "near": first}


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
    told = ask(client, "continue", "chars", prompt="it is", length=20, seed=1, alternatives=3)
    tokens = [json.loads(line) for line in told.get_data(as_text=True).splitlines()]
    assert "".join(token["text"] for token in tokens) == first and len(tokens) == 20
    assert all(0 < token["p"] <= token["likely"][0][1] <= 1 and len(token["likely"]) == 3 for token in tokens)


@pytest.mark.parametrize("run", ["sentences", "transformer_vae", "names_vae", "chars", "text_gan"])
def test_samples_say_which_ones_the_training_text_has(client, run):
    found = [ask(client, "sample", run, count=5, seed=3, temperature=1.0).json for _ in range(2)]
    assert found[0] == found[1] and len(found[0]["texts"]) == 5
    assert set(found[0]["seen"]) <= ({None} if run == "chars" else {True, False})
    assert found[0]["valid"] == [None] * 5
    assert ask(client, "sample", run, count=5, temperature=2.1).status_code == 400


def test_a_text_is_seen_whatever_its_case_and_spaces(tools, monkeypatch):
    tool = tools["text_gan/small"]
    written = [LINES[0].upper(), LINES[1].replace(" ", "  "), "no such line"]
    monkeypatch.setattr(tool.sampler, "sample", lambda *args, **settings: written)
    assert tool.sample(server.Fields({"count": 3}))["seen"] == [True, True, False]


def test_the_weights_before_the_critic_write_too(runs, client, tools):
    before = ask(client, "sample", "text_gan", likelihood=True)
    assert before.status_code == 400 and "has not kept" in before.json["error"]
    directory = runs / "text_gan" / "small"
    facts, arrays = storage.load_arrays(directory / "best.safetensors")
    # Other weights, which write other words.
    other = {
        name: array + RANDOM.normal(size=array.shape).astype("float32") if array.dtype == "float32" else array
        for name, array in arrays.items()
    }
    storage.save_arrays(directory / LIKELIHOOD, facts, other)
    tool = demo.tool_of(trained.load(directory, str(runs), demo.SCRIPTS))
    assert tool.about() == {"likelihood": True}
    before, after = (tool.sample(server.Fields({"count": 9, "likelihood": which}))["texts"] for which in (True, False))
    assert before != after
    (directory / LIKELIHOOD).unlink()


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
    assert demo.chosen(args) == ready and len(ready) == 7
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
    monkeypatch.setattr(demo, "Opening", lambda *_: pytest.fail("a run was opened"))
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
        about = types.SimpleNamespace(
            script="sentences", name=name, corpus=corpus, is_packed=bundled_run, test={"bleu_4": 0.25},
            main_validation={}, score={"bleu_4": 0.25}.get,
        )  # fmt: skip
        taken.append(demo.key_of(about, taken))
        labels.append(demo.label_of(taken[-1], about))
    assert taken == ["sentences/a", "sentences/b", "sentences/a 2", "sentences/pydocs"]
    assert labels == [
        f"sentences: pydocs{rest}"
        for rest in (
            *(", a, bleu_4 0.2500", ", b, bleu_4 0.2500", ", a 2, bleu_4 0.2500", ", bleu_4 0.2500 (bundled)"),
        )
    ]


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
def browser(tools, runs):
    """Yields a Chromium that the system has; its `address` is that of a page with all small runs."""
    browsers = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (requirements-dev.txt)")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not path:
        pytest.skip("no Chromium is installed (apt-get install chromium)")
    for tool in tools.values():
        tool.warm()
    listening = demo.listen("127.0.0.1", 0)
    port = listening.getsockname()[1]
    # A second run of names, so that there is one to choose.
    answers = demo.answers_of(entries_of(tools | {"names_vae/other": tools["names_vae/small"]}), runs)
    site = Listener(server.Server(*answers, demo.accepted_hosts("127.0.0.1", port)).site, listening, server.MAX_BYTES)
    threading.Thread(target=site.run, daemon=True).start()
    with browsers.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        browser.address = f"http://127.0.0.1:{port}/"
        browsers.expect.set_options(timeout=60_000)
        yield browser
        browser.close()
    site.stop()


@pytest.fixture
def page(browser):
    """Yields a page of its own for each test, on a phone; nothing may go wrong in it."""
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.problems = []
    page.on("console", lambda message: page.problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.set_default_timeout(60_000)
    page.goto(browser.address)
    page.wait_for_selector("#names-found li")
    yield page
    page.close()
    assert page.problems == []


def test_each_tab_in_a_browser(page):
    from playwright.sync_api import expect

    for tab in ("names", "texts", "continue", "samples", "map", "training"):
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
    # Equal neighbors are one row with a count, and the ends stay as typed.
    expect(page.locator("#texts-found li").first).to_contain_text("it is a <b>list</b> .")
    counts = [
        int(text.strip(" ×")) for text in page.locator("#texts-found li > small").all_inner_texts() if "×" in text
    ]
    assert page.locator("#texts-found li").count() + sum(counts) - len(counts) == 11
    page.click("#tab-continue")
    assert page.is_hidden("#continue-run")  # there is nothing to choose
    page.fill("#continue-prompt", "it is")
    page.fill("#continue-length", "30")
    page.click("#continue-go")
    expect(page.locator("#continue-text")).to_have_text(re.compile(r"^it is.{30}$", re.DOTALL))
    page.click("#tab-samples")
    expect(page.locator("#samples-found li")).to_have_count(10)
    page.fill("#samples-count", "4")
    page.select_option("#samples-other", "sentences/small")
    expect(page.locator("#samples-other-found li")).to_have_count(4)
    expect(page.locator("#samples-other-summary")).to_contain_text("of 4 are in the training text")
    assert page.input_value("#samples-run") == "text_gan/small"
    page.click("#tab-map")
    expect(page.locator("#map-near")).to_contain_text("Decoded near the code of")
    page.click("#map-canvas", position={"x": 40, "y": 30})
    expect(page.locator("#map-text")).not_to_be_empty()
    assert page.locator("#map-legend li").count() >= 1
    assert page.is_hidden("#trouble")


def test_each_token_shows_what_the_model_expected(page):
    from playwright.sync_api import expect

    page.click("#tab-continue")
    page.fill("#continue-prompt", "it is")
    page.fill("#continue-length", "12")
    page.click("#continue-go")
    tokens, likely = page.locator("#continue-text span"), page.locator("#continue-likely button")
    expect(tokens).to_have_count(12)
    assert all(re.fullmatch("p[0-4]", kind) for kind in tokens.evaluate_all("all => all.map((one) => one.className)"))
    tokens.nth(4).hover()
    expect(likely).to_have_count(4)
    tokens.nth(2).click()
    tokens.nth(7).hover()  # on the way to the alternatives, the pointer crosses other tokens
    expect(page.locator("#continue-text span.here")).to_have_text(tokens.nth(2).inner_text())
    tokens.nth(4).click()
    page.locator("#continue-text").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#continue-text span.here")).to_have_text(tokens.nth(5).inner_text())
    kept = "".join(tokens.nth(i).inner_text() for i in range(5))
    instead = likely.nth(1).inner_text().split(" ")[0].replace("␣", " ").replace("↵", "\n")
    likely.nth(1).click()
    expect(page.locator("#continue-text b")).to_have_text("it is" + kept + instead)
    expect(tokens).to_have_count(12)


def test_with_a_keyboard_alone(page):
    from playwright.sync_api import expect

    page.click("#tab-names")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.id") == "tab-texts" and page.is_visible("#panel-texts")
    page.keyboard.press("End")
    assert page.is_visible("#panel-training")
    page.keyboard.press("ArrowLeft")
    assert page.is_visible("#panel-map")
    page.locator("#map-canvas").focus()
    expect(page.locator("#map-near")).to_contain_text("Decoded near the code of")
    before = float(page.input_value("#map-x"))
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert float(page.input_value("#map-x")) > before


def test_a_checker_of_accessibility_finds_nothing(page):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="see requirements-dev.txt").Axe()
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        for tab in ("names", "texts", "continue", "samples", "map", "training"):
            page.click(f"#tab-{tab}")
            found = axe.run(page).response["violations"]
            assert [(tab, one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []


def test_an_error_is_shown_as_a_sentence(page):
    page.click("#tab-texts")
    page.fill("#texts-first", "\u200b")
    page.dispatch_event("#texts-first", "change")
    page.wait_for_selector("#trouble:visible")
    assert page.inner_text("#trouble").endswith(".")
    page.fill("#texts-first", "it is")
    page.dispatch_event("#texts-first", "change")
    page.wait_for_selector("#trouble", state="hidden")
    assert "400" in page.problems.pop()  # which the browser reports by itself


def address_of(page):
    return page.evaluate("location.href")


def test_an_address_brings_the_same_state_back(page):
    from playwright.sync_api import expect

    page.click("#tab-texts")
    page.fill("#texts-first", "it is a list")
    page.fill("#texts-second", "of names")
    page.select_option("#texts-other", "transformer_vae/small")
    expect(page.locator("#texts-other-found li").first).to_contain_text("it is a list")
    page.locator("#texts-share").fill("70")  # now the field of the second text is left, whose walk is already there
    expect(page.locator("#texts-found li").first).to_contain_text("it is a list")
    address = address_of(page)
    assert "tab=texts" in address and "share=70" in address and "other=transformer_vae" in address
    other = page.context.browser.new_page()
    other.goto(address)
    expect(other.locator("#texts-other-found li").last).to_contain_text("of names")
    values = {name: other.input_value(f"#texts-{name}") for name in ("first", "second", "share", "other")}
    assert values == {"first": "it is a list", "second": "of names", "share": "70", "other": "transformer_vae/small"}
    # Both show the same text, once both have been answered.
    for _ in range(100):
        texts = [one.inner_text("#texts-found") + one.inner_text("#texts-between") for one in (page, other)]
        if texts[0] == texts[1]:
            break
        page.wait_for_timeout(100)
    assert texts[0] == texts[1] != ""
    other.close()


def test_without_two_texts_nothing_old_is_left(page):
    from playwright.sync_api import expect

    page.click("#tab-texts")
    page.fill("#texts-first", "it is a list")
    page.click("#texts-walk")
    expect(page.locator("#texts-found li").first).to_be_visible()
    page.fill("#texts-first", " ")
    page.dispatch_event("#texts-first", "change")
    expect(page.locator("#texts-unknown")).to_have_text("Enter a first and a second text.")
    assert page.inner_text("#texts-between") == "" and page.locator("#texts-found li").count() == 0
    page.fill("#texts-first", "שלום a list")
    page.click("#texts-walk")
    expect(page.locator("#texts-found bdi").first).to_have_text("שלום a list")
    # Text from right to left turns itself around, and nothing else.
    assert page.locator("#texts-first").evaluate("one => one.matches(':dir(rtl)')")
    assert page.locator("#texts-found li").first.evaluate("one => one.matches(':dir(ltr)')")


def test_a_walk_plays_and_goes_into_a_file(page):
    from playwright.sync_api import expect

    page.click("#tab-texts")
    page.click("#texts-dice")
    expect(page.locator("#texts-found li")).to_have_count(0)  # nothing stays that belongs to other texts
    page.click("#texts-play")
    expect(page.locator("#texts-play")).to_have_text("Stop")
    expect(page.locator("#texts-share-shown")).to_have_text("30%", timeout=20_000)
    page.click("#texts-play")
    with page.expect_download() as csv:
        page.click("#texts-export button:has-text('CSV')")
    lines = csv.value.path().read_text("utf-8").splitlines()
    assert lines[0] == "run,share,text,log_prob,x,y,valid" and len(lines) == 12
    page.click("#texts-examples button >> nth=0")
    expect(page.locator("#texts-between")).not_to_be_empty()


def test_a_walk_is_drawn_between_two_dots_of_the_map(page):
    from playwright.sync_api import expect

    page.click("#tab-map")
    expect(page.locator("#map-near")).to_contain_text("Decoded near the code of")
    page.check("#map-mode")
    box = page.locator("#map-canvas").bounding_box()
    for x, y in ((0.2, 0.3), (0.8, 0.6)):
        page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
    expect(page.locator("#map-steps li")).to_have_count(9)
    page.uncheck("#map-mode")
    expect(page.locator("#map-steps li")).to_have_count(0)


def test_names_at_random_say_what_counts(page):
    from playwright.sync_api import expect

    page.click("#tab-names")
    before = page.input_value("#names-seed")
    page.click("#names-dice")
    expect(page.locator("#names-seed")).not_to_have_value(before)
    page.fill("#names-prefix", "an")
    page.fill("#names-anchor", "anna")
    page.dispatch_event("#names-anchor", "change")
    expect(page.locator("#names-hint")).to_contain_text("the beginning is kept")
    page.fill("#names-anchor", "")
    page.dispatch_event("#names-anchor", "change")


def test_the_page_is_there_before_its_models(tools, tmp_path):
    entries = entries_of(tools)
    loading, failed, *_ = entries.values()
    loading.tool, failed.tool, failed.trouble = None, None, "its weights are damaged."
    client = server.Server(*demo.answers_of(entries), {HOST}).site.test_client()
    rows = client.get("/api/runs", headers={"Host": HOST}).json["runs"]
    assert [row["state"] for row in rows] == ["loading", "failed", "ready", "ready", "ready"]
    assert rows[1]["trouble"] == "its weights are damaged." and "examples" not in rows[0]
    for entry, message in ((loading, "still loading"), (failed, "damaged")):
        body = {"run": entry.key, "count": 1}
        response = client.post("/api/sample", json=body, headers={"Host": HOST})
        assert response.status_code == 400 and message in response.json["error"]


def test_runs_are_opened_in_the_background_and_a_damaged_one_costs_itself_alone(runs, capsys):
    directories = [runs / "sentences" / "small", runs / "chars" / "small"]
    entries = demo.entries_of(directories)
    entries["chars/small"].about.directory = runs / "chars" / "nowhere"
    ended = []
    opening = demo.Opening(entries, str(runs), ended.append)
    opening.start()
    opening.join()
    assert ended == [None] and entries["sentences/small"].tool and "no run" in entries["chars/small"].trouble
    assert "1/2" in capsys.readouterr().out
    opening = demo.Opening({"chars/small": entries["chars/small"]}, str(runs), ended.append)
    opening.run()
    assert isinstance(opening.failure, UserError) and ended[1] is opening.failure


def test_a_run_in_training_is_shown_with_its_curve(page, runs, monkeypatch):
    from playwright.sync_api import expect

    directory = runs / "chars" / "busy"
    directory.mkdir()
    config = json.loads((runs / "chars" / "small" / "config.json").read_text("utf-8"))
    progress = {"epochs_done": 2, "epochs_asked": 4, "minutes": 3.0}
    (directory / "config.json").write_text(json.dumps(config | progress), "utf-8")
    (directory / "history.csv").write_text("epoch,nats_per_char,val_nats_per_char\n1,3.0,2.5\n2,2.0,1.5\n", "utf-8")
    (directory / "samples.txt").write_text("[epoch 1] sample\nold\n\n[epoch 2] sample\nit is\n\n", "utf-8")
    assert watching.in_training(runs) == {"training": []}
    lock = storage.Lock(directory / "lock")
    (row,) = watching.in_training(runs)["training"]
    assert row["done"] == 2 and row["epochs"] == 4 and row["minutes_left"] == 3.0
    assert row["curves"] == {"nats_per_char": {"training": [(1, 3.0), (2, 2.0)], "validation": [(1, 2.5), (2, 1.5)]}}
    assert row["samples"] == ["[epoch 2] sample", "it is"]
    page.click("#tab-training")
    expect(page.locator("#training-found figcaption")).to_contain_text("validation 1.500")
    lock.release()
    page.click("#tab-names")
    page.click("#tab-training")
    expect(page.locator("#training-none")).to_be_visible()
