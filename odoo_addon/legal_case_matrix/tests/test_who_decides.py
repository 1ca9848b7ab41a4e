import json

from odoo.exceptions import AccessError
from odoo.tests import HttpCase, tagged

from .common import ROOM, LegalMatrixCase

THEIRS = "!theirs:evil.example"
DECIDING = {
    "matrix_enabled": False,
    "matrix_room_id": THEIRS,
    "matrix_room_alias": "#theirs:evil.example",
    "matrix_mirror_chatter": True,
    "matrix_mirror_notes": True,
    "matrix_receives_replies": True,
    "matrix_follow_people": False,
    "matrix_send_unencrypted": True,
}
# Kept for each person, and sent in the name of the account all the same.
DRAFT = {"matrix_message": "Pay to this account"}
FOUND = {
    "matrix_room_health": "ok",
    "matrix_room_found": {"code": "ok"},
    "matrix_room_checked_at": "2026-01-01 00:00:00",
    "matrix_resolved_alias": "#theirs:evil.example",
    "matrix_was_linked": True,
}


@tagged("post_install", "-at_install")
class TestWhoDecides(HttpCase, LegalMatrixCase):
    """Where a case's messages go, and what is sent, is decided by Matrix Users."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.clerk = cls.make_user("clerk", "legal_case.legal_case_group_user")
        cls.case.message_subscribe(cls.clerk.partner_id.ids)
        cls.theirs = cls.case.with_user(cls.clerk)
        cls.theirs.check_access("write")

    def values(self, **values):
        return {"name": "New", "partner_id": self.partner.id, **values}

    def test_every_stored_field_of_the_room_is_judged(self):
        self.assertEqual(self.case._matrix_deciding_fields(), DECIDING.keys())
        self.assertEqual(self.case._matrix_found_fields(), FOUND.keys())
        mixin = self.env["matrix.thread.mixin"]
        for name, field in mixin._fields.items():
            if name.startswith("matrix_"):
                self.assertEqual(field.groups, "mail_matrix.group_matrix_user", name)

    def test_a_clerk_writes_none_of_them(self):
        for name, value in {**DECIDING, **DRAFT, **FOUND}.items():
            before = self.case[name]
            with self.assertRaises(AccessError, msg=name), self.env.cr.savepoint():
                self.theirs.write({name: value})
            with self.assertRaises(AccessError, msg=name), self.env.cr.savepoint():
                self.theirs.web_save({name: value}, {})
            self.assertEqual(self.case[name], before, name)

    def test_a_clerk_creates_no_case_with_one_whatever_way_the_value_comes(self):
        cases = self.env["legal.case"].with_user(self.clerk)
        for name, value in {**DECIDING, **DRAFT, **FOUND}.items():
            with self.assertRaises(AccessError, msg=name), self.env.cr.savepoint():
                cases.create(self.values(**{name: value}))
            with self.assertRaises(AccessError, msg=name), self.env.cr.savepoint():
                cases.with_context(**{f"default_{name}": value}).create(self.values())
            with self.assertRaises(AccessError, msg=name), self.env.cr.savepoint():
                cases.web_save(self.values(**{name: value}), {})
            with self.assertRaises(AccessError, msg=name), self.env.cr.savepoint():
                self.theirs.copy({name: value})
            with self.assertRaises(AccessError, msg=name), self.env.cr.savepoint():
                self.env["ir.default"].with_user(self.clerk).create(
                    {
                        "field_id": self.env["ir.model.fields"]
                        ._get("legal.case", name)
                        .id,
                        "json_value": json.dumps(value),
                        "user_id": self.clerk.id,
                    }
                )
                cases.create(self.values())

    def test_a_clerk_imports_none_of_them(self):
        fields = ["name", "partner_id/.id", "matrix_room_id"]
        data = [["Imported", str(self.partner.id), THEIRS]]
        imported = None
        try:
            with self.env.cr.savepoint():
                imported = self.theirs.browse().load(fields, data)
        except AccessError:
            imported = {"ids": False}

        self.assertFalse(imported["ids"])
        self.assertFalse(self.case.search([("matrix_room_id", "=", THEIRS)]))

    def test_a_clerk_writes_none_of_them_by_rpc(self):
        self.clerk.password = "clerk-clerk"
        self.authenticate("clerk", "clerk-clerk")
        for model_method, arguments in (
            ("write", [self.case.ids, {"matrix_room_id": THEIRS}]),
            ("create", [self.values(matrix_room_id=THEIRS)]),
            ("web_save", [self.case.ids, {"matrix_mirror_notes": True}]),
        ):
            params = {
                "model": "legal.case",
                "method": model_method,
                "args": arguments,
                "kwargs": {"specification": {}} if "web" in model_method else {},
            }
            answer = self.url_open(
                "/web/dataset/call_kw",
                data=json.dumps({"jsonrpc": "2.0", "params": params}),
                headers={"Content-Type": "application/json"},
            ).json()

            name = answer["error"]["data"]["name"]
            self.assertEqual(name, "odoo.exceptions.AccessError")
        self.case.invalidate_recordset()
        self.assertEqual(self.case.matrix_room_id, ROOM)
        self.assertFalse(self.case.matrix_mirror_notes)

    def test_what_a_clerk_does_to_cases_works_and_is_posted(self):
        self.theirs.stage_id = self.stages[1]
        hearing = self.create_hearing().with_user(self.clerk)
        hearing.location = "Room 7"
        self.case.matrix_mirror_chatter = True
        self.theirs.message_post(
            body="Seen", message_type="comment", subtype_xmlid="mail.mt_comment"
        )

        self.assertEqual(len(self.said()), 4)

    def test_a_clerk_creates_copies_and_moves_cases(self):
        self.case.write({"matrix_mirror_chatter": True, "matrix_mirror_notes": True})
        cases = self.env["legal.case"].with_user(self.clerk)
        created = cases.create(self.values())
        copied = self.theirs.copy()
        for case in (created, copied):
            self.assertTrue(case.sudo().matrix_enabled)
            self.assertFalse(case.sudo().matrix_mirror_notes)
        self.assertIn("name", self.theirs.read()[0])
        self.assertNotIn("matrix_room_id", self.theirs.read()[0])
        self.theirs.company_id = self.case.company_id

    def test_a_default_of_the_company_is_not_a_decision_of_the_clerk(self):
        self.env["ir.default"].set("legal.case", "matrix_mirror_chatter", True)
        cases = self.env["legal.case"].with_user(self.clerk)

        case = cases.create(self.values())

        self.assertTrue(case.sudo().matrix_mirror_chatter)
        with self.assertRaises(AccessError):
            cases.create(self.values(matrix_mirror_chatter=False))

    def test_what_the_homeserver_said_is_written_by_nobody(self):
        for name, value in FOUND.items():
            with self.assertRaises(AccessError, msg=name), self.env.cr.savepoint():
                self.case.write({name: value})
            with self.assertRaises(AccessError, msg=name), self.env.cr.savepoint():
                self.create_case(**{name: value})

    def test_who_decided_is_in_the_chatter(self):
        decided = dict(DECIDING)
        decided.pop("matrix_room_alias")
        for name, value in decided.items():
            before = self.case.message_ids
            self.case.write({name: value})
            self.flush_tracking()

            (message,) = self.case.message_ids - before
            self.assertEqual(message.author_id, self.lawyer.partner_id)
            tracked = message.sudo().tracking_value_ids.field_id.mapped("name")
            self.assertIn(name, tracked)
        self.assertEqual(self.said(), [], "Nothing is posted in the room")

    def flush_tracking(self):
        self.env.flush_all()
        self.cr.precommit.run()
