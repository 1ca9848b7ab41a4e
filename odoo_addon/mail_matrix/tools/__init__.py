from . import content, template, template_check, token, words
