from odoo import api, models


class MatrixLog(models.Model):
    """What to do first, for who opens the Overview before anything was sent."""

    _inherit = "matrix.log"

    @api.model
    def get_overview(self):
        overview = super().get_overview()
        is_manager = overview["waiting"] is not False
        was_sent = self.sudo().search_count([("status", "=", "ok")], limit=1)
        overview["steps"] = is_manager and not was_sent and self._first_steps()
        return overview

    @api.model
    def _first_steps(self):
        """Return the steps as dicts: ``key``, ``done`` and, where there is a place to
        go, ``action``."""
        backends = self.env["matrix.backend"]
        active = backends.search([("is_active", "=", True)], limit=1)
        model = self._first_room_model()
        linked = model and self.env[model].search_count(
            [("matrix_room_id", "!=", False)], limit=1
        )
        records = model and self._window(model, [(False, "list"), (False, "form")])
        return [
            {
                "key": "backend",
                "done": bool(active) and active.token_state not in ("none", "lost"),
                "action": self._window(
                    "matrix.backend", [(False, "form")], res_id=active.id
                ),
            },
            {"key": "room", "done": bool(linked), "action": records},
            {"key": "test", "done": False, "action": records},
        ]

    @api.model
    def _window(self, model, views, **values):
        return {
            "type": "ir.actions.act_window",
            "name": self.env["ir.model"]._get(model).name,
            "res_model": model,
            "views": views,
            **values,
        }

    @api.model
    def _first_room_model(self):
        """Return a model whose records have rooms and which this user may read."""
        names = self.env.registry.descendants(["matrix.thread.mixin"], "_inherit")
        for name in sorted(names):
            model = self.env[name]
            if not model._abstract and model.has_access("read"):
                return name
        return None
