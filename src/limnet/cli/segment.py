"""limnet segment: clicks in, a mask on the volume's own grid out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import UseAppendAction, arg

import limnet
from limnet.cli.options import File, Folder, MaybeCount, VolumePath
from limnet.cli.rounds import (
    ScriptedClick,
    described,
    parse_click,
    play,
    read_script,
    report_rounds,
    volume_ml,
)
from limnet.errors import PromptError
from limnet.evaluation.montage import draw_montage, write_montage

Axis = Annotated[Literal[0, 1, 2] | None, arg(metavar="0|1|2", help_behavior_hint="")]
Clicks = Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="I,J,K[:-]")]


@dataclass(frozen=True)
class Segment:
    """Segment one structure of a volume from clicks, one round each; the mask is on the volume's own grid."""

    volume: VolumePath  # NIfTI, NRRD or MetaImage file, an image, or a folder of frames
    output: Annotated[Path, arg(aliases=["-o"], metavar="MASK")]  # .nii .nii.gz .nrrd .nhdr .mha .mhd
    click: Clicks = ()  # voxel index from 0, with :- a click on the background; one round each, in order
    axis: Axis = None  # slices are cut across it; default: the axis of largest spacing, else the last
    prompts: File = None  # JSON with clicks that come first: {"clicks": [{"index": [I, J, K]}, ...]}
    png: File = None  # picture of the mask after every round
    truth: File = None  # reference mask: prints the Dice of every round
    weights: Folder = None  # networks; default: the shipped ones
    threads: MaybeCount = None  # default: all cores

    def run(self) -> int:
        """Play the clicks, write the mask."""
        script = self._script()
        volume = limnet.read_volume(self.volume)
        truth = None if self.truth is None else limnet.read_mask(self.truth, like=volume) != 0
        session = limnet.Session(volume, model=limnet.load_model(self.weights, threads=self.threads))
        print(described(volume))
        rounds = report_rounds(play(session, script, truth), keep=self.png is not None)
        limnet.write_mask(self.output, session.mask, like=volume)
        print(f"volume  {volume_ml(session.mask, volume):.2f} ml")
        print(f"mask    {self.output}")
        if self.png is not None:
            montage = draw_montage(volume, rounds, axis=session.axis, truth=truth, title=self.volume.name)
            write_montage(self.png, montage)
            print(f"picture {self.png}")
        return 0

    def _script(self) -> list[ScriptedClick]:
        """The clicks of the prompts file, then those of the command line."""
        from_file = () if self.prompts is None else read_script(self.prompts).clicks
        clicks = [*from_file, *(parse_click(text) for text in self.click)]
        if not clicks:
            raise PromptError("no click to start from; add --click I,J,K or --prompts FILE")
        return [click if click.axis is not None else replace(click, axis=self.axis) for click in clicks]
