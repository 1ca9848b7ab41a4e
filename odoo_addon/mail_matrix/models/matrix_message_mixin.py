from odoo import fields, models
from odoo.tools import SQL

from ..tools import words


class MatrixTableMixin(models.AbstractModel):
    """A table of the contract, which sql/migrations creates and the worker writes too.

    It has no foreign keys, so a reference may dangle. Each one is read through a LEFT
    JOIN: a deleted record is shown as empty and no list, group or export raises
    MissingError. PostgreSQL leaves out the joins that a query does not use.
    """

    _name = "matrix.table.mixin"
    _description = "Table shared with the Matrix worker"

    @property
    def _table_query(self):
        columns, joins = [], []
        for name, field in self._fields.items():
            if not field.store or not field.column_type:
                continue
            column = SQL.identifier(self._table, name)
            if field.type == "many2one":
                column = SQL.identifier(f"{name}__target", "id")
                joins.append(
                    SQL(
                        "LEFT JOIN %s AS %s ON %s = %s",
                        SQL.identifier(self.env[field.comodel_name]._table),
                        SQL.identifier(f"{name}__target"),
                        column,
                        SQL.identifier(self._table, name),
                    )
                )
            columns.append(SQL("%s AS %s", column, SQL.identifier(name)))
        return SQL(
            "SELECT %s FROM %s %s",
            SQL(", ").join(columns),
            self._table_source(),
            SQL(" ").join(joins),
        )

    def _table_source(self):
        """Return the table to read, under the name of the model's own table."""
        return SQL.identifier(self._table)


class MatrixMessageMixin(models.AbstractModel):
    """The fields that an outbox row and its log row share."""

    _name = "matrix.message.mixin"
    _inherit = ["matrix.table.mixin", "matrix.about.mixin"]
    _description = "Message for Matrix"

    backend_id = fields.Many2one("matrix.backend", readonly=True)
    event_type = fields.Selection(words.EVENT_TYPES, string="Event", readonly=True)
    room_id = fields.Char(string="Room ID", readonly=True)
    matrix_user_id = fields.Char(string="Person", readonly=True)
    matrix_type = fields.Char(readonly=True)
    content = fields.Json(readonly=True)
    txn_id = fields.Char(
        string="Transaction ID",
        readonly=True,
        help="Identifies this message to the homeserver, so that a repeated request "
        "sends nothing twice.",
    )
    attachment_id = fields.Many2one("ir.attachment", readonly=True)
    user_id = fields.Many2one("res.users", string="Caused by", readonly=True)
    queued_at = fields.Datetime(string="Queued", readonly=True)
