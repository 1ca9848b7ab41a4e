"""What Odoo asks a homeserver for while a person waits. Messages never go this way."""

import http.client
import json
import os
import socket
import ssl
import time
import warnings
from urllib.parse import quote, urlsplit

import requests
import urllib3.exceptions

from odoo.exceptions import UserError

from .matrix_transport import Transport
from .people import split_mxc

CLIENT = "/_matrix/client/v3"
MAX_ANSWER_BYTES = 4 * 1024 * 1024
MAX_REMOTE_TEXT = 300


class ExplainedError(UserError):
    """A UserError of a class of its own that the web client shows like any other.

    It knows the names of Odoo's own classes only: to others it would say "Oops!".
    """

    context = {"exception_class": "odoo.exceptions.UserError"}


class MatrixError(ExplainedError):
    """A call failed; the text says why in words for the person who waits.

    ``errcode`` is the homeserver's own word for it or None, ``status`` the HTTP status
    or None where no answer came.
    """

    def __init__(self, message, errcode=None, status=None):
        super().__init__(message)
        self.errcode = errcode
        self.status = status


class MatrixClient:
    """One account on one homeserver; one method for each endpoint.

    Every method raises MatrixError when the answer is not what it should be.

    :param env: gives the language of the error texts.
    :param url: address of the client API, without a slash at the end.
    :param token: access token, or None for endpoints that need none.
    :param connect_timeout: seconds until the connection must stand.
    :param read_timeout: seconds without a byte after which the answer is given up.
    :param total_timeout: seconds after which the rest of an answer is given up.
    """

    def __init__(
        self,
        env,
        url,
        token=None,
        verify_ssl=True,
        connect_timeout=5,
        read_timeout=10,
        total_timeout=20,
    ):
        self.env = env
        self.url = url.rstrip("/")
        self.host = urlsplit(url).hostname or url
        self.verify_ssl = verify_ssl
        self.timeout = (connect_timeout, read_timeout)
        self.total_timeout = total_timeout
        self._token = token

    # Server and account

    def versions(self):
        """Return the versions of the specification that the server speaks."""
        answer = self._call("GET", "/_matrix/client/versions", signed=False)
        versions = answer.get("versions")
        if not isinstance(versions, list) or not versions:
            raise self._not_matrix()
        return [str(version) for version in versions]

    def server_version(self):
        """Return name and version of the server's software."""
        answer = self._call("GET", "/_matrix/federation/v1/version", signed=False)
        server = answer.get("server")
        if not isinstance(server, dict):
            raise self._not_matrix()
        words = (server.get("name"), server.get("version"))
        return self._remote(" ".join(str(word) for word in words if word))

    def published_address(self):
        """Return the address of the client API that the server publishes, or None."""
        answer = self._call("GET", "/.well-known/matrix/client", signed=False)
        published = answer.get("m.homeserver")
        url = published.get("base_url") if isinstance(published, dict) else None
        return url if isinstance(url, str) else None

    def whoami(self):
        """Return ``user_id`` and, if the token belongs to one, ``device_id``."""
        answer = self._call("GET", f"{CLIENT}/account/whoami")
        if not isinstance(answer.get("user_id"), str):
            raise self._not_matrix()
        return answer

    def displayname(self, user_id):
        """Return the display name of ``user_id``, or nothing."""
        path = f"{CLIENT}/profile/{_part(user_id)}/displayname"
        answer = self._call_or_none("GET", path)
        return answer and answer.get("displayname")

    def set_displayname(self, user_id, name):
        path = f"{CLIENT}/profile/{_part(user_id)}/displayname"
        self._call("PUT", path, {"displayname": name})

    def profile(self, user_id):
        """Return ``displayname`` and ``avatar_url`` of an account, as far as it has
        them; None where there is no such account."""
        path = f"{CLIENT}/profile/{_part(user_id)}"
        try:
            return self._call("GET", path)
        except MatrixError as error:
            # Servers disagree on the errcode.
            if error.status in (404, 410) and error.errcode not in (
                None,
                "M_UNRECOGNIZED",
            ):
                return None
            raise

    def account_data(self, user_id, data_type):
        """Return the content of this kind of account data, or None if there is none."""
        path = f"{CLIENT}/user/{_part(user_id)}/account_data/{_part(data_type)}"
        return self._call_or_none("GET", path)

    def set_account_data(self, user_id, data_type, content):
        path = f"{CLIENT}/user/{_part(user_id)}/account_data/{_part(data_type)}"
        self._call("PUT", path, content)

    def has_account(self, user_id):
        """Whether there may be an account ``user_id``, which must be of this server.

        A server that does not tell, or not us, is no reason to doubt the account.
        """
        try:
            return self.profile(user_id) is not None
        except MatrixError as error:
            if error.status in (403, 404):
                return True
            raise

    def knows(self, user_id):
        """Whether ``user_id`` is of another server, or may have an account on this."""
        server = self.whoami()["user_id"].partition(":")[2]
        return user_id.partition(":")[2] != server or self.has_account(user_id)

    def search_users(self, term, limit=50):
        """Return dicts with ``user_id``, and whether there are more of them."""
        body = {"search_term": term, "limit": limit}
        answer = self._call("POST", f"{CLIENT}/user_directory/search", body)
        return _list(answer, "results", dict), bool(answer.get("limited"))

    def thumbnail(self, mxc, pixels):
        """Return the bytes of a small picture of the file at ``mxc``."""
        server, media = split_mxc(mxc)
        path = (
            f"/_matrix/client/v1/media/thumbnail/{_part(server)}/{_part(media)}"
            f"?width={pixels}&height={pixels}&method=crop&animated=false"
        )
        response, raw = self._ask("GET", path)
        if response.status_code != 200:
            raise self._refusal(response, self._parse(raw))
        return raw

    # Rooms

    def resolve_alias(self, alias):
        """Return the id of the room that ``alias`` stands for. 404 if there is none."""
        answer = self._call("GET", f"{CLIENT}/directory/room/{_part(alias)}")
        if not isinstance(answer.get("room_id"), str):
            raise self._not_matrix()
        return answer["room_id"]

    def create_room(self, **values):
        """Create a room and return its id.

        The endpoint knows no transaction id. A ``room_alias_name`` stands in for it:
        asked again, the server answers ``M_ROOM_IN_USE`` and creates no second room.
        """
        answer = self._call("POST", f"{CLIENT}/createRoom", values)
        if not isinstance(answer.get("room_id"), str):
            raise self._not_matrix()
        return answer["room_id"]

    def invite(self, room_id, user_id):
        path = f"{CLIENT}/rooms/{_part(room_id)}/invite"
        self._call("POST", path, {"user_id": user_id})

    def join(self, room_id):
        self._call("POST", f"{CLIENT}/rooms/{_part(room_id)}/join", {})

    def joined_rooms(self):
        """Return the ids of the rooms that the account is in."""
        return _list(self._call("GET", f"{CLIENT}/joined_rooms"), "joined_rooms", str)

    def joined_members(self, room_id):
        """Return ``{user_id: {"display_name": …}}`` of a joined room."""
        path = f"{CLIENT}/rooms/{_part(room_id)}/joined_members"
        joined = self._call("GET", path).get("joined")
        return joined if isinstance(joined, dict) else {}

    def invited_members(self, room_id):
        """Return the ids of those who are invited to a joined room and not there."""
        path = f"{CLIENT}/rooms/{_part(room_id)}/members?membership=invite"
        members = _list(self._call("GET", path), "chunk", dict)
        return {str(member.get("state_key")) for member in members}

    def state_event(self, room_id, event_type, state_key=""):
        """Return ``content`` and ``sender``, if told, of a state event.

        None where the room has no such state. 403 where the account may not look.
        """
        path = (
            f"{CLIENT}/rooms/{_part(room_id)}/state/"
            f"{_part(event_type)}/{_part(state_key)}?format=event"
        )
        answer = self._call_or_none("GET", path)
        if answer is None:
            return None
        # Servers that do not know the format answer with the content alone.
        content = answer.get("content") if "event_id" in answer else answer
        return {
            "content": content if isinstance(content, dict) else {},
            "sender": answer.get("sender") if "event_id" in answer else None,
        }

    # The call

    def _call_or_none(self, method, path):
        """As _call, but None where the server says that there is no such thing."""
        try:
            return self._call(method, path)
        except MatrixError as error:
            if error.status == 404 and error.errcode == "M_NOT_FOUND":
                return None
            raise

    def _call(self, method, path, body=None, signed=True, answers=dict):
        """Return the JSON answer, which must be of the type ``answers``."""
        response, raw = self._ask(method, path, body, signed)
        answer = self._parse(raw)
        if not 200 <= response.status_code < 300:
            raise self._refusal(response, answer)
        if not isinstance(answer, answers):
            raise self._not_matrix()
        return answer

    def _ask(self, method, path, body=None, signed=True):
        """Return response and body, whatever its status."""
        try:
            return self._exchange(method, path, body, signed)
        except (
            OSError,
            http.client.HTTPException,
            urllib3.exceptions.HTTPError,
        ) as error:
            # Its traceback would carry the request, and with it the token.
            raise self._no_answer(error) from None
        except ValueError:
            raise self._no_address() from None

    def _exchange(self, method, path, body, signed):
        deadline = time.monotonic() + self.total_timeout
        with requests.Session() as session, warnings.catch_warnings():
            if not self.verify_ssl:
                # The backend's form says it where it was chosen.
                warnings.simplefilter(
                    "ignore", urllib3.exceptions.InsecureRequestWarning
                )
            transport = Transport(*self.timeout, deadline)
            session.mount("https://", transport)
            session.mount("http://", transport)
            # A proxy of the environment would read the token.
            session.trust_env = not self.url.startswith("http:")
            response = session.request(
                method,
                self.url + path,
                json=body,
                # A callable, because requests would put a netrc entry over a header.
                auth=self._sign if signed and self._token else _unsigned,
                verify=self.verify_ssl and _authorities(),
                allow_redirects=False,
                stream=True,
            )
            with response:
                return response, self._read(response)

    def _sign(self, request):
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def _read(self, response):
        raw = bytearray()
        for chunk in response.iter_content(16 * 1024):
            raw += chunk
            if len(raw) > MAX_ANSWER_BYTES:
                raise MatrixError(
                    self.env._(
                        "%(host)s sent an answer of more than %(size)s MiB, which "
                        "is too large to process while you wait.",
                        host=self.host,
                        size=MAX_ANSWER_BYTES // 2**20,
                    )
                )
        if response.raw.length_remaining:
            raise requests.ConnectionError
        return bytes(raw)

    def _parse(self, raw):
        try:
            return json.loads(raw)
        except (ValueError, RecursionError):
            return None

    # Words for what went wrong

    def _not_matrix(self, errcode=None, status=None):
        return MatrixError(
            self.env._(
                "%(url)s answers, but it is not a Matrix homeserver. Check the "
                "address: it may differ from the address of the web client.",
                url=self.url,
            ),
            errcode=errcode,
            status=status,
        )

    def _no_address(self):
        return MatrixError(
            self.env._(
                "“%(url)s” is not a valid address. Correct the homeserver address.",
                url=self.url,
            )
        )

    def _no_answer(self, error):
        if isinstance(error, requests.exceptions.ProxyError):
            return MatrixError(
                self.env._(
                    "The proxy of this server (HTTPS_PROXY) did not connect to "
                    "%(host)s. List the homeserver in NO_PROXY if it can be "
                    "reached directly.",
                    host=self.host,
                )
            )
        certificate = _find(error, ssl.SSLCertVerificationError)
        if certificate:
            return MatrixError(
                self.env._(
                    "The TLS certificate of %(host)s cannot be trusted: %(reason)s. "
                    "Install a valid certificate there; for a test server you may turn "
                    "off “Verify TLS Certificate”.",
                    host=self.host,
                    reason=certificate.verify_message,
                )
            )
        if isinstance(error, requests.Timeout) or _find(error, TimeoutError):
            return MatrixError(
                self.env._(
                    "%(host)s did not answer in time. Is the homeserver running, "
                    "and can the Odoo server reach it?",
                    host=self.host,
                )
            )
        if _find(error, ssl.SSLError):
            return MatrixError(
                self.env._(
                    "%(host)s does not use TLS on this port. Check the port, or "
                    "whether the address should begin with http://.",
                    host=self.host,
                )
            )
        if _find(error, socket.gaierror):
            return MatrixError(
                self.env._(
                    "No host named %(host)s was found. Is it spelled correctly?",
                    host=self.host,
                )
            )
        if _find(error, ConnectionRefusedError):
            return MatrixError(
                self.env._(
                    "Cannot connect to %(url)s. Is the homeserver running, and is "
                    "the port correct?",
                    url=self.url,
                )
            )
        if isinstance(error, requests.exceptions.InvalidURL):
            return self._no_address()
        return MatrixError(
            self.env._(
                "The connection to %(host)s was interrupted before an answer "
                "arrived. Try again; if it keeps happening, check the logs of the "
                "homeserver or of its proxy.",
                host=self.host,
            )
        )

    def _refusal(self, response, answer):
        status = response.status_code
        answer = answer if isinstance(answer, dict) else {}
        errcode = answer.get("errcode")
        errcode = self._remote(errcode) if isinstance(errcode, str) else None
        said = self._remote(answer.get("error") or response.reason or "")
        if 300 <= status < 400:
            target = urlsplit(response.headers.get("Location", ""))
            message = self.env._(
                "%(url)s redirects to %(target)s. Odoo does not follow redirects, "
                "because the token would be sent along: enter the final address.",
                url=self.url,
                target=self._remote(f"{target.scheme}://{target.netloc.split('@')[-1]}")
                if target.netloc
                else self._remote(target.path) or "?",
            )
        elif errcode in ("M_UNKNOWN_TOKEN", "M_MISSING_TOKEN"):
            message = self.env._(
                "%(host)s does not know the access token. It was revoked, has "
                "expired, or belongs to another homeserver: enter a new one.",
                host=self.host,
            )
        elif errcode in ("M_USER_LOCKED", "M_USER_SUSPENDED", "M_USER_DEACTIVATED"):
            message = self.env._(
                "The account is locked, suspended or deactivated on %(host)s. The "
                "administrator of the homeserver must unlock it.",
                host=self.host,
            )
        elif status == 429:
            message = self.env._(
                "%(host)s asks to wait: this account has sent too many requests. "
                "Try again in %(seconds)s seconds.",
                host=self.host,
                seconds=_seconds(response, answer),
            )
        elif errcode is None or errcode == "M_UNRECOGNIZED":
            if status < 500:
                return self._not_matrix(errcode, status)
            message = self.env._(
                "%(host)s is not able to answer at the moment (HTTP %(status)s "
                "%(said)s). Try again later.",
                host=self.host,
                status=status,
                said=said,
            )
        else:
            message = self.env._(
                "%(host)s refused: %(said)s (%(errcode)s).",
                host=self.host,
                said=said.rstrip("."),
                errcode=errcode,
            )
        return MatrixError(message, errcode=errcode, status=status)

    def _remote(self, text):
        """Return text of the server, bounded, on one line, and without our token."""
        text = str(text)
        if self._token:
            text = text.replace(self._token, "…")
        return " ".join(text.split())[:MAX_REMOTE_TEXT]


def _unsigned(request):
    return request


def _part(value):
    """Return ``value`` as one segment of a path."""
    return quote(value, safe="")


def _list(answer, key, kind):
    values = answer.get(key)
    if not isinstance(values, list):
        return []
    return [value for value in values if isinstance(value, kind)]


def _seconds(response, answer):
    """Return how long the server wants us to wait, in whole seconds."""
    wait_ms = answer.get("retry_after_ms")
    if isinstance(wait_ms, int | float) and 0 <= wait_ms < 1e9:
        return max(1, round(wait_ms / 1000))
    header = response.headers.get("Retry-After", "")
    return int(header) if header.isdigit() and len(header) < 7 else 60


def _authorities():
    """Return where authorities are looked up: the system's store, as the worker does.

    requests has a list of its own, which knows no authority of this house.
    """
    if os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE"):
        return True
    paths = ssl.get_default_verify_paths()
    if paths.cafile:
        return paths.cafile
    is_filled = paths.capath and any(os.scandir(paths.capath))
    return paths.capath if is_filled else True


def _find(error, kind):
    """Return the first exception of this kind among ``error`` and what caused it."""
    seen, todo = set(), [error]
    while todo:
        current = todo.pop(0)
        if id(current) in seen or not isinstance(current, BaseException):
            continue
        if isinstance(current, kind):
            return current
        seen.add(id(current))
        todo += [
            *current.args,
            getattr(current, "reason", None),
            current.__cause__,
            current.__context__,
        ]
    return None
