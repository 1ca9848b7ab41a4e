import json

from odoo.http import request


def answer(**values):
    """Return ``values`` as a JSON response that nobody keeps."""
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return request.make_response(json.dumps(values), headers=headers)
