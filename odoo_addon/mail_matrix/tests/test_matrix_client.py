import json
import socket
import time
from contextlib import suppress
from unittest.mock import patch

from odoo.exceptions import UserError
from odoo.http import serialize_exception
from odoo.tests import TransactionCase

from ..models.matrix_thread_mixin.room import EncryptedRoom
from ..tools import matrix_call
from ..tools.matrix_client import MatrixClient
from ..tools.matrix_error import ExplainedError, MatrixError
from .homeserver import BOT, TOKEN, Dripping, Homeserver, Raw

ROOM = "!room/with a slash"


class MatrixClientCase(TransactionCase):
    def homeserver(self, **options):
        homeserver = Homeserver(**options)
        self.addCleanup(homeserver.stop)
        return homeserver

    def client(self, homeserver, token=TOKEN, **options):
        return MatrixClient(self.env, homeserver.url, token, **options)

    def refused(self, call, *args, **kwargs):
        """Return the text with which ``call`` fails, which never holds the token."""
        with self.assertRaises(MatrixError) as caught:
            call(*args, **kwargs)
        self.assertNotIn(TOKEN, repr(caught.exception))
        # Nothing that carries the request may hang on the error either.
        error = caught.exception
        self.assertTrue(error.__suppress_context__ or not error.__context__)
        return str(caught.exception)


class TestMatrixClient(MatrixClientCase):
    def test_the_token_goes_to_those_endpoints_only_that_need_it(self):
        homeserver = self.homeserver()
        client = self.client(homeserver)

        self.assertEqual(client.versions(), ["v1.11", "v1.15"])
        self.assertEqual(client.server_version(), "Synapse 1.163.2")
        self.assertEqual(client.whoami()["device_id"], "ODOO")

        self.assertEqual(homeserver.tokens, ["", "", TOKEN])

    def test_path_segments_are_quoted(self):
        homeserver = self.homeserver()
        homeserver.answers["POST", f"/rooms/{ROOM}/join"] = (200, {})

        self.client(homeserver).join(ROOM)

        self.assertEqual(homeserver.asked("POST", f"/rooms/{ROOM}/join"), [{}])

    def test_nothing_found_is_not_an_error_where_it_may_be_missing(self):
        client = self.client(self.homeserver())

        self.assertIsNone(client.account_data(BOT, "m.direct"))
        self.assertIsNone(client.displayname(BOT))
        self.assertIsNone(client.state_event(ROOM, "m.room.tombstone"))
        with self.assertRaises(MatrixError) as caught:
            client.resolve_alias("#nothing:example.org")
        self.assertEqual(caught.exception.errcode, "M_NOT_FOUND")

    def test_state_is_read_with_and_without_its_envelope(self):
        homeserver = self.homeserver()
        path = f"/rooms/{ROOM}/state/m.room.create/"
        client = self.client(homeserver)

        homeserver.answers["GET", path] = (
            200,
            {"event_id": "$1", "sender": BOT, "content": {"room_version": "12"}},
        )
        self.assertEqual(
            client.state_event(ROOM, "m.room.create"),
            {"content": {"room_version": "12"}, "sender": BOT},
        )
        homeserver.answers["GET", path] = (200, {"room_version": "12"})
        self.assertEqual(
            client.state_event(ROOM, "m.room.create"),
            {"content": {"room_version": "12"}, "sender": None},
        )

    def test_a_directory_search_says_whether_there_is_more(self):
        homeserver = self.homeserver()
        homeserver.answers["POST", "/user_directory/search"] = (
            200,
            {"results": [{"user_id": "@a:b"}, "nonsense"], "limited": True},
        )

        found = self.client(homeserver).search_users("a", limit=5)

        self.assertEqual(found, ([{"user_id": "@a:b"}], True))
        self.assertEqual(
            homeserver.asked("POST", "/user_directory/search"),
            [{"search_term": "a", "limit": 5}],
        )

    def test_a_dead_host_is_named_by_its_address(self):
        homeserver = Homeserver()
        homeserver.stop()

        text = self.refused(self.client(homeserver).versions)

        self.assertIn(f"Cannot connect to {homeserver.url}", text)

    def test_an_unknown_host_is_named(self):
        client = MatrixClient(self.env, "http://localhost:1")
        client._reasons.host = "matrix.exmaple.org"

        with patch.object(socket, "getaddrinfo", side_effect=socket.gaierror(-2, "x")):
            text = self.refused(client.versions)

        self.assertIn("No host named matrix.exmaple.org", text)

    def test_an_address_that_cannot_be_called_is_explained(self):
        url = "http://127.0.0.1:99999"

        text = self.refused(MatrixClient(self.env, url).versions)

        self.assertIn(f"“{url}” is not a valid address", text)

    def test_a_wrong_token_is_reported_and_not_repeated(self):
        client = self.client(self.homeserver(), token="syt_other_secret")

        with self.assertRaises(MatrixError) as caught:
            client.whoami()

        self.assertIn("does not know the access token", str(caught.exception))
        self.assertNotIn("syt_other_secret", str(caught.exception))
        self.assertEqual(caught.exception.errcode, "M_UNKNOWN_TOKEN")

    def test_what_a_server_says_loses_the_token_and_is_bounded(self):
        homeserver = self.homeserver()
        said = {"errcode": "M_FORBIDDEN", "error": f"no\n{TOKEN} " + "x" * 5000}
        homeserver.answers["GET", "/joined_rooms"] = (403, said)

        text = self.refused(self.client(homeserver).joined_rooms)

        self.assertIn("(M_FORBIDDEN)", text)
        self.assertIn("no … x", text)
        self.assertLess(len(text), 400)

    def test_a_redirect_is_not_followed(self):
        homeserver = self.homeserver()
        elsewhere = self.homeserver()
        homeserver.answers["GET", "/account/whoami"] = (
            307,
            {},
            ("Location", f"{elsewhere.url}/_matrix/client/v3/account/whoami?x={TOKEN}"),
        )

        text = self.refused(self.client(homeserver).whoami)

        self.assertIn(f"redirects to {elsewhere.url}.", text)
        self.assertEqual(elsewhere.requests, [])

    def test_another_server_is_not_taken_for_a_homeserver(self):
        homeserver = self.homeserver()
        page = b"<html>It works!</html>"
        for answer in (
            (200, page),
            (404, page),
            (200, []),
            (200, {"versions": []}),
            (200, b"[" * 100_000),
            (404, {"errcode": "M_UNRECOGNIZED", "error": "?"}),
        ):
            homeserver.answers["GET", "/_matrix/client/versions"] = answer

            text = self.refused(self.client(homeserver).versions)

            self.assertIn("not a Matrix homeserver", text)

    def test_a_silent_server_is_not_waited_for(self):
        homeserver = self.homeserver()
        homeserver.answers["GET", "/_matrix/client/versions"] = lambda body: None

        text = self.refused(self.client(homeserver, read_timeout=0.2).versions)

        self.assertIn("did not answer in time", text)

    def test_a_dripping_answer_ends_with_the_total_timeout(self):
        body = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n"
        for at_once in (b"", b"HTTP/1.1 200 OK\r\nX-Header: ", body, chunked):
            for certificate in (False, True):
                server = Dripping(at_once, certificate)
                self.addCleanup(server.stop)
                client = self.client(server, verify_ssl=False, total_timeout=0.4)
                started = time.monotonic()

                text = self.refused(client.versions)

                # It drips for ten seconds, and never falls silent for long.
                self.assertLess(time.monotonic() - started, 2, at_once)
                self.assertIn("did not answer in time", text)

    def test_an_endless_answer_is_cut_off(self):
        homeserver = self.homeserver()
        page = (200, b" " * 100_000)
        homeserver.answers["GET", "/_matrix/client/versions"] = page

        with patch.object(matrix_call, "MAX_ANSWER_BYTES", 50_000):
            text = self.refused(self.client(homeserver).versions)

        self.assertIn("sent an answer of more than", text)

    def test_a_broken_connection_is_explained(self):
        homeserver = self.homeserver()
        homeserver.answers["GET", "/joined_rooms"] = lambda body: (
            200,
            b"{",
            ("Content-Length", "100"),
        )

        text = self.refused(self.client(homeserver).joined_rooms)

        self.assertIn("interrupted before an answer", text)

    def test_the_error_of_a_limited_account_says_how_long_to_wait(self):
        homeserver = self.homeserver()
        said = {"errcode": "M_LIMIT_EXCEEDED", "error": "!", "retry_after_ms": 4017}
        homeserver.answers["GET", "/joined_rooms"] = (429, said)

        text = self.refused(self.client(homeserver).joined_rooms)

        self.assertIn("Try again in 4 seconds", text)

    def test_the_error_of_a_proxy_without_its_homeserver_has_the_status(self):
        homeserver = self.homeserver()
        homeserver.answers["GET", "/joined_rooms"] = (502, b"<html>Bad Gateway</html>")

        text = self.refused(self.client(homeserver).joined_rooms)

        self.assertIn("HTTP 502 Bad Gateway", text)

    def test_the_body_of_a_request_is_json(self):
        homeserver = self.homeserver()
        homeserver.answers["POST", "/createRoom"] = lambda body: (
            200,
            {"room_id": json.dumps(body, sort_keys=True)},
        )

        room = self.client(homeserver).create_room(
            room_alias_name="case-1", name="Müller ./. Rest"
        )

        self.assertEqual(
            json.loads(room), {"room_alias_name": "case-1", "name": "Müller ./. Rest"}
        )

    def test_whatever_comes_back_becomes_a_readable_error(self):
        """Each answer of a broken server or proxy, for each kind of call."""
        ok = b"HTTP/1.1 200 OK\r\n"
        hostile = [
            b"",
            b"\x00\xff" * 50,
            b"HTTP/1.1\r\n\r\n",
            b"HTTP/1.1 99999 X\r\n\r\n",
            b"HTTP/1.1 200 OK",
            ok + b"Content-Length: ten\r\n\r\n{}",
            ok + b"Content-Length: 10\r\n\r\n{}",
            ok + b"Content-Length: -1\r\n\r\n{}",
            ok + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}",
            ok + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
            ok + b"Content-Encoding: deflate\r\nContent-Length: 2\r\n\r\n{}",
            ok + b"".join(b"X-%d: y\r\n" % n for n in range(200)) + b"\r\n{}",
            ok + b"X: " + b"y" * 100_000 + b"\r\n\r\n{}",
            b"HTTP/1.1 302 Found\r\nLocation: //[\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 407 X\r\nContent-Length: 0\r\n\r\n",
        ]
        for body in (
            b"null",
            b"[]",
            b'"text"',
            b"NaN",
            b"[" * 100_000,
            b'{"user_id": null}',
            b'{"user_id": "\\ud800"}',
            b'{"errcode": [], "error": {}}',
            b'{"joined": 3, "chunk": [{"state_key": []}], "joined_rooms": {}}',
        ):
            for status in (b"200 OK", b"404 X", b"429 X", b"502 X"):
                length = b"Content-Length: %d\r\n\r\n" % len(body)
                hostile.append(b"HTTP/1.1 " + status + b"\r\n" + length + body)
        for raw in hostile:
            for call, *arguments in (
                ("versions",),
                ("server_version",),
                ("whoami",),
                ("joined_rooms",),
                ("joined_members", ROOM),
                ("invited_members", ROOM),
                ("state_event", ROOM, "m.room.create"),
                ("account_data", BOT, "m.direct"),
                ("search_users", "anna"),
                ("has_account", BOT),
            ):
                server = Raw(raw)
                client = MatrixClient(
                    self.env, server.url, TOKEN, True, connect_timeout=1, read_timeout=1
                )
                with self.subTest(raw=raw[:80], call=call), suppress(MatrixError):
                    getattr(client, call)(*arguments)
                server.stop()

    def test_the_web_client_shows_these_errors_like_odoos_own(self):
        shown = "odoo.exceptions.UserError"
        for error in (MatrixError("No"), EncryptedRoom("No")):
            answer = serialize_exception(error)

            self.assertEqual(answer["context"]["exception_class"], shown)
            self.assertEqual(answer["arguments"], ("No",))

    def test_every_class_of_error_of_these_addons_is_shown_in_words(self):
        todo = [UserError]
        for kind in todo:
            todo += kind.__subclasses__()
        own = [kind for kind in todo if "matrix" in kind.__module__]

        self.assertIn(MatrixError, own)
        for kind in own:
            self.assertTrue(issubclass(kind, ExplainedError), kind)
