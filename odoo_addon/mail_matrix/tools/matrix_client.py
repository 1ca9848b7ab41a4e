"""Requests to a homeserver while a person waits. Messages are never sent from here."""

from urllib.parse import quote

from .matrix_call import MatrixCall
from .matrix_error import MatrixError
from .people import split_mxc

CLIENT = "/_matrix/client/v3"
PASSWORD_LOGIN = "m.login.password"


class MatrixClient(MatrixCall):
    """One account on one homeserver; one method for each endpoint."""

    # Server and account

    def versions(self):
        """Return the versions of the specification that the server supports."""
        answer = self._call("GET", "/_matrix/client/versions", signed=False)
        versions = answer.get("versions")
        if not isinstance(versions, list) or not versions:
            raise self._reasons.not_matrix()
        return [str(version) for version in versions]

    def server_version(self):
        """Return name and version of the server's software."""
        answer = self._call("GET", "/_matrix/federation/v1/version", signed=False)
        server = answer.get("server")
        if not isinstance(server, dict):
            raise self._reasons.not_matrix()
        words = (server.get("name"), server.get("version"))
        return self._reasons.remote(" ".join(str(word) for word in words if word))

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
            raise self._reasons.not_matrix()
        return answer

    def login_types(self):
        """Return the ways to log in, under their names in the specification."""
        answer = self._call("GET", f"{CLIENT}/login", signed=False)
        flows = _list(answer, "flows", dict)
        return [str(flow.get("type")) for flow in flows]

    def login(self, user, password, device_name):
        """Return the access token of a new device of this account.

        :param user: a complete Matrix ID, or the part before the colon
        """
        self._reasons.hide(password)
        body = {
            "type": PASSWORD_LOGIN,
            "identifier": {"type": "m.id.user", "user": user},
            "password": password,
            "initial_device_display_name": device_name,
        }
        answer = self._call("POST", f"{CLIENT}/login", body, signed=False)
        if not isinstance(answer.get("access_token"), str):
            raise self._reasons.not_matrix()
        return answer["access_token"]

    def make_device(self, user_id, device_id, name):
        """Make a device of ``user_id``, as an application service, unless it exists."""
        try:
            path = f"{CLIENT}/devices/{_part(device_id)}"
            self._call("PUT", path, {"display_name": name})
        except MatrixError as error:
            # Older homeservers.
            if error.status != 404:
                raise
            body = {
                "type": "m.login.application_service",
                "identifier": {"type": "m.id.user", "user": user_id},
                "device_id": device_id,
                "initial_device_display_name": name,
            }
            self._call("POST", f"{CLIENT}/login", body)

    def logout(self):
        """Make the homeserver forget the token and its device."""
        self._call("POST", f"{CLIENT}/logout", {})

    def displayname(self, user_id):
        """Return the display name of ``user_id``, or nothing."""
        path = f"{CLIENT}/profile/{_part(user_id)}/displayname"
        answer = self._call_or_none("GET", path)
        return answer and answer.get("displayname")

    def set_displayname(self, user_id, name):
        path = f"{CLIENT}/profile/{_part(user_id)}/displayname"
        self._call("PUT", path, {"displayname": name})

    def profile(self, user_id):
        """Return ``displayname`` and ``avatar_url`` of an account, if it has them; None
        if there is no such account."""
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
        """Whether there may be an account ``user_id``, which must be on this server.

        If the server does not answer that, or not to us, the account is not doubted.
        """
        try:
            return self.profile(user_id) is not None
        except MatrixError as error:
            if error.status in (403, 404):
                return True
            raise

    def knows(self, user_id):
        """Whether ``user_id`` is on another server, or may exist on this one."""
        server = self.whoami()["user_id"].partition(":")[2]
        return user_id.partition(":")[2] != server or self.has_account(user_id)

    # Encryption

    def device(self, user_id, device_id):
        """Return what the homeserver tells everybody about the keys of this device:
        ``fingerprint`` and ``is_signed``; None if it has no keys."""
        answer = self._query_keys(user_id)
        device = _of(answer, "device_keys", user_id, device_id)
        fingerprint = _of(device, "keys").get(f"ed25519:{device_id}")
        signers = _of(answer, "self_signing_keys", user_id, "keys")
        signatures = _of(device, "signatures", user_id)
        return fingerprint and {
            "fingerprint": fingerprint,
            # Whether the signature is valid is checked by those who read.
            "is_signed": any(signer in signatures for signer in signers),
        }

    def has_signing_keys(self, user_id):
        """Whether this account has keys with which its devices are signed."""
        answer = self._query_keys(user_id)
        return bool(_of(answer, "master_keys", user_id, "keys"))

    def _query_keys(self, user_id):
        body = {"device_keys": {user_id: []}}
        return self._call("POST", f"{CLIENT}/keys/query", body)

    def encrypts_new_rooms(self):
        """Whether this server asks clients to encrypt new rooms; None if it does not
        say."""
        path = "/.well-known/matrix/client"
        answer = self._call("GET", path, signed=False)
        return _of(answer, "io.element.e2ee").get("default")

    def search_users(self, term, limit=50):
        """Return dicts with ``user_id``, and whether there are more of them."""
        body = {"search_term": term, "limit": limit}
        answer = self._call("POST", f"{CLIENT}/user_directory/search", body)
        return _list(answer, "results", dict), bool(answer.get("limited"))

    def thumbnail(self, mxc, pixels):
        """Return the bytes of a small picture of the file at ``mxc``."""
        how = f"?width={pixels}&height={pixels}&method=crop&animated=false"
        return self._media("thumbnail", mxc, how)

    def download(self, mxc):
        """Return the bytes of the file at ``mxc``."""
        return self._media("download", mxc)

    def _media(self, what, mxc, query=""):
        server, media = split_mxc(mxc)
        path = f"/_matrix/client/v1/media/{what}/{_part(server)}/{_part(media)}{query}"
        response, raw = self._ask("GET", path)
        if response.status_code != 200:
            raise self._reasons.refusal(response, self._parse(raw))
        return raw

    # Rooms

    def resolve_alias(self, alias):
        """Return the id of the room that ``alias`` leads to. 404 if there is none."""
        answer = self._call("GET", f"{CLIENT}/directory/room/{_part(alias)}")
        if not isinstance(answer.get("room_id"), str):
            raise self._reasons.not_matrix()
        return answer["room_id"]

    def create_room(self, **values):
        """Create a room and return its id.

        The endpoint has no transaction id. A ``room_alias_name`` takes its place: for a
        second request the server answers ``M_ROOM_IN_USE`` and creates no second room.
        """
        answer = self._call("POST", f"{CLIENT}/createRoom", values)
        if not isinstance(answer.get("room_id"), str):
            raise self._reasons.not_matrix()
        return answer["room_id"]

    def invite(self, room_id, user_id):
        path = f"{CLIENT}/rooms/{_part(room_id)}/invite"
        self._call("POST", path, {"user_id": user_id})

    def kick(self, room_id, user_id):
        """Remove somebody from a room, or withdraw an invitation."""
        path = f"{CLIENT}/rooms/{_part(room_id)}/kick"
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
        """Return the ids of those who are invited to a joined room and not in it."""
        path = f"{CLIENT}/rooms/{_part(room_id)}/members?membership=invite"
        members = _list(self._call("GET", path), "chunk", dict)
        return {str(member.get("state_key")) for member in members}

    def state_event(self, room_id, event_type, state_key=""):
        """Return ``content`` and ``sender``, if given, of a state event.

        None if the room has no such state. 403 if the account may not read it.
        """
        path = (
            f"{CLIENT}/rooms/{_part(room_id)}/state/"
            f"{_part(event_type)}/{_part(state_key)}?format=event"
        )
        answer = self._call_or_none("GET", path)
        if answer is None:
            return None
        # Servers that do not support the format answer with the content alone.
        content = answer.get("content") if "event_id" in answer else answer
        return {
            "content": content if isinstance(content, dict) else {},
            "sender": answer.get("sender") if "event_id" in answer else None,
        }


def _part(value):
    """Return ``value`` as one segment of a path."""
    return quote(value, safe="")


def _of(answer, *path):
    """Return the object at ``path`` in a server's answer, or an empty one."""
    for key in path:
        answer = answer.get(key) if isinstance(answer, dict) else None
    return answer if isinstance(answer, dict) else {}


def _list(answer, key, kind):
    values = answer.get(key)
    if not isinstance(values, list):
        return []
    return [value for value in values if isinstance(value, kind)]
