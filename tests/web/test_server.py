"""The page's server: what it refuses, how much it takes, and that it says so in sentences."""

import threading
import time

from scriptorium import UserError
from scriptorium.web import server

import pytest

HOST = "localhost:8000"


def ask(fields):
    count, text = fields.number("count", 1, 5, 1, int), fields.text("text", 10, "a")
    fields.nothing_else()
    return {"said": text * count}


def broken(fields):
    raise ZeroDivisionError


def served(**more):
    answers = {"runs": lambda: {"runs": []}, "ask": ask, "broken": broken}
    return server.Server(answers, {"stream": lambda fields: iter(["one ", "two"])}, {HOST}, **more).site.test_client()


def post(client, name="ask", host=HOST, headers=None, **fields):
    return client.post(f"/api/{name}", json=fields, headers={"Host": host, **(headers or {})})


def test_answers_and_streams():
    client = served()
    assert post(client, text="ab", count=2).json == {"said": "abab"}
    assert client.get("/api/runs", headers={"Host": HOST}).json == {"runs": []}
    assert post(client, "stream").get_data(as_text=True) == "one two"


@pytest.mark.parametrize("path", sorted(server.FILES))
def test_the_page_has_headers_that_bind_it_and_names_no_other_site(path):
    response = served().get(path, headers={"Host": HOST})
    assert response.status_code == 200 and response.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert "unsafe" not in response.headers["Content-Security-Policy"]
    text = response.get_data(as_text=True).replace("http://www.w3.org/2000/svg", "")
    assert "http" not in text.replace("http-equiv", "") and "innerHTML" not in text


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "localhost", "127.0.0.1:8001"])
def test_another_host_is_refused(host):
    response = post(served(), host=host)
    assert response.status_code == 421 and response.json["error"].endswith(".")


def test_another_page_is_refused():
    client = served()
    assert post(client, headers={"Origin": "http://evil.example"}).status_code == 403
    assert post(client, headers={"Origin": "null"}).status_code == 403
    assert post(client, headers={"Origin": f"http://{HOST}"}).status_code == 200
    # What a form of another page can send is not taken.
    plain = client.post("/api/ask", data='{"text": "a"}', content_type="text/plain", headers={"Host": HOST})
    assert plain.status_code == 400 and "Content-Type" in plain.json["error"]


@pytest.mark.parametrize(
    "fields, word",
    [
        ({"count": 6}, "count must be an integer from 1 to 5"),
        ({"count": 1.5}, "integer"),
        ({"count": True}, "integer"),
        ({"count": "1"}, "integer"),
        ({"text": "a" * 11}, "must have 0 to 10 characters"),
        ({"text": 3}, "text must be a text"),
        ({"text": None}, "text must be a text"),
        ({"text": "a\u0000b"}, "printed"),
        ({"text": "\ud800"}, "printed"),
        ({"other": 1}, "Unknown field 'other'"),
    ],
)
def test_wrong_fields_are_sentences(fields, word):
    response = post(served(), **fields)
    assert response.status_code == 400 and word in response.json["error"]


def test_a_name_may_have_joiners():
    assert post(served(), text="\u0dc0\u0dd2\u0db1\u0dca\u200d\u0daf").status_code == 200


@pytest.mark.parametrize("body", ["", "{", "[]", "3", "[" * 5000, '{"count": NaN}', '{"count": 1e999}'])
def test_wrong_json_is_a_sentence(body):
    response = served().post("/api/ask", data=body, content_type="application/json", headers={"Host": HOST})
    assert response.status_code == 400 and response.json["error"].endswith(".")


def test_other_paths_methods_sizes_and_failures_are_sentences():
    client = served()
    assert client.get("/../demo.py", headers={"Host": HOST}).status_code == 404
    assert client.get("/api/ask", headers={"Host": HOST}).status_code == 405
    assert post(client, text="a" * 20_000).status_code == 413
    response = post(client, "broken")
    assert response.status_code == 500 and "Zero" not in response.json["error"]
    # One that failed has left its turn.
    assert post(client).status_code == 200


def test_a_few_wait_and_more_are_told_that_it_is_busy():
    started, go_on, statuses = threading.Event(), threading.Event(), []

    def slow(fields):
        started.set()
        go_on.wait(30)
        return {}

    turns = server.Turns(waiting=2)
    site = server.Server({"slow": slow}, {}, {HOST}, turns=turns).site
    threads = [
        threading.Thread(target=lambda: statuses.append(post(site.test_client(), "slow").status_code)) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    started.wait(30)
    while turns.inside < 3:
        time.sleep(0.01)
    response = post(site.test_client(), "slow")
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "1" and "usy" in response.json["error"]
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert statuses == [200] * 3 and turns.inside == 0


def test_rates_allow_some_at_once_and_then_so_many_a_second():
    now = [0.0]
    rates = server.Rates(per_second=2, burst=3, clock=lambda: now[0])
    assert [rates.allows("a") for _ in range(4)] == [True, True, True, False]
    assert rates.allows("b")
    now[0] = 1.0
    assert [rates.allows("a") for _ in range(3)] == [True, True, False]
    client = served(rates=rates)
    assert [post(client).status_code for _ in range(4)] == [200, 200, 200, 429]


def test_a_stream_lets_others_in_between():
    order = []

    def stream(fields):
        for i in range(3):
            order.append(i)
            yield str(i)

    turns = server.Turns()
    client = server.Server({}, {"stream": stream}, {HOST}, turns=turns).site.test_client()
    response = client.post("/api/stream", json={}, headers={"Host": HOST}, buffered=False)
    found = []
    for piece in response.iter_encoded():
        with turns.turn():
            found.append(piece)
    assert b"".join(found) == b"012" and order == [0, 1, 2]


def test_a_stream_that_fails_at_once_is_a_sentence():
    def stream(fields):
        raise UserError("No.")

    response = post(server.Server({}, {"stream": stream}, {HOST}).site.test_client(), "stream")
    assert response.status_code == 400 and response.json["error"] == "No."
