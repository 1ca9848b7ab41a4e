from odoo import fields, models
from odoo.tools import SQL


class MatrixLog(models.Model):
    """The case of a delivery. A trigger sets it: the worker knows nothing of cases."""

    _inherit = "matrix.log"

    case_id = fields.Many2one("legal.case", readonly=True)

    def init(self):
        """Create the column, which the ORM does not do, and the trigger that fills it.

        If they exist nothing is done, or each upgrade would lock the log until its end.
        """
        result = super().init()
        cr = self.env.cr
        cr.execute(
            """
            SELECT EXISTS (
                SELECT FROM pg_attribute
                WHERE attrelid = 'matrix_log'::regclass AND attname = 'case_id'
                    AND NOT attisdropped
            ), EXISTS (
                SELECT FROM pg_trigger
                WHERE tgrelid = 'matrix_log'::regclass
                    AND tgname = 'legal_case_matrix_log_case'
            ), current_schema()
            """
        )
        has_column, has_trigger, schema = cr.fetchone()
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
        if not has_trigger:
            cr.execute(self._case_trigger(schema))
        return result

    def _case_trigger(self, schema):
        """Return the statements that create the trigger.

        It runs with the rights of its owner, since the worker's role may not read
        cases; hence the fixed search path and the table's full name. SKIP LOCKED: a
        case that is being deleted must not hold up the worker's completion.
        """
        return SQL(
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
            CREATE TRIGGER legal_case_matrix_log_case
                BEFORE INSERT ON matrix_log FOR EACH ROW
                WHEN (NEW.res_model = 'legal.case')
                EXECUTE FUNCTION legal_case_matrix_log_case()
            """,
            SQL.identifier(schema),
        )
