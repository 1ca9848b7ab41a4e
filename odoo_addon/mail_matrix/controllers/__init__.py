from . import inbound
from . import appservice
from . import webhook
from . import connect
from . import encryption
from . import files
