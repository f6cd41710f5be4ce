"""A comparison while a sweep runs: redrawn in the terminal, or served on 127.0.0.1."""

import hashlib
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from rich.live import Live
from rich.text import Text

from aejax.base.errors import InputError
from aejax.comparison.comparison import Comparison, say

HOST = "127.0.0.1"


def watch(given, console):
    """Redraws the table every `given.watch` seconds until the sweep is finished, or Ctrl-C; raises InputError."""
    if not given.watch > 0:
        raise InputError(f"--watch {given.watch:g}: must be a number of seconds above 0")
    found = Comparison.of(given)
    with Live(console=console, auto_refresh=False, vertical_overflow="ellipsis") as live:
        while waiting(found):
            with console.capture() as capture:
                found.show(console)
            live.update(Text.from_ansi(capture.get()), refresh=True)
            time.sleep(given.watch)
            found = Comparison.of(given)
        live.update(Text(""), refresh=True)
    found.show(console)


def waiting(found):
    """Whether a run may still come to its end."""
    return bool(found.runs.frame["status"].isin(["running", "planned"]).any())


def serve(given, console):
    """Serves the report until Ctrl-C, anew where the runs have changed; raises InputError."""
    from aejax.comparison import report

    pages = Pages(given, report)
    try:
        server = ThreadingHTTPServer((HOST, given.serve), handler(pages))
    except (OSError, OverflowError) as error:
        told = getattr(error, "strerror", None) or error
        raise InputError(f"--serve {given.serve}: cannot be used ({told}); must be a free port, 0 for any") from None
    with server:
        say(console, [f"http://{HOST}:{server.server_port}/ (Ctrl-C ends it)"])
        server.serve_forever()


class Pages:
    """The report as it is now, read again at the most every second."""

    def __init__(self, given, report):
        self.given, self.report, self.lock = given, report, threading.Lock()
        self.found, self.text, self.stamp, self.at = Comparison.of(given), None, None, 0.0

    def now(self):
        """The page and its stamp; what cannot be read for a moment leaves them as they were."""
        with self.lock:
            if time.monotonic() - self.at > 1:
                try:
                    found = Comparison.of(self.given)
                except InputError:  # the folder is being made or removed
                    found = self.found
                stamp = hashlib.sha256(found.text("json").encode()).hexdigest()
                if stamp != self.stamp:
                    self.text, self.stamp, self.found = self.report.page(found, Path.cwd()), stamp, found
                self.at = time.monotonic()
            return self.text, self.stamp


def handler(pages):
    """Answers with the page at / and with its stamp at /stamp, to callers that ask for this machine by its own name."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            if self.headers.get("Host", "").partition(":")[0] not in (HOST, "localhost"):  # rebound by somebody's page
                self.send_error(403)
                return
            asked = self.path.partition("?")[0]
            if asked not in ("/", "/stamp"):
                self.send_error(404)
                return
            text, stamp = pages.now()
            body = (text if asked == "/" else stamp).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8" if asked == "/" else "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

    return Handler
