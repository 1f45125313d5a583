"""limnet: interactive 3D medical segmentation in real time on a laptop.

    volume in ─► prompt ─► interaction ─► memory ─────────► fusion ─► mask out
                 clicks     prompt mask     carried both      the best of
                 on a slice of the slice    ways              the rounds

>>> import limnet
>>> sorted(limnet.__all__)[:3]
['Click', 'LimNet', 'LimNetError']
"""

from limnet.errors import LimNetError, LimNetWarning
from limnet.fusion import Round
from limnet.memory import SliceMask
from limnet.model import LimNet, load_model
from limnet.prompt import Click
from limnet.session import Session
from limnet.volume import Volume, read_mask, read_volume, write_mask

__version__ = "0.7.0"

__all__ = [
    "Click",
    "LimNet",
    "LimNetError",
    "LimNetWarning",
    "Round",
    "Session",
    "SliceMask",
    "Volume",
    "__version__",
    "load_model",
    "read_mask",
    "read_volume",
    "write_mask",
]
