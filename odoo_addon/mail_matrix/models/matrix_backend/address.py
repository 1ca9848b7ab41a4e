import ipaddress
import socket
import time
from contextlib import suppress
from urllib.parse import urlsplit

from odoo import models

from ...tools.matrix_client import MatrixClient
from ...tools.matrix_error import MatrixError

# A short time, because somebody has already waited for the first answer.
_SECONDS = 15
_TIMEOUTS = {"connect_timeout": 3, "read_timeout": 4, "total_timeout": 5}


class MatrixBackend(models.Model):
    """Finds the address of the client API when another address was entered.

    Many servers are named example.org and serve the API at matrix.example.org; the file
    /.well-known/matrix/client says where. Others paste the path of the API as well.
    """

    _inherit = "matrix.backend"

    def _find_address(self):
        """Return the address at which a homeserver answers, or nothing."""
        self.ensure_one()
        until = time.monotonic() + _SECONDS
        for find in (self._shorter_addresses, self._published_addresses):
            for url in find():
                if time.monotonic() > until:
                    return None
                if url != self.homeserver_url and not self._homeserver_url_problem(url):
                    with suppress(MatrixError):
                        # Without the token: nobody has agreed to this server yet.
                        self._asker(url).versions()
                        return url
        return None

    def _clients_encrypt_new_rooms(self, account):
        """Whether Matrix clients of this account encrypt new rooms. They do unless its
        server asks them not to."""
        name = account.partition(":")[2]
        own, others = self.homeserver_url, f"https://{name}"
        for url in dict.fromkeys([own, others]):
            if url != own and not _may_be_asked(own, url):
                continue
            with suppress(MatrixError):
                asked = self._asker(url).encrypts_new_rooms()
                if asked is not None:
                    return bool(asked)
        return True

    def _asker(self, url):
        return MatrixClient(self.env, url, verify_ssl=self.verify_ssl, **_TIMEOUTS)

    def _shorter_addresses(self):
        """Yield the address as it was entered, without the API's own path."""
        url, found, _path = self.homeserver_url.partition("/_matrix")
        if found:
            yield url.rstrip("/")

    def _published_addresses(self):
        """Yield the addresses that the server publishes at the address entered and at
        the standard port of its name."""
        parts = urlsplit(self.homeserver_url)
        origins = [f"{parts.scheme}://{parts.netloc}", f"https://{parts.hostname}"]
        for origin in dict.fromkeys(origins):
            with suppress(MatrixError):
                url = self._asker(origin).published_address()
                if url and _may_be_asked(origin, url):
                    yield url.rstrip("/")


def _may_be_asked(origin, url):
    """Whether the server at ``origin`` may send us to ``url``.

    A server on the internet must not make Odoo call internal machines, or give up TLS.
    """
    try:
        here, there = urlsplit(origin), urlsplit(url)
        if here.scheme == "https" and there.scheme != "https":
            return False
        return _is_inside(here.hostname) or not _is_inside(there.hostname)
    except (ValueError, OSError):
        return False


def _is_inside(host):
    """Whether one of the addresses of ``host`` is not reachable by everybody."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return any(
        not ipaddress.ip_address(address[0].partition("%")[0]).is_global
        for *_other, address in found
    )
