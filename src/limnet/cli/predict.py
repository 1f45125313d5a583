"""limnet predict: .npz files with prompts in, with masks out, as the CVPR 2025 challenge has them."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

import limnet
from limnet.cli.options import Folder, MaybeCount
from limnet.cli.terminal import progress_bar
from limnet.errors import CaseError, OutputError, in_words
from limnet.evaluation.npz_answer import answer

_log = logging.getLogger(__name__)

Inputs = Annotated[Positional[Path], arg(metavar="INPUTS")]


@dataclass(frozen=True)
class Predict:
    """Answer files of the CVPR 2025 interactive 3D challenge: boxes and clicks in them become `segs`."""

    inputs: Inputs  # folder of .npz files with imgs, spacing and boxes or clicks; or one such file
    output: Annotated[Path, arg(aliases=["-o"], metavar="DIR")]  # gets one .npz of the same name per input
    fusion: bool = True  # without it the last round's masks simply replace the former ones
    weights: Folder = None  # networks; default: the shipped ones
    threads: MaybeCount = None  # default: all cores

    def run(self) -> int:
        """Answer every file; 1 when one of them could not be answered."""
        sources = self._sources()
        model = limnet.load_model(self.weights, threads=self.threads)

        def new_session(volume: limnet.Volume) -> limnet.Session:
            return limnet.Session(volume, model=model, fusion=self.fusion)

        num_failed = 0
        with progress_bar("predicting", total=len(sources)) as (bar, task):
            for source in sources:
                bar.update(task, description=source.name)
                try:
                    count = answer(source, self.output / source.name, new_session)
                    print(f"{self.output / source.name}  {count} object{'s' * (count != 1)}", flush=True)
                except Exception as error:  # any: the other files still want an answer
                    _log.debug("%s failed", source, exc_info=error)
                    num_failed += 1
                    print(f"limnet: failed: {_told(error, source)}", file=sys.stderr)
                bar.advance(task)
        if num_failed:
            print(f"limnet: {num_failed} of {len(sources)} files failed", file=sys.stderr)
        return 1 if num_failed else 0

    def _sources(self) -> list[Path]:
        """The files to answer, in order of their names; the folder of the answers is made."""
        if self.inputs.is_dir():
            found = [path for path in self.inputs.glob("*.npz") if not path.name.startswith(".")]
        else:
            found = [self.inputs] if self.inputs.is_file() else []
        if not found:
            raise CaseError(f"{self.inputs}: no .npz file there; expected those of the challenge")
        if self.output.resolve() == (self.inputs if self.inputs.is_dir() else self.inputs.parent).resolve():
            raise OutputError(f"{self.output}: the answers would replace the inputs; give another folder")
        try:
            self.output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"{self.output}: cannot be made: {error.strerror}; choose another place"
            ) from None
        return sorted(found)


def _told(error: Exception, source: Path) -> str:
    """What went wrong with a file, in one line that names it."""
    words = in_words(error)
    return words if words.startswith(str(source)) else f"{source}: {words}"
