from . import text
from . import editor
