from . import matrix_rotate_key
