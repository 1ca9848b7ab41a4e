from odoo import fields, models
from odoo.tools import SQL


class MatrixLog(models.Model):
    """The case of a delivery. The database sets it: the worker knows no cases."""

    _inherit = "matrix.log"

    case_id = fields.Many2one("legal.case", readonly=True)

    def init(self):
        result = super().init()
        cr = self.env.cr
        cr.execute(
            """
            SELECT EXISTS (
                SELECT FROM pg_attribute
                WHERE attrelid = 'matrix_log'::regclass AND attname = 'case_id'
                    AND NOT attisdropped
            ), current_schema()
            """
        )
        has_column, schema = cr.fetchone()
        if not has_column:
            cr.execute(
                """
                ALTER TABLE matrix_log ADD COLUMN case_id integer
                    CONSTRAINT matrix_log_case_id_fkey
                    REFERENCES legal_case (id) ON DELETE SET NULL;
                -- What was sent before this addon was installed again.
                UPDATE matrix_log AS l SET case_id = c.id FROM legal_case AS c
                    WHERE l.res_model = 'legal.case' AND l.res_id = c.id;
                CREATE INDEX matrix_log_case_id_idx ON matrix_log (case_id)
                    WHERE case_id IS NOT NULL
                """
            )
        # It runs with the rights of its owner, since the worker's role may not read
        # cases; hence the fixed search path and the table's full name. SKIP LOCKED: a
        # case that is being deleted must not hold up the worker's completion.
        cr.execute(
            SQL(
                """
                CREATE OR REPLACE FUNCTION legal_case_matrix_log_case()
                RETURNS trigger LANGUAGE plpgsql
                SECURITY DEFINER SET search_path = pg_catalog AS $$
                BEGIN
                    SELECT c.id INTO NEW.case_id FROM %s.legal_case AS c
                    WHERE c.id = NEW.res_id FOR KEY SHARE SKIP LOCKED;
                    RETURN NEW;
                END $$;
                REVOKE ALL ON FUNCTION legal_case_matrix_log_case() FROM PUBLIC;
                DROP TRIGGER IF EXISTS legal_case_matrix_log_case ON matrix_log;
                CREATE TRIGGER legal_case_matrix_log_case
                    BEFORE INSERT ON matrix_log FOR EACH ROW
                    WHEN (NEW.res_model = 'legal.case')
                    EXECUTE FUNCTION legal_case_matrix_log_case()
                """,
                SQL.identifier(schema),
            )
        )
        return result
