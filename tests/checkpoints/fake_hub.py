"""A hub on this machine: what huggingface_hub asks for single files, answered from a dictionary."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Repository:
    """``commits`` maps a commit to its files; ``refs`` maps branches and tags to commits."""

    commits: dict[str, dict[str, bytes]]
    refs: dict[str, str]
    token: str = ""
    """Who asks without it is told nothing, or that the model is gated."""
    gated: bool = False


@dataclass
class FakeHub:
    """The server's memory; tests fill it and read what was asked."""

    url: str
    repositories: dict[str, Repository] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    """``METHOD file`` of each request for a file, in order."""
    status: int = 0
    """Answer everything with this."""
    cut: int = 0
    """Bytes that are missing at the end of what is sent."""

    def add(self, name: str, files: dict[str, bytes], **settings) -> str:
        """Commit files to ``main`` and return the commit."""
        commit = hashlib.sha1(repr((name, sorted(files.items()))).encode()).hexdigest()
        repository = self.repositories.setdefault(name, Repository({}, {}, **settings))
        repository.commits[commit] = files
        repository.refs["main"] = commit
        return commit

    def answer(
        self, method: str, path: str, authorization: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body for a path, as the real hub gives them."""
        parts = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        if parts is None:  # the client asks about itself now and then
            return 404, {}, b""
        self.asked.append(f"{method} {parts[3]}")
        repository = self.repositories.get(parts[1])
        if self.status:
            return self.status, {}, b""
        if authorization == "Bearer wrong":
            return 401, {"X-Error-Message": "Invalid credentials in Authorization header"}, b""
        if repository is None:
            return 401, {"X-Error-Code": "RepoNotFound"}, b""
        if repository.token and authorization != f"Bearer {repository.token}":
            kind = (403, "GatedRepo") if repository.gated else (401, "RepoNotFound")
            return kind[0], {"X-Error-Code": kind[1]}, b""
        commit = repository.refs.get(parts[2], parts[2])
        if commit not in repository.commits:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        headers = {"X-Repo-Commit": commit}
        body = repository.commits[commit].get(parts[3])
        if body is None:
            return 404, headers | {"X-Error-Code": "EntryNotFound"}, b""
        return 200, headers | {"ETag": f'"{hashlib.sha1(body).hexdigest()}"'}, body


@contextmanager
def serve() -> Iterator[FakeHub]:
    """Run a hub on a free port while the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            token = self.headers.get("Authorization", "")
            status, headers, body = hub.answer(self.command, self.path, token)
            head = self.command == "HEAD"
            if not head and status == 200:
                body = body[: len(body) - hub.cut]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if not head:
                self.wfile.write(body)

        do_HEAD = do_GET = answer

        def log_message(self, *_) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub = FakeHub(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
