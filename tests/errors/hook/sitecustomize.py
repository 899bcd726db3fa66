"""Python imports this by its name at its start, where this folder is on the path: `never_raised.py` puts it there."""

import raised_sites

raised_sites.install()
