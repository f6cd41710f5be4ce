"""aejax trains and compares autoencoders."""

import sys
from pathlib import Path

__version__ = "0.1.0"

# Where Hydra looks for plugins: a namespace package that a checkout, an editable install and a wheel all have.
_PLUGINS = str(Path(__file__).parent / "_plugins")
if _PLUGINS not in sys.path:
    sys.path.append(_PLUGINS)
