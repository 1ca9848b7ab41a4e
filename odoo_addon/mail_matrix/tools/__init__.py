from . import content, template, token, words
