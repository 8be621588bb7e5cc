"""A small web server for the page, on this machine only."""

from __future__ import annotations

import webbrowser
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from bioseq_gym.errors import UnknownName
from bioseq_gym.site.files import INDEX

HOST = "127.0.0.1"


class _Handler(SimpleHTTPRequestHandler):
    """Files of the folder, without those that a submit is at work on, and without a line for each request."""

    extensions_map = SimpleHTTPRequestHandler.extensions_map | {".js": "text/javascript", ".md": "text/plain"}

    def send_head(self) -> Any:
        path = Path(self.translate_path(self.path)).relative_to(Path(self.directory).resolve())
        if any(part.startswith(".") for part in path.parts):
            return self.send_error(404)
        return super().send_head()

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


def serve(root: Path, port: int, ready: Callable[[str], None], browser: bool = False) -> None:
    """Serve the folder until the process is interrupted.

    Args:
        root: the folder of the boards.
        port: 0 for any that is free.
        ready: called with the page's address when it can be opened.
        browser: whether to open it in the browser of this machine.

    Raises:
        UnknownName: there is no page in the folder.
        OSError: the port can't be had.
    """
    if not (root / INDEX).exists():
        raise UnknownName(f"there is no page in {root}; build it with bioseq-gym leaderboard --rebuild --board {root}")
    with ThreadingHTTPServer((HOST, port), partial(_Handler, directory=str(root.resolve()))) as server:
        address = f"http://{HOST}:{server.server_port}/"
        ready(address)
        if browser:
            webbrowser.open(address)
        server.serve_forever()
