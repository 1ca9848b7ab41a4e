import logging

from odoo import SUPERUSER_ID, api, models
from odoo.exceptions import AccessError, ValidationError

from ...tools.template_check import check
from ...tools.template_html import texts
from ...tools.template_syntax import (
    FUNCTIONS,
    MAX_EXPRESSION,
    MAX_SOURCE,
    TemplateError,
    parse,
)

_logger = logging.getLogger(__name__)

_EDITORS = "mail.group_mail_template_editor"


class MatrixTextMixin(models.AbstractModel):
    """A record that holds texts of events.

    Texts are rendered with all rights, so it matters who writes them and what they
    name. The stored record is checked, wherever its texts came from: a call, defaults
    of the context or of the database, a copy or an import.
    """

    _name = "matrix.text.mixin"
    _description = "Record with Texts for Matrix"

    @api.model
    def _matrix_text_fields(self):
        """Return the names of the fields that hold texts."""
        return set()

    def _matrix_text_scope(self, name):
        """Return (models, variables): the models that the text in the field ``name`` is
        about, and the names that it can use besides ``object`` and ``user``."""
        raise NotImplementedError

    def _matrix_text_place(self, name):
        """Return in plain words where the text in the field ``name`` is written."""
        kind = self.env["ir.model"]._get(self._name).name
        label = self._fields[name]._description_string(self.env)
        return f"{kind} “{self.display_name}”, {label}"

    @api.model_create_multi
    def create(self, vals_list):
        records = super().create(vals_list)
        own = self._matrix_own_texts()
        for record, vals in zip(records, vals_list, strict=True):
            texts = record._matrix_texts()
            changed = {name for name in texts if texts[name] != own[name]}
            # Code that runs with all rights is responsible for the values it passes,
            # but not for defaults in the context of its caller.
            self._matrix_check_editor(changed, vals.keys() if self.env.su else ())
            record._matrix_check_texts(texts)
        return records

    def write(self, vals):
        names = self._matrix_text_fields() & vals.keys()
        if not names:
            return super().write(vals)
        before = {record.id: record._matrix_texts() for record in self}
        result = super().write(vals)
        for record in self:
            texts = record._matrix_texts()
            changed = {n for n in names if texts[n] != before[record.id][n]}
            self._matrix_check_editor(changed, names if self.env.su else ())
            record._matrix_check_texts(changed)
        return result

    def _matrix_texts(self):
        record = self.sudo()
        return {name: record[name] or "" for name in self._matrix_text_fields()}

    @api.model
    def _matrix_own_texts(self):
        """Return the texts that come with the addons, in this user's language."""
        fields = {name: self._fields[name] for name in self._matrix_text_fields()}
        return {
            name: (field.default and field.default(self)) or ""
            for name, field in fields.items()
        }

    @api.model
    def _matrix_check_editor(self, changed, exempt):
        """Raise AccessError if this user must not write the texts ``changed``."""
        if not set(changed) - set(exempt) or self.env.uid == SUPERUSER_ID:
            return
        if not self.env.user.has_group(_EDITORS):
            raise AccessError(
                self.env._(
                    "Only members of the group “%(group)s” may change the texts of"
                    " messages, because they are filled in with full access "
                    "rights.",
                    group=self.env.ref(_EDITORS).sudo().name,
                )
            )

    def _matrix_check_texts(self, names):
        """Raise ValidationError for a text that must not be used."""
        for name in names:
            problem = self._matrix_text_problem(name)
            if problem:
                raise ValidationError(problem)

    def _matrix_text_problem(self, name):
        """Return in plain words what is wrong with a stored text, or nothing."""
        source = self.sudo()[name]
        if not source:
            return None
        models_, variables = self._matrix_text_scope(name)
        try:
            is_html = self._fields[name].type == "html"
            sources = texts(source) if is_html else [source]
        except TemplateError as problem:
            return f"{self._matrix_text_place(name)}: {self._matrix_explain(problem)}"
        errors = (self._matrix_text_error(text, models_, variables) for text in sources)
        error = next(filter(None, errors), None)
        if not error:
            return None
        return f"{self._matrix_text_place(name)}: {self._matrix_explain(error)}"

    @api.model
    def _matrix_text_error(self, source, models_, variables):
        """Return the TemplateError of ``source``, or nothing.

        A text may serve several models, and name a field that only some of them have.
        """
        missing, is_valid = None, False
        try:
            parse(source)
        except TemplateError as error:
            return error
        # The model of a server action may have been uninstalled with its addon.
        for model in filter(self.env.__contains__, models_):
            try:
                check(self.env, source, model, variables)
                is_valid = True
            except TemplateError as error:
                if error.kind != "field":
                    return error
                missing = missing or error
        return None if is_valid else missing

    @api.model
    def _matrix_explain(self, error):
        """Return a TemplateError in plain words: where it is and what to write."""
        values = {
            "part": error.part,
            "where": f"{{{{ {error.expression} }}}}" if error.expression else "",
            "fix": self._matrix_fix(error),
        }
        if error.kind == "restricted":
            return self.env._(
                "%(part)s in %(where)s is a field that only certain groups may "
                "read, but people outside these groups can be in the room. %(fix)s",
                **values,
            )
        if not error.expression:
            return self.env._("“%(part)s” is not valid. %(fix)s", **values)
        return self.env._("“%(part)s” in %(where)s is not allowed. %(fix)s", **values)

    @api.model
    def _matrix_fix(self, error):
        """Return what to write instead."""
        functions = ", ".join(FUNCTIONS)
        fixes = {
            "arguments": self.env._(
                "The functions take a field of the kind that they format, and a few "
                "options, as in {{ format_datetime(object.create_date, "
                "dt_format='short') }}."
            ),
            "call": self.env._(
                "Give it a field, as in {{ format_date(object.create_date) }}."
            ),
            "comparison": self.env._(
                "Compare two values with ==, !=, <, <=, >, >=, in or not in."
            ),
            "compare": self.env._("Values of these kinds cannot be compared."),
            "deep": self.env._(
                "It is too long or nested: add a computed field for it."
            ),
            "empty": self.env._("Write a field, as in {{ object.name }}."),
            "field": self.env._(
                "This field does not exist. Use its technical name, as in "
                "{{ object.name }}."
            ),
            "function": self.env._(
                "Only these functions can be called: %(functions)s.",
                functions=functions,
            ),
            "long": self.env._(
                "A text can have up to %(text)s characters, and up to "
                "%(expression)s inside double braces.",
                text=MAX_SOURCE,
                expression=MAX_EXPRESSION,
            ),
            "method": self.env._(
                "Methods cannot be called: write fields, as in {{ object.name }}, or "
                "add a computed field for it."
            ),
            "name": self.env._(
                "Begin with a name that is known here, as in {{ object.name }}."
            ),
            "path": self.env._(
                "Only fields of a record can follow a dot, as in "
                "{{ object.create_uid.name }}."
            ),
            "restricted": self.env._("Remove it from the text."),
            "syntax": self.env._(
                "Write expressions as {{ object.name }} (%(detail)s).",
                detail=error.detail,
            ),
            "type": self.env._(
                "This kind of field cannot be shown as text. Leave it out or add a "
                "computed field."
            ),
            "unclosed": self.env._("Two closing braces are missing."),
        }
        return fixes.get(error.kind) or self.env._(
            "Texts can use fields, words in quotes, numbers, and, or, not, "
            "comparisons, +, “a if b else c” and the functions %(functions)s. Add a "
            "computed field for more.",
            functions=functions,
        )

    @api.model
    def _matrix_invalid_texts(self, companies=None):
        """Return what is wrong with stored texts of any model, in plain words.

        :param companies: only texts of these, and those that belong to no company
        """
        problems = []
        for model in self.env.registry.descendants(["matrix.text.mixin"], "_inherit"):
            records = self.env[model]
            if records._abstract:
                continue
            names = sorted(records._matrix_text_fields())
            stored = [name for name in names if records._fields[name].store]
            domain = ["|"] * (len(stored) - 1) + [(n, "!=", False) for n in stored]
            if companies and "company_id" in records._fields:
                domain += [("company_id", "in", [*companies.ids, False])]
            for record in (
                records.sudo().with_context(active_test=False).search(domain)
                if stored
                else ()
            ):
                problems += filter(None, map(record._matrix_text_problem, stored))
        return problems

    @api.model
    def _matrix_log_invalid_texts(self):
        """Log the stored texts that an upgrade made invalid."""
        for problem in self._matrix_invalid_texts():
            _logger.warning("A text for Matrix is not valid any more. %s", problem)
