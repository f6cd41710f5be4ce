"""A small stand-in for the W&B server on 127.0.0.1: takes what a run sends and keeps it, or dies when told to."""

import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VIEWER = {"id": "viewer", "entity": "someone", "username": "someone", "flags": "{}", "teams": {"edges": []}}


class Server:
    """Keeps the `rows` of the history and the `requests` (method, path) that came.

    With `answering=False` requests get no answer any more.
    """

    def __init__(self):
        self.rows, self.requests, self.answering, self.silence = [], [], True, threading.Event()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def _handle(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if not owner.answering:
                    owner.silence.wait(60)
                    self.close_connection = True
                    return
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                owner.requests.append((self.command, self.path))
                answer = json.dumps(owner._answer(self.path, body)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST = do_PUT = _handle

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.handle_error = lambda *_: None  # a client that goes away is none
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.silence.set()
        self.http.shutdown()
        self.http.server_close()

    def _answer(self, path, body):
        if path.endswith("/file_stream"):
            sent = json.loads(body).get("files", {}).get("wandb-history.jsonl", {}).get("content", [])
            self.rows += [json.loads(row) for row in sent]
            return {"exitcode": None, "limits": {}}
        if not path.endswith("/graphql"):
            return {}
        asked = json.loads(body)
        query, variables = asked["query"], asked.get("variables") or {}
        if "mutation UpsertBucket" in query:
            bucket = {
                "id": "bucket",
                "name": variables.get("name"),
                "displayName": variables.get("displayName"),
                "description": "",
                "config": "{}",
                "sweepName": None,
                "historyLineCount": 0,
                "project": {"id": "p", "name": "aejax", "entity": {"id": "e", "name": "someone"}},
            }
            return {"data": {"upsertBucket": {"bucket": bucket, "inserted": True}}}
        if "ArtifactType" in query and "mutation" not in query:
            return {"data": {"project": {"artifact": None}}}
        if "mutation CreateArtifact " in query:
            artifact = {"id": "a", "state": "COMMITTED", "artifactSequence": {"latestArtifact": None}}
            return {"data": {"createArtifact": {"artifact": artifact}}}
        if "ServerFeatures" in query:
            return {"data": {"serverInfo": {"features": []}}}
        if "CreateRunFiles" in query:
            files = [{"name": name, "uploadUrl": f"{self.url}/upload/{name}"} for name in variables.get("files", [])]
            made = {"runID": "bucket", "uploadHeaders": [], "files": files}
            return {"data": {"createRunFiles": made}}
        if "viewer" in query.lower():
            return {"data": {"viewer": VIEWER, "serverInfo": None}}
        return {"data": {}}
