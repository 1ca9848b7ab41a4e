from odoo.tools import SQL
from odoo.tools.sql import index_exists


def create(cr, table):
    """Index the rows of ``table`` by the record that they are about."""
    name = f"{table}_record_idx"
    # Even if it exists, CREATE INDEX IF NOT EXISTS would lock the table.
    if not index_exists(cr, name):
        cr.execute(
            SQL(
                "CREATE INDEX %s ON %s (res_model, res_id)",
                SQL.identifier(name),
                SQL.identifier(table),
            )
        )
