"""The journal: an annotation's work on disk, so that nothing acknowledged is ever lost.

```
facts.py     which volume it is of
entries.py   values <-> rows: what a row of each kind holds
store.py     rows <-> disk: one SQLite file, append-only, each row chained to the one before
journal.py   an annotation's entries, written before they count, and brought back
recompute.py   a session's prompts, given once more
```
"""

from limnet.journal.facts import VolumeFacts, voxels_sha256
from limnet.journal.journal import Journal
from limnet.journal.recompute import recompute

__all__ = ["Journal", "VolumeFacts", "recompute", "voxels_sha256"]
