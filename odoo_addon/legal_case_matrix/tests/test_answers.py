from odoo.exceptions import UserError
from odoo.tests import tagged

from odoo.addons.mail_matrix.tests.homeserver import BOT

from .common import ROOM
from .test_room import RoomCase

_STATUSES = (200, 204, 301, 400, 401, 403, 404, 409, 413, 429, 500, 502, 503, 599)
_BODIES = (
    {"errcode": "M_UNKNOWN", "error": "Something"},
    {"errcode": None, "error": [], "retry_after_ms": "soon"},
    b"<html>Bad Gateway</html>",
)


class Everything(dict):
    """Gives one answer for every endpoint, or for all but those that work."""

    def __init__(self, answer, sound=()):
        super().__init__(sound)
        self.answer = answer

    def get(self, key, default=None):
        return super().get(key, self.answer)


@tagged("post_install", "-at_install")
class TestAnswers(RoomCase):
    """Whatever a homeserver answers, a button ends in words and never in “Oops!”."""

    def buttons(self):
        """Return, by name, what to click and what the click needs before."""
        case, backend = self.case, self.backend

        def without_room():
            case.write({"matrix_room_id": False, "matrix_room_alias": False})

        def with_alias():
            case.matrix_room_alias = "#case:example.org"

        def with_person():
            self.lawyer.matrix_user_id = "@lawyer:example.org"
            case.lawyer_ids = self.lawyer

        def sync():
            syncs = self.env["matrix.contact.sync"]
            values = {"backend_id": backend.id, "with_rooms": True, "term": "anna"}
            return syncs.create(values).action_sync()

        def enter_account():
            user = self.env["res.users"].new({"matrix_user_id": "@anna:example.org"})
            return user._onchange_matrix_user_id() or {}

        return {
            "Test Connection": (backend.action_test_connection, None),
            "Create Room": (case.action_matrix_create_room, without_room),
            "Check Room": (case.action_matrix_check_room, None),
            "Find Room": (case.action_matrix_resolve_alias, with_alias),
            "Invite People": (case.action_matrix_invite_people, with_person),
            "Sync Contacts": (sync, None),
            "Matrix ID": (enter_account, None),
        }

    def click(self, name, answers):
        """Click, and return what the person reads."""
        click, prepare = self.buttons()[name]
        if prepare:
            prepare()
        self.homeserver.answers = answers
        try:
            action = click()
        except UserError as error:
            return str(error)
        self.assertIsInstance(action, dict)
        return action.get("params", {}).get("message") or action

    def test_every_status_with_and_without_matrix_json(self):
        for name in self.buttons():
            for status in _STATUSES:
                for body in _BODIES:
                    with self.subTest(name, status=status, body=body):
                        self.click(name, Everything((status, body)))

    def test_every_status_from_all_but_the_first_endpoints(self):
        """The account is known and in the room; then the homeserver breaks."""
        sound = dict(self.answers)
        sound["GET", "/joined_rooms"] = (200, {"joined_rooms": [ROOM]})
        self.assertIn(("GET", "/account/whoami"), sound)
        for name in self.buttons():
            for status in _STATUSES:
                for body in _BODIES[:2]:
                    with self.subTest(name, status=status, body=body):
                        self.click(name, Everything((status, body), sound))

    def test_account_data_and_members_of_every_shape(self):
        shapes = [None, [], {}, 1.5, True, "x", [[]], {"a": 1}]
        rooms = [f"/rooms/{ROOM}/joined_members", f"/rooms/{ROOM}/members"]
        for shape in shapes:
            data = {"@anna:example.org": shape, "x": shape, "@b:x": [shape, ROOM]}
            for content in (shape, data, {"joined": shape, "chunk": shape}, [data]):
                sound = dict(self.answers)
                sound["GET", f"/user/{BOT}/account_data/m.direct"] = (200, content)
                for path in rooms:
                    sound["GET", path] = (200, content)

                answers = Everything((404, {"errcode": "M_NOT_FOUND"}), sound)
                for name in ("Sync Contacts", "Invite People"):
                    with self.subTest(name, content=content):
                        self.click(name, answers)
                with self.subTest("Create Room", state=content):
                    self.click("Create Room", Everything((200, content), sound))
