"""A small stand-in for the W&B server on 127.0.0.1: takes what a run sends and keeps it, or dies when told to."""

import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import yaml

VIEWER = {"id": "viewer", "entity": "someone", "username": "someone", "flags": "{}", "teams": {"edges": []}}


class Server:
    """Keeps the `rows` of the history and the `requests` (method, path) that came.

    With `answering=False` requests get no answer any more. Of a sweep it keeps the `config` and hands an agent two
    runs, with the least and the largest of everything that varies; `buckets` are the variables of each run's start.
    `views` are the workspaces and reports that were saved; `runs` {id, name, state, config, summary} are those that the
    project is said to have.
    """

    def __init__(self):
        self.rows, self.requests, self.answering, self.silence = [], [], True, threading.Event()
        self.config, self.handed_out, self.buckets = None, 0, []
        self.runs, self.views = [], []
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
        if "mutation UpsertSweep" in query:
            self.config = yaml.safe_load(variables["config"])
            project = {"id": "p", "name": variables["projectName"], "entity": {"id": "e", "name": "someone"}}
            return {"data": {"upsertSweep": {"sweep": {"name": "asked", "project": project}}}}
        if "query SweepWithRuns" in query:
            sweep = {"id": "s", "name": "asked", "config": yaml.safe_dump(self.config), "runs": {"edges": []}}
            return {"data": {"project": {"sweep": sweep}}}
        if "mutation CreateAgent" in query:
            return {"data": {"createAgent": {"agent": {"id": "agent"}}}}
        if "mutation Heartbeat" in query:
            busy = any(json.loads(variables["runState"]).values())
            return {"data": {"agentHeartbeat": {"agent": {"id": "agent"}, "commands": json.dumps(self._next(busy))}}}
        if "mutation UpsertBucket" in query:
            self.buckets.append(variables)
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
        if "upsertView(" in query:
            self.views.append(variables | {"spec": json.loads(variables["spec"])})
            view = {"id": "dmlldw==", "name": variables["name"], "type": variables["type"], "spec": variables["spec"]}
            project = {"id": "p", "name": "aejax", "entityName": "someone"}
            view |= {"displayName": variables["displayName"], "description": "", "project": project}
            view |= {"updatedAt": "2026-01-01T00:00:00", "createdAt": "2026-01-01T00:00:00", "user": None}
            return {"data": {"upsertView": {"view": view, "inserted": True}}}
        if "query GetProjects" in query:
            node = {"id": "p", "name": "aejax", "entityName": "someone", "createdAt": "2026-01-01T00:00:00"}
            edges = [{"node": node | {"__typename": "Project", "isBenchmark": False, "user": None}}]
            page = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}
            return {"data": {"models": {"pageInfo": page, "edges": edges}}}
        if "query ProjectInternalId" in query:
            return {"data": {"project": {"id": "p", "internalId": "1"}}}
        if "query Runs(" in query:
            edges = [{"node": _run(run), "cursor": str(place)} for place, run in enumerate(self.runs)]
            page = {"endCursor": None, "hasNextPage": False}
            project = {"internalId": "1", "runCount": len(edges), "readOnly": False}
            return {"data": {"project": project | {"runs": {"edges": edges, "pageInfo": page}}}}
        if "viewer" in query.lower():
            return {"data": {"viewer": VIEWER, "serverInfo": None}}
        return {"data": {}}

    def _next(self, busy):
        """What an agent is told to do: a run after another, then to exit."""
        if busy:
            return []
        if self.handed_out == 2:
            return [{"type": "exit"}]
        end = ("min", "max")[self.handed_out]
        self.handed_out += 1
        values = {name: {"value": within[end]} for name, within in self.config["parameters"].items()}
        return [{"type": "run", "run_id": f"asked-{end}", "program": self.config["program"], "args": values}]


def _run(run):
    """A run as the server tells of it."""
    empty = ("sweepName", "group", "jobType", "commit", "heartbeatAt", "description", "notes")
    config = {name: {"value": value} for name, value in run["config"].items()}
    told = {"id": run["id"], "name": run["id"], "displayName": run["name"], "state": run["state"], "tags": []}
    told |= {"projectId": 1, "readOnly": False, "createdAt": "2026-01-01T00:00:00", "historyLineCount": 1}
    told |= {"systemMetrics": "{}", "historyKeys": None, "user": {"name": "someone", "username": "someone"}}
    told |= {"config": json.dumps(config), "summaryMetrics": json.dumps(run["summary"])}
    return dict.fromkeys(empty) | told
