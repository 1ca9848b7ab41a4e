from . import (
    changes,
    chatter_html,
    chatter_links,
    chatter_text,
    content,
    inbound,
    inbound_html,
    template,
    template_check,
    template_syntax,
    token,
    words,
)
