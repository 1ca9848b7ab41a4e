from odoo import api, models
from odoo.exceptions import AccessError
from odoo.tools import SQL

from ...tools.template_check import ACCEPTED, readable
from ...tools.template_syntax import FUNCTIONS, TemplateError

# Fields that every record with a chatter or a room has and that no text needs.
_EVERYWHERE = ("mail.thread", "mail.activity.mixin", "matrix.thread.mixin")
_KEPT = {"create_date", "create_uid", "display_name"}
_OPTIONS = {"format_datetime": ", dt_format='EEE, d MMM y, HH:mm'"}


class MatrixTextMixin(models.AbstractModel):
    """What a text's editor shows beside it: names to insert, the result of the text,
    and where it has an error."""

    _inherit = "matrix.text.mixin"

    def _matrix_text_sample(self, name, models_):
        """Return (event, record) to show the text with; either may be missing.

        :param models_: the models that the text is about
        """
        return None, None

    def get_matrix_text_help(self, name, model_id=False):
        """Return the text that comes with the program and what can be inserted.

        A dict: ``default``, and ``groups``, each with ``label`` and ``entries`` of
        ``label`` and ``text``.

        :param model_id: the model that the text is about, if that is not saved yet
        """
        self._matrix_check_text_reader(name)
        models_, variables = self._matrix_editor_scope(name, model_id)
        fields = self._matrix_common_fields(models_)
        groups = [
            (self.env._("Message"), self._matrix_variable_entries(variables)),
            (self.env._("Fields"), self._matrix_field_entries(fields)),
            (self.env._("Formats"), self._matrix_format_entries(fields)),
            (self.env._("Person who causes it"), self._matrix_user_entries()),
        ]
        return {
            "default": self._matrix_own_texts()[name],
            "groups": [
                {"label": label, "entries": entries}
                for label, entries in groups
                if entries
            ],
        }

    def check_matrix_text(self, name, source, model_id=False):
        """Return what a room would read for ``source``, and where it has an error.

        A dict: ``problem`` in plain words, with ``start`` and ``end`` of the part at
        fault and ``line`` and ``column`` of its start, counted from 1; or ``body``,
        ``html`` and ``record``, the name of the record that it is about.

        :param model_id: see get_matrix_text_help
        """
        self._matrix_check_text_reader(name)
        models_, variables = self._matrix_editor_scope(name, model_id)
        error = self._matrix_text_error(source, models_, variables)
        if error:
            return self._matrix_text_broken(source, error)
        event_type, record = self._matrix_text_sample(name, models_)
        if not record or not source:
            return {"problem": False, "body": False}
        if source != (self.sudo()[name] or ""):
            # Texts are rendered with all rights: only people who may write them may
            # try them.
            try:
                self._matrix_check_editor({name}, ())
            except AccessError as refusal:
                return {"problem": str(refusal), "body": False}
        content, problem = self._matrix_text_content(name, source, event_type, record)
        return {
            "problem": problem,
            "body": content.get("body"),
            "html": content.get("formatted_body"),
            "record": record.display_name,
        }

    def _matrix_editor_scope(self, name, model_id):
        """See _matrix_text_scope; with another model that is not saved yet."""
        if not model_id:
            return self._matrix_text_scope(name)
        return [self.env["ir.model"].sudo().browse(model_id).model], ()

    def _matrix_text_content(self, name, source, event_type, record):
        """Return the content of the message and False, or {} and why there is none."""
        preview = self.env["matrix.preview"].new(
            {
                "backend_id": self._matrix_text_backend().id,
                "event_type": event_type,
                "record_ref": f"{record._name},{record.id}",
            }
        )
        return preview._content((self, name, source))

    def _matrix_text_backend(self):
        return self.env["matrix.backend"]._active_for(self.env.company)

    def _matrix_try_text(self, name, source):
        """Store ``source`` in the database; for a rehearsal, which undoes it.

        With the ORM, every worker process would clear its cache of backends.
        """
        self.env.cr.execute(
            SQL(
                "UPDATE %s SET %s = %s WHERE id = %s",
                SQL.identifier(self._table),
                SQL.identifier(name),
                source,
                self.id,
            )
        )
        self.invalidate_recordset([name])

    def _matrix_check_text_reader(self, name):
        """Raise AccessError unless this person sees the text in the field ``name``."""
        self.check_access("read")
        field = self._fields.get(name)
        if name not in self._matrix_text_fields() or (
            field.groups and not self.env.user.has_groups(field.groups)
        ):
            raise AccessError(self.env._("There is no text “%(name)s”.", name=name))

    @api.model
    def _matrix_text_broken(self, source, error):
        start, end = error.place(source)
        before = source[:start]
        return {
            "problem": self._matrix_explain(error),
            "start": start,
            "end": end,
            "line": before.count("\n") + 1,
            "column": start - (before.rfind("\n") + 1) + 1,
        }

    @api.model
    def _matrix_common_fields(self, models_):
        """Return the fields, by name, that a text about any of ``models_`` can name."""
        known = [self.env[model] for model in models_ if model in self.env]
        hidden = {name for model in _EVERYWHERE for name in self.env[model]._fields}
        common = {}
        for name, field in known[0]._fields.items() if known else ():
            if name in hidden - _KEPT:
                continue
            if all(_is_readable(model, name) for model in known):
                common[name] = field
        return common

    @api.model
    def _matrix_field_entries(self, fields, root="object"):
        entries = [
            {
                "label": field._description_string(self.env),
                "text": f"{{{{ {_expression(root, field, fields)} }}}}",
            }
            for field in fields.values()
        ]
        return sorted(entries, key=lambda entry: entry["label"].casefold())

    @api.model
    def _matrix_variable_entries(self, variables):
        labels = {
            "author": self.env._("Author"),
            "text": self.env._("Text of the message"),
        }
        return [
            {"label": labels.get(name, name), "text": f"{{{{ {name} }}}}"}
            for name in variables
        ]

    @api.model
    def _matrix_format_entries(self, fields):
        """Return one example for each function that a field can be given to."""
        entries = []
        for function in FUNCTIONS:
            for field in fields.values():
                if function != "format_amount" and field.type in ACCEPTED[function]:
                    label = f"{function}: {field._description_string(self.env)}"
                    value = f"object.{field.name}{_OPTIONS.get(function, '')}"
                    text = f"{{{{ {function}({value}) }}}}"
                    entries.append({"label": label, "text": text})
                    break
        return entries

    @api.model
    def _matrix_user_entries(self):
        name = self.env["res.users"]._fields["name"]
        return self._matrix_field_entries({"name": name}, "user")


def _is_readable(model, name):
    try:
        return bool(readable(model, name))
    except TemplateError:
        return False


def _expression(root, field, fields):
    """Return an expression that reads ``field``; an amount with its currency."""
    path = f"{root}.{field.name}"
    currency = getattr(field, "currency_field", None) or "currency_id"
    if field.type == "monetary" and currency in fields:
        return f"format_amount({path}, {root}.{currency})"
    return path
