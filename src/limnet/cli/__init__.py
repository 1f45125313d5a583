"""The command line: words into library calls, and their results into words. No algorithm lives here.

Every command is a dataclass with `run()`. Results go to stdout; progress, warnings and errors to stderr.
Exit codes: 0 done, 1 an evaluation in which something failed, 2 bad input or usage, 130 stopped with Ctrl-C.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any, Protocol

import tyro
from tyro.conf import FlagCreatePairsOff, OmitSubcommandPrefixes

import limnet
from limnet.cli.batch import Batch
from limnet.cli.compare import Compare
from limnet.cli.demo import Demo
from limnet.cli.dicomweb import Dicomweb
from limnet.cli.evaluate import Evaluate
from limnet.cli.export import Export
from limnet.cli.export_weights import ExportWeights
from limnet.cli.info import Info
from limnet.cli.keys import Keys
from limnet.cli.predict import Predict
from limnet.cli.remote import on_disk
from limnet.cli.replay import Replay
from limnet.cli.segment import Segment
from limnet.cli.serve import Serve
from limnet.cli.synth import Synth
from limnet.cli.train import Train
from limnet.errors import LimNetError, LimNetWarning


class Command(Protocol):
    """What every command offers."""

    def run(self) -> int:
        """Do it; the exit code."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` (default: the process's own) spells; the exit code."""
    words = sys.argv[1:] if argv is None else list(argv)
    if words == ["--version"]:
        print(f"limnet {limnet.__version__}")
        return 0
    with warnings.catch_warnings():
        _show_warnings()
        try:
            with on_disk(parse(words)) as command:
                return command.run()
        except SystemExit as stop:  # usage and --help, already printed
            return stop.code if isinstance(stop.code, int) else 2
        except LimNetError as error:
            print(f"limnet: error: {' '.join(str(error).split())}", file=sys.stderr)
            return 2
        except BrokenPipeError:  # whoever read, such as `head`, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
            return 0
        except KeyboardInterrupt:
            print("limnet: stopped", file=sys.stderr)
            return 130


def parse(words: Sequence[str]) -> Command:
    """The command that `words` spell; SystemExit with a message when they spell none."""
    commands: Any = (
        Serve
        | Segment
        | Batch
        | Evaluate
        | Compare
        | Predict
        | Train
        | Synth
        | Export
        | Dicomweb
        | ExportWeights
        | Info
        | Demo
        | Replay
        | Keys
    )
    command: Command = tyro.cli(
        commands,
        prog="limnet",
        description="Interactive 3D segmentation: click on one slice, get the structure on all of them.",
        args=words,
        config=(FlagCreatePairsOff, OmitSubcommandPrefixes),
    )
    return command


def _show_warnings() -> None:
    """Each warning of limnet in one line, every time; others as Python shows them."""
    usual = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any) -> None:
        if issubclass(category, LimNetWarning):
            print(f"limnet: warning: {' '.join(str(message).split())}", file=sys.stderr)
        else:
            usual(message, category, *place)

    warnings.simplefilter("always", LimNetWarning)
    warnings.showwarning = show  # type: ignore[assignment]  # Python calls it by position
