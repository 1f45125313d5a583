"""Other programs' session classes, spoken by LIM-Net: a script changes one import.

```
order.py      their arrays (C, k, j, i) <-> volumes (I, J, K)
given.py      their points, boxes, scribble and lasso images -> prompts (with outline.py)
dialogue.py   prompts -> predictions, undo, reset: what is queued, what the other side has seen (seen.py)
session.py    the class itself, in this process; server/nninteractive.py says the same over HTTP
```
"""

from limnet.compat.session import NnInteractiveSession

__all__ = ["NnInteractiveSession"]
