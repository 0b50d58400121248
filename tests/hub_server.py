"""A Hugging Face hub of one's own on 127.0.0.1: enough of it to fetch and to push."""

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Hub:
    """Repositories by name, each a folder's files; ``gated`` ones are refused."""

    def __init__(self):
        self.files, self.gated, self.asked, self.private = {}, set(), [], {}

    def revision(self, repository):
        content = sorted(self.files[repository].items())
        return hashlib.sha1(repr(content).encode()).hexdigest()

    def put(self, repository, folder):
        self.files[repository] = {
            one.name: one.read_bytes() for one in Path(folder).iterdir()
        }

    @contextmanager
    def serving(self):
        class Handler(_Handler):
            hub = self

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, content, status=200, **headers):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        path = self.path.partition("?")[0].strip("/").replace("%2F", "/")
        self.hub.asked.append(path)
        words = path.split("/")
        if words[:2] == ["api", "models"]:
            words = words[2:]
        repository, kind, rest = "/".join(words[:2]), words[2:3], words[3:]
        if repository in self.hub.gated:
            return self.answer({}, 403, X_Error_Code="GatedRepo")
        if repository not in self.hub.files:
            return self.answer({}, 404, X_Error_Code="RepoNotFound")
        now, files = self.hub.revision(repository), self.hub.files[repository]
        if rest and rest[0] not in ("main", now):
            return self.answer({}, 404, X_Error_Code="RevisionNotFound")
        if kind == ["resolve"]:
            content = files.get("/".join(rest[1:]))
            if content is None:
                return self.answer({}, 404, X_Error_Code="EntryNotFound")
            etag = f'"{hashlib.sha256(content).hexdigest()}"'
            return self.answer(content, ETag=etag, X_Repo_Commit=now)
        if kind == ["tree"]:
            return self.answer(
                [
                    {
                        "type": "file",
                        "path": name,
                        "size": len(content),
                        "oid": hashlib.sha1(content).hexdigest(),
                    }
                    for name, content in files.items()
                ]
            )
        siblings = [{"rfilename": name} for name in files]
        self.answer({"id": repository, "sha": now, "siblings": siblings})

    do_HEAD = do_GET

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        path = self.path.partition("?")[0].strip("/")
        if self.headers.get("Authorization") != "Bearer hf_right":
            return self.answer({"error": "Invalid username or password."}, 401)
        if path == "api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            self.hub.files[name] = {}
            self.hub.private[name] = asked.get("private", asked.get("visibility"))
            return self.answer({"url": f"http://127.0.0.1/{name}"})
        name = "/".join(path.split("/")[2:4])
        if "/preupload/" in path:
            asked = json.loads(body)["files"]
            way = {"uploadMode": "regular", "shouldIgnore": False, "oid": None}
            ways = [{"path": one["path"], **way} for one in asked]
            return self.answer({"files": ways})
        for line in body.splitlines():
            one = json.loads(line)
            if one["key"] == "file":
                value = one["value"]
                self.hub.files[name][value["path"]] = base64.b64decode(value["content"])
        now = self.hub.revision(name)
        url = f"http://127.0.0.1/{name}/commit/{now}"
        self.answer({"success": True, "commitOid": now, "commitUrl": url})
