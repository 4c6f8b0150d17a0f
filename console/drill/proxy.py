"""A TCP proxy that can be cut: then what is sent through it is swallowed, as on a network that is parted."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading

_LOOK_SECS, _CONNECT_SECS = 0.2, 2.0


class Proxy:
    """Passes connections on to a port of this machine, in a thread of its own, until ``close``."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.is_cut = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._other: dict[socket.socket, socket.socket] = {}
        self._lost: list[socket.socket] = []
        """Accepted while the network was cut: nobody hears them."""
        self._ready = selectors.DefaultSelector()  # more than the 1,024 files that select() knows
        self._ready.register(self._listener, selectors.EVENT_READ)
        self._stop = False
        self._is_healed = False
        self._thread = threading.Thread(target=self._run, name="drill-proxy", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def heal(self) -> None:
        """The network is whole again. Connections that lost something on the way end; others pass."""
        self._is_healed = True

    def close(self) -> None:
        """End all connections."""
        self._stop = True
        self._thread.join(5)

    def _run(self) -> None:
        while not self._stop:
            ready = self._ready.select(_LOOK_SECS)
            if self._is_healed:
                self._end_all()
                self._is_healed = self.is_cut = False
            for key, _ in ready:
                each = key.fileobj
                if each is self._listener:
                    self._accept()
                elif isinstance(each, socket.socket) and each in self._other:
                    self._pass(each)
        self._end_all()
        self._ready.close()
        self._listener.close()

    def _accept(self) -> None:
        here, _ = self._listener.accept()
        if self.is_cut:
            self._lost.append(here)
            return
        try:
            there = socket.create_connection(("127.0.0.1", self.target), _CONNECT_SECS)
            there.settimeout(None)
        except OSError:  # the server is busy: the caller sees a connection that ends
            here.close()
            return
        for one, other in ((here, there), (there, here)):
            self._other[one] = other
            self._ready.register(one, selectors.EVENT_READ)

    def _pass(self, source: socket.socket) -> None:
        try:
            data = source.recv(65_536)
            if data and not self.is_cut:
                self._other[source].sendall(data)
        except OSError:
            data = b""
        if not data:
            self._end(source)

    def _end_all(self) -> None:
        for each in list(self._other):
            self._end(each)
        while self._lost:
            self._lost.pop().close()

    def _end(self, one: socket.socket) -> None:
        for each in (one, self._other.get(one)):
            if each is not None and self._other.pop(each, None) is not None:
                with contextlib.suppress(OSError, KeyError):
                    self._ready.unregister(each)
                    each.close()
