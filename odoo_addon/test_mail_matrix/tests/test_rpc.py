import inspect
import json

from odoo import Command
from odoo.tests import HttpCase, tagged
from odoo.tools import mute_logger

from .common import TicketCase

MANAGER = "mail_matrix.group_matrix_manager"


@tagged("post_install", "-at_install")
class TestRpc(HttpCase, TicketCase):
    """From outside nobody touches what the worker sends and what it wrote."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        branch = cls.env["res.company"].create({"name": "Branch"})
        cls.manager.company_ids = cls.env["res.company"].search([])
        theirs = {"company_id": branch.id, "company_ids": [Command.set(branch.ids)]}
        cls.make_user("employee", "base.group_user")
        cls.make_user("matrix-portal", "base.group_portal")
        cls.make_user("branch-manager", MANAGER, **theirs)
        admin = cls.env.ref("base.user_admin")
        cls.logins = (
            "matrix-user",
            "matrix-manager",
            "branch-manager",
            "employee",
            "matrix-portal",
            admin.login,
        )
        for user in cls.env["res.users"].search([("login", "in", cls.logins)]):
            user.password = f"{user.login}-{user.login}"
        cls.backend.personal_access_token = "syt_secret"
        cls.ticket._matrix_enqueue("manual", "Waiting")
        cls.waiting = cls.outbox()[0]["id"]
        cls.logged = cls.log_row(backend_id=cls.backend.id, payload="Sent").id

    def call(self, model, method, *args, **kwargs):
        """Return the result of a call of the web client, or the name of its error."""
        params = {"model": model, "method": method, "args": args, "kwargs": kwargs}
        answer = self.url_open(
            "/web/dataset/call_kw",
            data=json.dumps({"jsonrpc": "2.0", "params": params}),
            headers={"Content-Type": "application/json"},
        ).json()
        error = answer.get("error")
        return error["data"]["name"] if error else answer.get("result")

    def log_in(self, login):
        self.authenticate(login, f"{login}-{login}")

    def stored(self):
        self.env.cr.execute("SELECT to_jsonb(l) FROM matrix_log AS l ORDER BY id")
        return self.outbox(), self.env.cr.fetchall()

    def attempts(self):
        """Yield the arguments of calls that would change, or give away, something."""
        row = {"backend_id": self.backend.id, "room_id": "!mine", "txn_id": "x"}
        for model, res_id in (
            ("matrix.outbox", self.waiting),
            ("matrix.log", self.logged),
        ):
            yield model, "create", [row]
            yield model, "web_save", [], row, {}
            yield model, "write", [res_id], {"room_id": "!mine"}
            yield model, "web_save", [res_id], {"room_id": "!mine"}, {}
            yield model, "unlink", [res_id]
            yield model, "copy", [res_id]
            yield model, "name_create", "x"
        yield "matrix.outbox", "_insert_rows", [row]
        yield "matrix.outbox", "_note", [self.waiting], "manual"
        yield "matrix.log", "_insert_failures", [row]
        yield "matrix.backend", "init", [self.backend.id]
        for method in ("_token", "_client", "_rotate_token_key"):
            yield "matrix.backend", method, [self.backend.id]
        yield "matrix.backend", "_store_sealed", [self.backend.id], "plain:x"
        yield "matrix.backend", "read", [self.backend.id], ["token_sealed"]
        ticket = [self.ticket.id]
        yield self.ticket._name, "_matrix_enqueue", ticket, "manual", "Hello"
        yield self.ticket._name, "_matrix_client", ticket
        yield self.ticket._name, "_matrix_note", ticket, "manual"

    def test_no_role_changes_messages_or_calls_private_methods(self):
        before = self.stored()
        for login in self.logins:
            self.log_in(login)
            for attempt in self.attempts():
                with self.subTest(login, call=attempt[:2]), mute_logger("odoo.http"):
                    self.assertEqual(self.call(*attempt), "odoo.exceptions.AccessError")
        self.commit()
        self.assertEqual(self.stored(), before)

    def test_who_is_not_logged_in_calls_nothing(self):
        before = self.stored()
        self.authenticate(None, None)
        for attempt in self.attempts():
            with mute_logger("odoo.http"):
                answer = self.call(*attempt)
            self.assertEqual(answer, "odoo.http.SessionExpiredException")
        self.assertEqual(self.stored(), before)

    def test_who_may_not_read_them_does_not(self):
        reads = [
            (model, "search_read", []) for model in ("matrix.outbox", "matrix.log")
        ]
        for login in ("employee", "matrix-portal"):
            self.log_in(login)
            for read in (*reads, ("matrix.backend", "search_read", [])):
                with mute_logger("odoo.http"):
                    self.assertEqual(self.call(*read), "odoo.exceptions.AccessError")

        self.log_in("matrix-manager")
        for read in reads:
            self.assertEqual(len(self.call(*read)), 1, "These calls do arrive")

    def test_the_buttons_of_a_user_work_from_outside(self):
        self.log_in("matrix-user")
        ticket = [self.ticket.id]

        action = self.call(self.ticket._name, "action_matrix_send_test", ticket)

        self.assertEqual(action["type"], "ir.actions.client")
        self.assertEqual(self.bodies(), ["Waiting", "Hello from Odoo"])

    def own_models(self):
        """Return the models of this addon, and some that it gives methods to."""
        names = sorted(name for name in self.env.registry if name.startswith("matrix."))
        stored = [name for name in names if not self.env[name]._abstract]
        return [*stored, "res.partner", "res.users", self.ticket._name]

    def public_methods(self, model):
        """Yield name and arguments of what this addon offers to callers."""
        for name, method in inspect.getmembers(type(self.env[model]), callable):
            module = getattr(method, "__module__", "")
            if name.startswith("_") or not module.startswith("odoo.addons.mail_matrix"):
                continue
            # Others decide who may do with their records what has no part in Matrix.
            if model.startswith("matrix.") or "matrix" in name:
                yield name, self.arguments_of(model, method)

    def arguments_of(self, model, method):
        """Return what a method can be called with, on a record if it needs one."""
        is_of_model = getattr(method, "_api", None) == "model"
        is_of_model = is_of_model or getattr(method, "_api_model", False)
        values = {"name": "x"}
        known = {"vals_list": [values], "vals": values}
        needed = [
            known.get(parameter.name, {})
            for parameter in inspect.signature(method).parameters.values()
            if parameter.default is parameter.empty and parameter.name != "self"
        ]
        if is_of_model or method.__name__ == "create":
            return needed
        # One that exists, where there is any: a missing record is another refusal.
        return [self.env[model].search([], limit=1).ids or [1], *needed]

    def test_portal_and_employees_are_refused_by_every_public_method(self):
        ours = {model: [*self.public_methods(model)] for model in self.own_models()}
        called = {name for methods in ours.values() for name, _arguments in methods}
        self.assertLessEqual({"action_start_dm", "action_sync", "action_send"}, called)
        before = self.stored()
        for login in ("matrix-portal", "employee"):
            self.log_in(login)
            for model, methods in ours.items():
                for name, arguments in methods:
                    with self.subTest(login, model=model, method=name):
                        with mute_logger("odoo.http"):
                            answer = self.call(model, name, *arguments)
                        self.assertEqual(answer, "odoo.exceptions.AccessError")
        self.assertEqual(self.stored(), before)
