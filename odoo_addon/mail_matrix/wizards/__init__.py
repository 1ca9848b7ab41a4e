from . import matrix_composer
from . import matrix_preview
