"""limnet replay: the masks of a journal, made again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from tyro.conf import Positional, arg

import limnet
from limnet.annotation import Annotation
from limnet.cli.options import File, Folder, MaybeCount
from limnet.cli.rounds import described, volume_ml
from limnet.errors import JournalError
from limnet.journal import Journal, recompute

MaybeMask = Annotated[Path | None, arg(aliases=["-o"], metavar="MASK", help_behavior_hint="")]


@dataclass(frozen=True)
class Replay:
    """Make the masks of a journal again: from what it holds, or by running every prompt once more.

    Exit code 1 when a mask that was run again is another one.
    """

    journal: Annotated[Positional[Path], arg(metavar="JOURNAL")]  # work.limnet of an annotation
    output: MaybeMask = None  # where the mask goes, of several objects one label each
    volume: File = None  # default: the file that the journal names
    recompute: bool = False  # run every prompt again and compare
    weights: Folder = None  # networks to run them with; default: the shipped ones
    threads: MaybeCount = None  # default: all cores

    def run(self) -> int:
        """Bring the work back, write it, compare it."""
        with Journal.open(self.journal) as journal:
            volume = limnet.read_volume(self._source(journal))
            model = limnet.load_model(self.weights, threads=self.threads)
            annotation = journal.restore(volume, model)
        print(described(volume))
        for item in annotation.objects:
            session = item.session
            print(
                f"object {item.id} {item.name}: {len(session.rounds)} rounds, {len(session.prompts)} prompts,"
                f" {volume_ml(session.mask, volume):.2f} ml"
            )
        differing = self._compare(annotation) if self.recompute else 0
        if self.output is not None:
            limnet.write_mask(self.output, annotation.labels(), like=volume)
            print(f"mask    {self.output}")
        return int(differing > 0)

    def _source(self, journal: Journal) -> Path:
        source = self.volume or Path(journal.facts.source)
        if self.volume is None and not source.exists():
            raise JournalError(
                f"{self.journal}: its volume {source} is not there; say where with --volume FILE"
            )
        return source

    def _compare(self, annotation: Annotation) -> int:
        """Run every object's prompts again; how many masks differ."""
        differing = 0
        for item in annotation.objects:
            again = recompute(item.session)
            num_voxels = int(np.count_nonzero(again.mask != item.session.mask))
            verdict = f"{num_voxels} voxels differ" if num_voxels else "identical, voxel by voxel"
            print(f"object {item.id} run again: {verdict}")
            differing += num_voxels > 0
        return differing
