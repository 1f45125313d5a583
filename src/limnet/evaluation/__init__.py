"""Evaluation: cases in, a simulated user at work, tables out.

```
cases.py ─► simulated_user.py ◄─► a session ─► metrics.py ─► results.py (CSV) ─► report.py (tables)
            └────────── evaluate.py, panel.py ──────────┘                        montage.py (pictures)
```
"""

from limnet.evaluation.cases import CaseFailure, EvaluationSet, Skipped, find_set
from limnet.evaluation.evaluate import EvaluationSettings, NewSession, SessionLike, evaluate
from limnet.evaluation.metrics import dice, iou, nsd, rounds_to_reach
from limnet.evaluation.panel import PanelRecipe, SetRecipe, evaluate_panel, panel_sets, read_panel
from limnet.evaluation.report import ObjectSummary, Report, SetSummary, Table
from limnet.evaluation.results import CaseDone, Event, RoundRow
from limnet.evaluation.simulated_user import SimulatedUser, next_click

__all__ = [
    "CaseDone",
    "CaseFailure",
    "EvaluationSet",
    "EvaluationSettings",
    "Event",
    "NewSession",
    "ObjectSummary",
    "PanelRecipe",
    "Report",
    "RoundRow",
    "SessionLike",
    "SetRecipe",
    "SetSummary",
    "SimulatedUser",
    "Skipped",
    "Table",
    "dice",
    "evaluate",
    "evaluate_panel",
    "find_set",
    "iou",
    "next_click",
    "nsd",
    "panel_sets",
    "read_panel",
    "rounds_to_reach",
]
