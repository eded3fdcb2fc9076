"""What reads the requests of demo.py: slow, idle, endless and malformed connections keep nobody out."""

import contextlib
import json
import socket
import threading
import time

from scriptorium.web import listener, server

import pytest


@pytest.fixture
def port():
    """Yields the port of a server that answers one request."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    site = server.Server({"ask": lambda fields: {"said": fields.text("text", 10)}}, {}, {f"127.0.0.1:{port}"}).site
    serving = listener.Listener(site, listening, server.MAX_BYTES)
    thread = threading.Thread(target=serving.run, daemon=True)
    thread.start()
    yield port
    serving.stop()
    thread.join(10)
    assert not thread.is_alive()


def ask(port, text="a", head="", body=None):
    """Returns the status and the JSON of an answer."""
    body = json.dumps({"text": text}) if body is None else body
    head = head or (
        f"POST /api/ask HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    found = b""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall((head + body).encode())
        # What is refused before it was read ends with a reset, after the answer.
        with contextlib.suppress(ConnectionResetError):
            while more := connection.recv(4096):
                found += more
    return int(found[9:12]), json.loads(found.partition(b"\r\n\r\n")[2])


def test_idle_connections_keep_nobody_out(port, monkeypatch):
    monkeypatch.setattr(listener, "CONNECTIONS", 10)
    with contextlib.ExitStack() as stack:
        for i in range(30):
            idle = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            if i % 2:
                idle.sendall(b"POST /api/ask HTTP/1.1\r\nHost:")
        began = time.monotonic()
        assert ask(port) == (200, {"said": "a"})
        assert time.monotonic() - began < 5


def test_a_request_that_comes_byte_by_byte_is_given_up(port, monkeypatch):
    monkeypatch.setattr(listener, "SECONDS", 0.5)
    with socket.create_connection(("127.0.0.1", port)) as slow:
        slow.settimeout(10)
        slow.sendall(f"POST /api/ask HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 9000\r\n\r\n".encode())
        with pytest.raises(OSError):
            for _ in range(1000):
                slow.sendall(b" ")
                time.sleep(0.01)


@pytest.mark.parametrize(
    "head, status, word",
    [
        ("GET http://[ HTTP/1.1\r\n\r\n", 400, "cannot be read"),
        (f"GET / HTTP/1.1\r\nContent-Length: {'9' * 5000}\r\n\r\n", 400, "cannot be read"),
        (f"GET / HTTP/1.1\r\nX: {'a' * 20_000}\r\n\r\n", 431, "Too Large"),
        (f"POST /api/ask HTTP/1.1\r\nContent-Length: {10**9}\r\n\r\n", 413, "Too Large"),
        ("POST /api/ask HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", 400, "chunk"),
        ("POST /api/ask HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501, "not supported"),
    ],
)
def test_what_cannot_be_read_is_refused_in_json(port, head, status, word):
    found, answer = ask(port, head=head, body="")
    assert found == status and word in answer["error"] and answer["error"].endswith(".")
