from . import legal_case_stage
from . import legal_case
from . import legal_hearing
