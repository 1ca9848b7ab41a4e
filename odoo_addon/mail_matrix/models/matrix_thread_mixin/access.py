from odoo import SUPERUSER_ID, api, models
from odoo.exceptions import AccessError

from .thread import USER


class MatrixThreadMixin(models.AbstractModel):
    """Only Matrix Users decide where a record's messages go, and which are sent.

    Only Odoo writes what the homeserver said about the room. Odoo 18 does not check the
    groups of fields in ``create``, and neither version checks a person's own defaults.
    So the new record is checked, wherever its values came from.
    """

    _inherit = "matrix.thread.mixin"

    @api.model_create_multi
    def create(self, vals_list):
        records = super().create(vals_list)
        records._matrix_judge()
        return records

    def write(self, vals):
        if not self.env.su and (found := self._matrix_found_fields() & vals.keys()):
            raise self._matrix_found_error(found)
        return super().write(vals)

    def copy_data(self, default=None):
        """A copy made by somebody who is not a Matrix User starts like a new record."""
        if self._matrix_is_user():
            return super().copy_data(default)
        # Values given in ``default`` are not copied from the record.
        left_out = dict.fromkeys(self._matrix_deciding_fields() - set(default or {}))
        vals_list = super().copy_data({**(default or {}), **left_out})
        return [
            vals and {name: vals[name] for name in vals if name not in left_out}
            for vals in vals_list
        ]

    @api.model
    def _matrix_deciding_fields(self):
        """Return the names of the fields that decide where messages go and which are
        sent."""
        return {
            name
            for name, field in self._fields.items()
            if field.groups == USER and field.store and not field.readonly
        }

    @api.model
    def _matrix_found_fields(self):
        """Return the names of the fields that only Odoo writes."""
        return {
            name
            for name, field in self._fields.items()
            if field.groups == USER and field.store and field.readonly
        }

    def _matrix_judge(self):
        """Raise AccessError if these new records have values that this user may not
        decide."""
        if self.env.su:
            return
        found = self._matrix_found_fields()
        judged = (
            found
            if self._matrix_is_user()
            else (found | self._matrix_deciding_fields())
        )
        usual = self._matrix_usual_values(judged)
        for record in self.sudo():
            decided = {
                name
                for name in judged
                if (record[name] or False) != (usual.get(name) or False)
            }
            if decided & found:
                raise self._matrix_found_error(decided & found)
            if decided:
                raise AccessError(
                    self.env._(
                        "Only members of the group “%(group)s” decide which Matrix "
                        "room a record has and what is sent there: %(fields)s. An "
                        "administrator can add you to it.",
                        group=self.env.ref(USER).sudo().name,
                        fields=self._matrix_labels(decided),
                    )
                )

    @api.model
    def _matrix_usual_values(self, names):
        """Return the defaults that no context and no user's own default has changed."""
        context = {
            name: value
            for name, value in self.env.context.items()
            if not name.startswith("default_")
        }
        usual = self.with_user(SUPERUSER_ID).with_context(context)  # pylint: disable=context-overridden
        return usual.default_get(list(names))

    def _matrix_found_error(self, names):
        return AccessError(
            self.env._(
                "%(fields)s: only Odoo fills this in, when it checks the room. "
                "Click “Check Room” instead.",
                fields=self._matrix_labels(names),
            )
        )

    @api.model
    def _matrix_labels(self, names):
        fields = (self._fields[name] for name in sorted(names))
        return ", ".join(field._description_string(self.env) for field in fields)
