"""A server of files on the loopback."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves the files of a folder, or sends every client elsewhere, and prints nothing."""

    location = ""

    def do_GET(self) -> None:
        """Answer a request."""
        if not self.location:
            super().do_GET()
            return
        self.send_response(302)
        self.send_header("Location", self.location)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def serve_folder(folder: Path, *, location: str = "") -> Iterator[str]:
    """Serve the files of a folder; yield the address.

    Args:
        folder: The folder.
        location: Address to which every client is sent instead.
    """
    handler = type("Handler", (QuietHandler,), {"location": location})
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(handler, directory=str(folder))
    ) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
