from psycopg2.extras import Json

from odoo import Command
from odoo.tests import TransactionCase
from odoo.tools import SQL


class MatrixCase(TransactionCase):
    """An active backend, a Matrix User and a Matrix Manager."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env["matrix.backend"].search([]).is_active = False
        cls.user = cls.make_user("matrix-user", "mail_matrix.group_matrix_user")
        cls.manager = cls.make_user(
            "matrix-manager", "mail_matrix.group_matrix_manager"
        )
        cls.backend = cls.env["matrix.backend"].create(
            {
                "name": "Office",
                "homeserver_url": "https://matrix.example.org",
                "company_id": False,
            }
        )

    @classmethod
    def make_user(cls, login, *groups, **values):
        return (
            cls.env["res.users"]
            .with_context(no_reset_password=True)
            .create(
                {
                    "name": login,
                    "login": login,
                    "email": f"{login}@example.org",
                    cls.groups_field(): [
                        (6, 0, [cls.env.ref(group).id for group in groups])
                    ],
                    **values,
                }
            )
        )

    @classmethod
    def groups_field(cls):
        """Return what 18.0 and 19.0 call the groups of a user."""
        users = cls.env["res.users"]
        return "group_ids" if "group_ids" in users._fields else "groups_id"

    @classmethod
    def let_export(cls, user):
        exporter = cls.env.ref("base.group_allow_export")
        user.write({cls.groups_field(): [Command.link(exporter.id)]})

    def counts_by(self, records, group, domain=()):
        """Return the counts of ``records`` by ``group``, as a grouped list shows
        them."""
        if hasattr(records, "formatted_read_group"):
            groups = records.formatted_read_group(list(domain), [group], ["__count"])
        else:
            groups = records.read_group(list(domain), [], [group], lazy=False)
        return [found["__count"] for found in groups]

    @classmethod
    def commit(cls):
        """Do what a commit does before it reaches the database."""
        cls.env.cr.flush()

    @classmethod
    def clear_outbox(cls):
        cls.env.cr.execute("DELETE FROM matrix_outbox; DELETE FROM matrix_log")

    @classmethod
    def outbox(cls):
        """Return the waiting rows as the worker sees them, the oldest first."""
        cls.env.cr.execute("SELECT * FROM matrix_outbox ORDER BY id")
        return cls.env.cr.dictfetchall()

    def bodies(self):
        return [row["content"]["body"] for row in self.outbox()]

    @classmethod
    def log_row(cls, **values):
        """Insert a row of the log as the worker does."""
        values = {"status": "ok", "is_final": True, **values}
        if "content" in values:
            values["content"] = values["content"] and Json(values["content"])
        cls.env.cr.execute(
            SQL(
                "INSERT INTO matrix_log (%s) VALUES %s RETURNING id",
                SQL(", ").join(map(SQL.identifier, values)),
                tuple(values.values()),
            )
        )
        return cls.env["matrix.log"].browse(cls.env.cr.fetchone()[0])

    @classmethod
    def log_all(cls):
        """Let the worker send what waits; return the log rows."""
        rows = cls.env["matrix.log"]
        for row in cls.outbox():
            rows |= cls.log(row, status="ok")
        return rows

    @classmethod
    def log(cls, row, status="failed", **values):
        """Complete the outbox row ``row``: it goes if the outcome is final."""
        kept = {
            name: row[name]
            for name in (
                "backend_id",
                "event_type",
                "res_model",
                "res_id",
                "room_id",
                "matrix_user_id",
                "matrix_type",
                "txn_id",
                "attachment_id",
                "queued_at",
                "user_id",
            )
        }
        if values.get("is_final", True):
            cls.env.cr.execute("DELETE FROM matrix_outbox WHERE id = %s", [row["id"]])
        return cls.log_row(
            outbox_id=row["id"],
            payload=row["content"] and row["content"].get("body"),
            content=row["content"] if status == "failed" else None,
            **{**kept, "status": status, **values},
        )

    @classmethod
    def enqueue(cls, count=1, backend=None, **values):
        """Insert messages that wait; return the first one's id."""
        cls.env.cr.execute(
            """
            INSERT INTO matrix_outbox (backend_id, event_type, room_id, content, txn_id,
                res_model, res_id, user_id, queued_at)
            SELECT %(backend)s, 'manual', %(room_id)s, %(content)s,
                'odoo-test-' || gen_random_uuid(), %(res_model)s, %(res_id)s,
                %(user_id)s, COALESCE(%(queued_at)s, now() AT TIME ZONE 'UTC')
            FROM generate_series(1, %(count)s) RETURNING id
            """,
            {
                "room_id": "!room:example.org",
                "res_model": None,
                "res_id": None,
                "user_id": cls.env.uid,
                "queued_at": None,
                **values,
                "backend": (backend or cls.backend).id,
                "content": Json({"msgtype": "m.text", "body": "Hello"}),
                "count": count,
            },
        )
        return cls.env.cr.fetchone()[0]

    @classmethod
    def worker_seen(cls, ago="0 seconds", name="worker-1"):
        """Write a worker's heartbeat."""
        cls.env.cr.execute(
            """
            INSERT INTO matrix_worker (name, last_seen)
            VALUES (%s, now() AT TIME ZONE 'UTC' - %s::interval)
            ON CONFLICT (name) DO UPDATE SET last_seen = excluded.last_seen
            """,
            [name, ago],
        )

    @classmethod
    def backend_state(cls, state, backend=None, **values):
        """Write what the worker knows of a backend."""
        backend = backend or cls.backend
        values = {
            "backend_id": backend.id,
            "state": state,
            "config_version": backend.config_version,
            **values,
        }
        cls.env.cr.execute(
            SQL(
                """
                INSERT INTO matrix_backend_status (%s) VALUES %s
                ON CONFLICT (backend_id) DO UPDATE SET (%s) = %s
                """,
                SQL(", ").join(map(SQL.identifier, values)),
                tuple(values.values()),
                SQL(", ").join(map(SQL.identifier, values)),
                tuple(values.values()),
            )
        )

    def failures(self):
        self.env.cr.execute(
            "SELECT * FROM matrix_log WHERE status = 'failed' ORDER BY id"
        )
        return self.env.cr.dictfetchall()
