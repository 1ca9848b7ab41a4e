from . import matrix_message_mixin
from . import matrix_log
from . import matrix_backend
from . import legal_case_stage
from . import legal_case
from . import legal_hearing
