"""A small web server for the page, on this machine only."""

from __future__ import annotations

import threading
import webbrowser
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from bioseq_gym.errors import InvalidConfig, UnknownName
from bioseq_gym.site.files import INDEX

HOST = "127.0.0.1"


class _Handler(SimpleHTTPRequestHandler):
    """Files of the folder, without those that a submit is at work on, and without a line for each request."""

    extensions_map = SimpleHTTPRequestHandler.extensions_map | {".js": "text/javascript", ".md": "text/plain"}

    def send_head(self) -> Any:
        path = Path(self.translate_path(self.path)).relative_to(Path(self.directory).resolve())
        if "\0" in str(path) or any(part.startswith(".") for part in path.parts):
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
        InvalidConfig: the port can't be had.
    """
    if not (root / INDEX).exists():
        raise UnknownName(f"there is no page in {root}; build it with bioseq-gym leaderboard --rebuild --board {root}")
    try:
        server = ThreadingHTTPServer((HOST, port), partial(_Handler, directory=str(root.resolve())))
    except (OSError, OverflowError) as error:
        cause = getattr(error, "strerror", None) or str(error).rstrip(".")
        raise InvalidConfig(f"port {port} can't be had: {cause}; give another with --port, or 0 for any") from None
    with server:
        address = f"http://{HOST}:{server.server_port}/"
        ready(address)
        if browser:
            # Beside the server: a browser in the terminal returns when it is closed, and needs the page before that.
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        server.serve_forever()
