import re
from collections import Counter

import polib

from odoo.tools import file_path
from odoo.tools.translate import TranslationModuleReader

# What a translation must carry over as it is: placeholders, inline expressions, tags
# (not their attributes, which may hold words).
_KEPT = re.compile(r"%\(\w+\)[sdf]|%%|%[sd]|\{\{.*?\}\}|</?\w+")
# The text between quotes in an expression is words or a format.
_QUOTED = re.compile(r"'[^']*'(?=[^{]*\}\})")

# Odoo's addons sms and rating bring them to all that has a chatter. Whose export names
# them depends on whether those are installed, and on what was installed first.
_BROUGHT_ALONG = ("__message_has_sms_error", "__rating_ids")


class TranslationChecks:
    """Checks of the files in the folder i18n of ``addon``, for a TransactionCase."""

    addon = None
    # Else Odoo runs only the methods that a test class itself defines.
    allow_inherited_tests_method = True

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.template = polib.pofile(file_path(f"{cls.addon}/i18n/{cls.addon}.pot"))
        cls.german = polib.pofile(file_path(f"{cls.addon}/i18n/de.po"))

    def test_the_template_has_all_that_the_addon_exports(self):
        listed = {entry.msgid for entry in self.template}
        missing = {
            source: places
            for source, places in self._exported([self.addon]).items()
            if source not in listed and not self._is_odoos_own(places)
        }

        self.assertEqual(missing, {})

    def test_the_template_has_nothing_that_is_gone(self):
        # A field that another addon of ours brings has its words in that one's name.
        comments = "\n".join(entry.comment for entry in self.template)
        named = set(re.findall(r"module: (\w+)", comments))
        exported = self._exported(sorted(named))
        gone = {
            entry.msgid
            for entry in self.template
            if entry.msgid not in exported and not self._is_odoos_own(_places(entry))
        }

        self.assertEqual(gone, set())

    def test_german_has_the_entries_of_the_template(self):
        self.assertEqual(
            [(entry.msgid, _places(entry)) for entry in self.german],
            [(entry.msgid, _places(entry)) for entry in self.template],
        )

    def test_german_has_words_for_everything(self):
        wanting = [
            entry.msgid
            for entry in self.german
            if not entry.msgstr.strip() or entry.fuzzy or entry.obsolete
        ]

        self.assertEqual(wanting, [])

    def test_german_keeps_placeholders_expressions_and_tags(self):
        changed = {
            entry.msgid: entry.msgstr
            for entry in self.german
            if _kept(entry.msgid) != _kept(entry.msgstr)
        }

        self.assertEqual(changed, {})

    def test_german_quotes_as_germans_do(self):
        wrong = [
            entry.msgstr
            for entry in self.german
            if "”" in entry.msgstr or entry.msgstr.count("„") != entry.msgstr.count("“")
        ]

        self.assertEqual(wrong, [])

    def _exported(self, addons):
        """Return where each text is that Odoo exports for ``addons``."""
        exported = {}
        for row in TranslationModuleReader(self.env.cr, modules=addons):
            _module, kind, name, record, source, *_rest = row
            exported.setdefault(source, set()).add(f"{kind}:{name}:{record}")
        return exported

    def _is_odoos_own(self, places):
        """Whether ``places`` are labels of fields of Odoo's own addons only.

        An addon that extends such a field exports its words too, and they are not the
        same in each version of Odoo.
        """
        return all(map(self._is_odoos_own_field, places))

    def _is_odoos_own_field(self, place):
        kind, name, record = place.split(":", 2)
        if kind != "model" or not name.startswith("ir.model.fields,"):
            return False
        if record.endswith(_BROUGHT_ALONG):
            return True
        found = self.env.ref(record, raise_if_not_found=False)
        if not found:
            return False
        addons = self.env[found.model]._fields[found.name]._modules
        authors = self.env["ir.module.module"].search([("name", "in", addons)])
        # 19.0 names no addon for id and display_name, which all records have.
        return not addons or "Odoo S.A." in authors.mapped("author")


def _kept(text):
    return Counter(_KEPT.findall(_QUOTED.sub("''", text)))


def _places(entry):
    """Return where the text of ``entry`` is, as Odoo writes it into the file."""
    return {":".join(filter(None, occurrence)) for occurrence in entry.occurrences}
