"""The playground's server: one person, one browser, this machine.

It listens on 127.0.0.1 only. Every request must carry the token in the printed address, so that no other page in the
browser can reach the game, and must name this machine as its host.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from teach_gym.errors import DataNotFoundError, shown
from teach_gym.play.game import GREEDY, Game
from teach_gym.registration import TASKS
from teach_gym.render.player import fill

HOST = "127.0.0.1"
_LARGEST_BODY = 10_000


class Playground(ThreadingHTTPServer):
    """Serves one game at a time; ``url`` is the address to open.

    Args:
        task: the first game's task.
        seed: its seed.
        folder: where finished games are written (None: nowhere).
        port: the port, 0 for a free one.

    Raises:
        ValueError: no such task, or a seed or port out of range.
        OSError: the port is taken.
    """

    daemon_threads = True

    def __init__(self, task: str, seed: int = 0, folder: Path | None = None, port: int = 0) -> None:
        if not 0 <= port < 2**16:
            raise ValueError(f"port must lie in [0, 65535], got {port}")
        self.folder, self.game = folder, Game(task, seed, folder)
        self.token = secrets.token_urlsafe(16)
        self.lock = threading.Lock()
        super().__init__((HOST, port), _Handler)

    @property
    def url(self) -> str:
        """The address of the page, with its token."""
        return f"http://{HOST}:{self.server_port}/?token={self.token}"

    def move(self, what: str, given: dict[str, Any]) -> dict[str, Any]:
        """Handle a request of the page and return what it shows next.

        Raises:
            ValueError: an unknown request, or invalid values.
            DataNotFoundError: the task's data is missing.
        """
        with self.lock:
            if what == "new":
                self.game = Game(given.get("task", self.game.name), given.get("seed", 0), self.folder)
                return {**self.game.about(), **self.game.view()}
            if what == "hint":
                return {"hint": self.game.hint(GREEDY)}
            moves: dict[str, Callable[[], None]] = {
                "step": lambda: self.game.step(given.get("action", -1)),
                "undo": self.game.undo,
                "view": lambda: None,
            }
            if what not in moves:
                raise ValueError(f"unknown request {shown(what)}; allowed: new, hint, {', '.join(moves)}")
            moves[what]()
            return self.game.view()


class _Handler(BaseHTTPRequestHandler):
    server: Playground
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """The page."""
        if not self._allowed() or urlsplit(self.path).path != "/":
            self._send(HTTPStatus.NOT_FOUND, b"not found\n", "text/plain")
            return
        game = self.server.game
        with self.server.lock:
            begin = json.dumps({**game.about(), **game.view(), "tasks": list(TASKS), "token": self.server.token})
        page = fill("teach_gym.play", "page.html", data=begin.replace("</", "<\\/"))
        self._send(HTTPStatus.OK, page.encode(), "text/html; charset=utf-8")

    def do_POST(self) -> None:
        """A move: JSON in, JSON out."""
        length = int(self.headers.get("Content-Length") or 0)
        if not self._allowed() or not 0 <= length <= _LARGEST_BODY:
            self.close_connection = True
            self._send(HTTPStatus.FORBIDDEN, b"{}", "application/json")
            return
        status, answer = HTTPStatus.OK, {}
        try:
            given = json.loads(self.rfile.read(length) or b"{}")
            if not isinstance(given, dict):
                raise ValueError(f"a request must be a JSON object, got {shown(given)}")
            answer = self.server.move(urlsplit(self.path).path.strip("/"), given)
        except (ValueError, TypeError, DataNotFoundError) as error:
            status, answer = HTTPStatus.BAD_REQUEST, {"error": str(error)}
        self._send(status, json.dumps(answer).encode(), "application/json")

    def _allowed(self) -> bool:
        """Whether the request carries the token and names this machine (not another name that resolves to it)."""
        given = parse_qs(urlsplit(self.path).query).get("token", [""])[0]
        host = (self.headers.get("Host") or "").rpartition(":")[0]
        return secrets.compare_digest(given, self.server.token) and host in (HOST, "localhost")

    def _send(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Content-Security-Policy", "default-src 'self' 'unsafe-inline' data:")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: every request's path contains the token."""
