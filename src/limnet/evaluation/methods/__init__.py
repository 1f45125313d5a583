"""Other methods that the simulated user can be put before, each as a session.

```
a volume's box around the clicks ─► a classical method ─► score ─► mask     region.py classical.py seeded.py
clicks ─► nnInteractive, if whoever evaluates has it                         nninteractive.py
```
They are told exactly the clicks that limnet is told, and know nothing else of the object. Classical methods
read all they are given, so they work in a box, at a bounded resolution (`region`); its sides are background.
"""

from limnet.errors import ConfigError
from limnet.evaluation.methods.classical import METHODS
from limnet.evaluation.methods.nninteractive import NnInteractiveSession, nninteractive_session
from limnet.evaluation.methods.seeded import SeededSession
from limnet.evaluation.trial import NewSession
from limnet.volume import Volume

__all__ = ["METHODS", "NnInteractiveSession", "SeededSession", "new_baseline", "nninteractive_session"]


def new_baseline(name: str) -> NewSession:
    """What makes sessions of the baseline `name`, one of METHODS.

    ConfigError for another name, and when the library that the baseline needs is not installed.
    """
    if name not in METHODS:
        raise ConfigError(f"no baseline is called {name!r}; known: {', '.join(METHODS)}")
    baseline = METHODS[name]
    if baseline.library is not None:
        baseline.library.load()

    def new_session(volume: Volume) -> SeededSession:
        return SeededSession(volume, baseline)

    return new_session
