"""A TCP proxy that can be cut: then what is sent through it is swallowed, as on a network that is parted."""

from __future__ import annotations

import contextlib
import select
import socket
import threading

_LOOK_SECS = 0.2


class Proxy:
    """Passes connections on to a port of this machine, in a thread of its own, until ``close``."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.is_cut = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._other: dict[socket.socket, socket.socket] = {}
        self._stop = False
        self._thread = threading.Thread(target=self._run, name="drill-proxy", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        """End all connections."""
        self._stop = True
        self._thread.join(5)

    def _run(self) -> None:
        while not self._stop:
            ready, _, _ = select.select([self._listener, *self._other], (), (), _LOOK_SECS)
            for each in ready:
                if each is self._listener:
                    self._accept()
                elif each in self._other:
                    self._pass(each)
        for each in list(self._other):
            self._end(each)
        self._listener.close()

    def _accept(self) -> None:
        here, _ = self._listener.accept()
        there = socket.create_connection(("127.0.0.1", self.target))
        self._other[here], self._other[there] = there, here

    def _pass(self, source: socket.socket) -> None:
        try:
            data = source.recv(65_536)
            if data and not self.is_cut:
                self._other[source].sendall(data)
        except OSError:
            data = b""
        if not data:
            self._end(source)

    def _end(self, one: socket.socket) -> None:
        other = self._other.pop(one, None)
        for each in (one, other):
            if each is not None:
                self._other.pop(each, None)
                with contextlib.suppress(OSError):
                    each.close()
