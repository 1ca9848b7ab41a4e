"""HTTP requests that end by a deadline, however slowly the bytes arrive."""

import http.client
import io
import time
from functools import partial

import requests


class Transport(requests.adapters.HTTPAdapter):
    """Gives each call its time limits; requests itself supports only the first two.

    :param connect_timeout: seconds within which the connection must be open.
    :param read_timeout: seconds without a byte after which the answer is given up.
    :param deadline: the time of ``time.monotonic`` at which reading ends.
    """

    def __init__(self, connect_timeout, read_timeout, deadline):
        self._timeout = (connect_timeout, read_timeout)
        self._answer = partial(_Answer, silence=read_timeout, deadline=deadline)
        super().__init__()

    def send(self, request, stream=False, timeout=None, **kwargs):
        return super().send(request, stream, self._timeout, **kwargs)

    def init_poolmanager(self, *args, **kwargs):
        result = super().init_poolmanager(*args, **kwargs)
        self._bound(self.poolmanager)
        return result

    def proxy_manager_for(self, *args, **kwargs):
        manager = super().proxy_manager_for(*args, **kwargs)
        self._bound(manager)
        return manager

    def _bound(self, manager):
        """Let the connections of ``manager`` stop reading at the deadline."""
        manager.pool_classes_by_scheme = {
            scheme: self._bounded(pool)
            for scheme, pool in manager.pool_classes_by_scheme.items()
        }

    def _bounded(self, pool):
        connection = pool.ConnectionCls
        answering = {"response_class": self._answer}
        bounded = type(connection.__name__, (connection,), answering)
        return type(pool.__name__, (pool,), {"ConnectionCls": bounded})


class _Answer(http.client.HTTPResponse):
    def __init__(self, sock, *args, silence, deadline, **kwargs):
        super().__init__(sock, *args, **kwargs)
        self.fp.close()
        self.fp = io.BufferedReader(_Pieces(sock, silence, deadline))


class _Pieces(io.RawIOBase):
    """The bytes that a socket receives, with a check of the clock before each piece.

    A socket's own timeout starts again with each byte.
    """

    def __init__(self, sock, silence, deadline):
        super().__init__()
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._silence = silence
        self._deadline = deadline

    def readable(self):
        return True

    def readinto(self, buffer):
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(min(left, self._silence))
        return self._raw.readinto(buffer)

    def close(self):
        self._raw.close()
        return super().close()
