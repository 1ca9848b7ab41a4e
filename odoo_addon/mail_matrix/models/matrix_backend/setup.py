from datetime import timedelta

from odoo import api, models

# Somebody who has just sent the first message should see that everything is done.
_SHOWN_DONE = timedelta(hours=1)


class MatrixBackend(models.Model):
    """The way to the first message, for managers, until an hour after it was sent.

    How far they are is read from what exists; nothing is stored.
    """

    _inherit = "matrix.backend"

    @api.model
    def get_matrix_setup(self):
        """Return the steps as dicts, or False for users with nothing to set up.

        ``key``, ``done``, ``note`` (what prevents it) and ``action``, if there is
        something to open. Raises AccessError for users who have no Matrix group.
        """
        self.check_access("read")
        if not self.env.user.has_group("mail_matrix.group_matrix_manager"):
            return False
        # With all rights: whether anything was sent, not what.
        sent = self.env["matrix.log"].sudo()
        sent = sent.search([("status", "=", "ok")], order="date, id", limit=1)
        if sent and sent.date < self.env.cr.now() - _SHOWN_DONE:
            return False
        backend = self.search([("is_active", "=", True)], limit=1)
        model = self._setup_model()
        linked = (
            self.env[model].search([("matrix_room_id", "!=", False)], limit=1)
            if model
            else None
        )
        return [
            self._setup_connect(backend),
            self._setup_room(model, linked),
            self._setup_message(linked, bool(sent)),
        ]

    @api.model
    def _setup_connect(self, backend):
        done = (
            backend.token_state in ("sealed", "plain", "unsealed")
            and backend.test_result in ("ok", "warning")
            and not backend.test_outdated
        )
        if done:
            action = self._setup_window("matrix.backend", ["form"], res_id=backend.id)
        else:
            action = backend._connect_dialog()
        return {
            "key": "connect",
            "done": done,
            "note": backend.test_problem,
            "action": action,
        }

    @api.model
    def _setup_room(self, model, linked):
        """The records to choose from, or a new one if there is none."""
        action, has_some = False, False
        if model:
            has_some = self.env[model].search_count([], limit=1)
            views = ["list", "form"] if has_some else ["form"]
            action = self._setup_window(model, views)
        return {
            "key": "room",
            "done": bool(linked),
            "note": False,
            "action": action,
            "is_new": not has_some,
        }

    @api.model
    def _setup_message(self, linked, is_sent):
        """The record with the first room, and the outcome of a message tried there."""
        failed = self.env["matrix.log"].search(
            [("status", "=", "failed"), ("is_final", "=", True)], limit=1
        )
        note = failed.error_message
        if not note and self.env["matrix.outbox"].search_count([], limit=1):
            note = self.env._("A message is waiting to be sent.")
        action = bool(linked) and self._setup_window(
            linked._name, ["form"], res_id=linked.id
        )
        return {"key": "message", "done": is_sent, "note": note, "action": action}

    @api.model
    def _setup_window(self, model, views, **values):
        return {
            "type": "ir.actions.act_window",
            "name": self.env["ir.model"]._get(model).name,
            "res_model": model,
            "views": [(False, view) for view in views],
            **values,
        }

    @api.model
    def _setup_model(self):
        """Return a model whose records have rooms and which this user may read."""
        names = self.env.registry.descendants(["matrix.thread.mixin"], "_inherit")
        for name in sorted(names):
            model = self.env[name]
            if not model._abstract and model.has_access("read"):
                return name
        return None
