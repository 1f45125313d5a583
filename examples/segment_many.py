"""Many volumes from a table of prompts: what `limnet batch` does, from Python.

python examples/segment_many.py
"""

import json
import tempfile
from pathlib import Path

from limnet.batch import CaseRow, read_table, run_batch
from limnet.sample import sample_volume_path

with tempfile.TemporaryDirectory() as place:
    folder = Path(place)
    (folder / "tumour.json").write_text(json.dumps({"clicks": [{"index": [181, 101, 16]}]}))
    (folder / "outside.json").write_text(json.dumps({"clicks": [{"index": [999, 0, 0]}]}))
    (folder / "table.csv").write_text(
        "case,volume,prompts\n"
        f"good,{sample_volume_path()},tumour.json\n"
        f"bad,{sample_volume_path()},outside.json\n"
    )
    for event in run_batch(read_table(folder / "table.csv"), folder / "masks"):
        if isinstance(event, CaseRow):  # else the case and round that it is at
            print(f"{event.case}: {event.status} {event.ml:.1f} ml {event.message}")
    print((folder / "masks" / "summary.csv").read_text())
