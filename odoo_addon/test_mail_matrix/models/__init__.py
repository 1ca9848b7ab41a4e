from . import matrix_backend
from . import matrix_message_mixin
from . import test_matrix_ticket
from . import test_matrix_visit
