"""Accepts connections and reads requests: what is malformed, too long or too slow ends before the application runs.

A connection that sends nothing, or sends its request too slowly, is closed after a while, and earlier if a new one
needs its place. So idle connections never keep others out.
"""

import json
import time

from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask, ThreadedTaskDispatcher

CONNECTIONS = 200  # open at once; a new one takes the place of the one that has been waiting longest
SECONDS = 10.0  # for the headers and the body of a request
IDLE_SECONDS = 30.0  # between two requests of a connection
HEADER_BYTES = 16 * 1024
THREADS = 12


class Parser(HTTPRequestParser):
    """Reads one request; whatever cannot be parsed is a bad request."""

    def parse_header(self, header_plus):
        try:
            super().parse_header(header_plus)
        except ValueError as error:  # an address or a length that Python's own functions refuse
            raise ParsingError("This request cannot be read.") from error


class Refusal(ErrorTask):
    """Answers a request that could not be read: {"error": a sentence}."""

    def execute(self):
        error = self.request.error
        self.status = f"{error.code} {error.reason}"
        content = json.dumps({"error": f"{error.reason}: {error.body.rstrip('.')}."}).encode()
        self.response_headers += [("Content-Type", "application/json"), ("X-Content-Type-Options", "nosniff")]
        self.set_close_on_finish()
        self.content_length = len(content)
        self.write(content)


class Channel(HTTPChannel):
    """A connection, which knows since when it has been waiting for the rest of a request."""

    parser_class, error_task_class = Parser, Refusal
    began = None  # when the request that is being read began

    def received(self, data):
        if self.request is None:
            self.began = time.time()
        return super().received(data)

    def write_soon(self, data):
        self.last_activity = time.time()
        return super().write_soon(data)

    def deadline(self):
        """Returns the time at which to close this connection; None while a request of it is being answered."""
        if self.requests or self.will_close:
            return None
        if self.request is not None:
            return self.began + SECONDS
        return self.last_activity + (IDLE_SECONDS if self.began else SECONDS)


class Listener(TcpWSGIServer):
    """Serves an application at a listening socket: `run` handles requests until `stop`, or Ctrl-C.

    Args:
        application: WSGI application.
        sock: bound `socket.socket`.
        most_bytes: size of the largest body that the application accepts.
    """

    channel_class = Channel
    stopping = False

    def __init__(self, application, sock, most_bytes):
        settings = Adjustments(
            sockets=[sock],
            threads=THREADS,
            # Counts sockets of the server itself too; `handle_accept` keeps far below it.
            connection_limit=2 * CONNECTIONS,
            cleanup_interval=1,
            asyncore_use_poll=True,
            max_request_header_size=HEADER_BYTES,
            # A body that is only a little too long is read to its end, so that its sender sees the answer.
            max_request_body_size=16 * most_bytes,
            ident=None,
        )
        threads = ThreadedTaskDispatcher()
        threads.set_thread_count(THREADS)
        about = (sock.family, sock.type, sock.proto, sock.getsockname())
        super().__init__(
            application, {}, _sock=sock, dispatcher=threads, adj=settings, sockinfo=about, bind_socket=False
        )

    def readable(self):
        if self.stopping:
            raise SystemExit
        return super().readable()

    def handle_accept(self):
        waiting = [channel for channel in list(self.active_channels.values()) if channel.deadline() is not None]
        if len(self.active_channels) >= CONNECTIONS and waiting:
            min(waiting, key=Channel.deadline).will_close = True
        super().handle_accept()

    def maintenance(self, now):
        for channel in list(self.active_channels.values()):
            deadline = channel.deadline()
            if deadline is not None and deadline < now:
                channel.will_close = True

    def stop(self):
        """Ends `run`, in another thread."""
        self.stopping = True
        self.pull_trigger()
