"""Batch: many volumes with their prompts in, as many masks and one summary out.

```
table.py, folders.py ─► case.py ─► runner.py, on a pool ─► run.py, per case: ─► summary.py
  what goes with what                                      record.py: done already?
                                                           read, prompt, write the mask
```
A case that fails is a row of the summary, and never stops the others. What is finished is known by checksums
of all that went into it, so that a batch which was stopped goes on.
"""

from limnet.batch.case import FORMATS, BatchCase, BatchSettings, CaseRow, ObjectRow, Plan, Playing
from limnet.batch.folders import find_cases
from limnet.batch.runner import BatchRun, LoadNetworks, run_batch
from limnet.batch.summary import summary_table
from limnet.batch.table import read_table

__all__ = [
    "FORMATS",
    "BatchCase",
    "BatchRun",
    "BatchSettings",
    "CaseRow",
    "LoadNetworks",
    "ObjectRow",
    "Plan",
    "Playing",
    "find_cases",
    "read_table",
    "run_batch",
    "summary_table",
]
