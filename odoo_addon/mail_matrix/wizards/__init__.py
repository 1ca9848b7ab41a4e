from . import matrix_address
from . import matrix_composer
from . import matrix_not_sent
from . import matrix_preview
from . import matrix_direct_composer
from . import matrix_contact_sync
