from odoo import api, models
from odoo.exceptions import AccessError, ValidationError

from ..tools.template_check import ForbiddenWord, RestrictedField, check

_PREFIX = "template_"
_EDITORS = "mail.group_mail_template_editor"


class MatrixBackend(models.Model):
    """Texts are rendered with all rights, so who writes them and what they name
    counts."""

    _inherit = "matrix.backend"

    @api.model_create_multi
    def create(self, vals_list):
        for vals in vals_list:
            names = self._template_fields() & vals.keys()
            defaults = self.default_get(list(names))
            if any((vals[name] or "") != (defaults.get(name) or "") for name in names):
                self._check_template_editor()
        backends = super().create(vals_list)
        for backend in backends:
            backend._check_templates(self._template_fields())
        return backends

    def write(self, vals):
        names = self._template_fields() & vals.keys()
        if any(
            (backend[n] or "") != (vals[n] or "") for backend in self for n in names
        ):
            self._check_template_editor()
        result = super().write(vals)
        self._check_templates(names)
        return result

    @api.model
    def _template_fields(self):
        """Return the names of the fields that hold texts, those of other addons too."""
        return {name for name in self._fields if name.startswith(_PREFIX)}

    @api.model
    def _check_template_editor(self):
        if not self.env.su and not self.env.user.has_group(_EDITORS):
            raise AccessError(
                self.env._(
                    "Only members of the group “%(group)s” may change the texts of "
                    "messages: they are made with all rights.",
                    group=self.env.ref(_EDITORS).sudo().name,
                )
            )

    def _check_templates(self, names):
        """Raise ValidationError for texts that cannot or must not be used."""
        for name in names:
            models_ = self._models_of_template(name.removeprefix(_PREFIX))
            for backend in self:
                self._check_template(backend[name], models_)

    @api.model
    def _models_of_template(self, event_type):
        """Return the models that this event happens to; all, where none names it."""
        models_ = self._template_models()
        return [
            name
            for name in models_
            if event_type in self.env[name]._matrix_event_types()
        ] or models_

    @api.model
    def _template_models(self):
        """Return the models whose events these texts tell."""
        names = self.env.registry.descendants(["matrix.event.mixin"], "_inherit")
        return [name for name in sorted(names) if not self.env[name]._abstract]

    @api.model
    def _check_template(self, source, model_names):
        """Raise ValidationError if ``source`` cannot or must not be used.

        Group-restricted fields are refused, as core refuses them for webhooks: who
        reads the room has no groups.
        """
        for model in model_names:
            try:
                check(self.env, source or "", model)
            except RestrictedField as error:
                raise ValidationError(
                    self.env._(
                        "The text “%(text)s” names %(field)s, which only certain "
                        "groups may read. A room has other readers: leave it out.",
                        text=source,
                        field=error,
                    )
                ) from error
            except ForbiddenWord as error:
                raise ValidationError(
                    self.env._(
                        "The text “%(text)s” uses “%(word)s”, which could read more "
                        "than the record. %(instead)s",
                        text=source,
                        word=error,
                        instead=self._instead_of(error),
                    )
                ) from error
            except (SyntaxError, ValueError) as error:
                raise ValidationError(
                    self.env._(
                        "The text “%(text)s” is no valid template: %(error)s. Write "
                        "expressions as {{ object.name }}.",
                        text=source,
                        error=error,
                    )
                ) from error

    @api.model
    def _instead_of(self, forbidden):
        """Return what to write instead of a forbidden word."""
        if forbidden.kind == "text":
            return self.env._("Join texts with +, as in {{ object.name + '!' }}.")
        if forbidden.kind == "key":
            return self.env._(
                "Write the name of the field, as in {{ object.name }} or "
                "{{ object.mapped('name') }}."
            )
        return self.env._(
            "Write fields, as in {{ object.name }}, or add a computed field for it."
        )
