"""Evaluation: cases in, simulated users at work on every method, tables and pages out.

```
protocol.py ─► datasets, cases.py ─► runner.py ─► evaluate.py, per case: ─► results.py ─► report.py
  (TOML)       entry.py: methods     on a pool     simulated_user.py,          (CSV)      page.py
                                                     a session, metrics.py                pictures.py
```
"""

from limnet.evaluation.cases import CaseFailure, EvaluationSet, Skipped, find_set, select
from limnet.evaluation.curve import rounds_to_reach
from limnet.evaluation.datasets import LAYOUTS, find_dataset, recognise
from limnet.evaluation.efficiency import (
    Cost,
    EfficiencyCase,
    EfficiencySettings,
    Weights,
    measure,
    weights_of,
)
from limnet.evaluation.entry import Entry, LoadTrials, Method, entries_for
from limnet.evaluation.machine import machine
from limnet.evaluation.metrics import dice, hd95, iou, nsd
from limnet.evaluation.pictures import choose_shown, draw_pictures
from limnet.evaluation.protocol import (
    Protocol,
    SetSettings,
    data_folder,
    find_sets,
    protocol_label,
    protocol_names,
    read_protocol,
)
from limnet.evaluation.report import Report
from limnet.evaluation.results import CaseDone, Event, ObjectDone, RoundRow, SliceRow
from limnet.evaluation.runner import evaluate, evaluate_entries, in_order
from limnet.evaluation.simulated_user import SimulatedUser, next_click, simulated_user
from limnet.evaluation.summary import ObjectSummary, SetSummary
from limnet.evaluation.table import Table
from limnet.evaluation.trial import EvaluationSettings, NewSession, SessionLike

__all__ = [
    "LAYOUTS",
    "CaseDone",
    "CaseFailure",
    "Cost",
    "EfficiencyCase",
    "EfficiencySettings",
    "Entry",
    "EvaluationSet",
    "EvaluationSettings",
    "Event",
    "LoadTrials",
    "Method",
    "NewSession",
    "ObjectDone",
    "ObjectSummary",
    "Protocol",
    "Report",
    "RoundRow",
    "SessionLike",
    "SetSettings",
    "SetSummary",
    "SimulatedUser",
    "Skipped",
    "SliceRow",
    "Table",
    "Weights",
    "choose_shown",
    "data_folder",
    "dice",
    "draw_pictures",
    "entries_for",
    "evaluate",
    "evaluate_entries",
    "find_dataset",
    "find_set",
    "find_sets",
    "hd95",
    "in_order",
    "iou",
    "machine",
    "measure",
    "next_click",
    "nsd",
    "protocol_label",
    "protocol_names",
    "read_protocol",
    "recognise",
    "rounds_to_reach",
    "select",
    "simulated_user",
    "weights_of",
]
