"""limnet segment: clicks in, a mask on the volume's own grid out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import UseAppendAction, arg

import limnet
from limnet.cli.options import File, Folder, MaybeCount, SeriesName, VolumePath
from limnet.cli.rounds import (
    click_at_mm,
    described,
    parse_click,
    play,
    report_rounds,
    volume_ml,
)
from limnet.errors import ConfigError, PromptError
from limnet.evaluation.montage import draw_montage, write_montage
from limnet.script import Scripted, read_script
from limnet.volume.exchange import start_mask
from limnet.volume.files import mask_ending

Axis = Annotated[Literal[0, 1, 2] | None, arg(metavar="0|1|2", help_behavior_hint="")]
Clicks = Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="I,J,K[:-]")]
ClicksMm = Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="X,Y,Z[:-]")]


@dataclass(frozen=True)
class Segment:
    """Segment one structure of a volume from clicks, one round each; the mask is on the volume's own grid."""

    volume: (
        VolumePath  # NIfTI, NRRD, MetaImage or DICOM file, an image; a folder with a DICOM series or frames
    )
    output: Annotated[Path, arg(aliases=["-o"], metavar="MASK")]  # .nii .nii.gz .nrrd .nhdr .mha .mhd
    click: Clicks = ()  # voxel index from 0, with :- a click on the background; one round each, in order
    click_mm: ClicksMm = ()  # likewise by position in mm, after the others; say --lps or --ras
    lps: bool = False  # --click-mm counts left, posterior, superior as positive, as DICOM and ITK do
    ras: bool = False  # --click-mm counts right, anterior, superior as positive, as NIfTI and 3D Slicer do
    axis: Axis = None  # slices are cut across it; default: the axis of largest spacing, else the last
    prompts: File = None  # JSON with prompts that come first, one round each; see docs/prompts.md
    start: File = None  # a mask, DICOM-SEG or RTSTRUCT to start from; the clicks correct it
    series: SeriesName = None  # of a folder with several DICOM series; limnet info lists them
    allow_gaps: bool = False  # take a DICOM series with missing slices; they become background
    png: File = None  # picture of the mask after every round
    truth: File = None  # reference mask: prints the Dice of every round
    weights: Folder = None  # networks; default: the shipped ones
    threads: MaybeCount = None  # default: all cores

    def run(self) -> int:
        """Play the clicks, write the mask."""
        self._check()
        volume = limnet.read_volume(self.volume, series=self.series, allow_gaps=self.allow_gaps)
        script = self._script(volume)
        truth = None if self.truth is None else limnet.read_mask(self.truth, like=volume) != 0
        session = limnet.Session(volume, model=limnet.load_model(self.weights, threads=self.threads))
        print(described(volume))
        if self.start is not None:
            session.start_from(start_mask(self.start, volume))
            print(f"start   {self.start}: {volume_ml(session.mask, volume):.2f} ml")
        rounds = report_rounds(play(session, script, truth), keep=self.png is not None)
        limnet.write_mask(self.output, session.mask, like=volume)
        print(f"volume  {volume_ml(session.mask, volume):.2f} ml")
        print(f"mask    {self.output}")
        if self.png is not None:
            montage = draw_montage(volume, rounds, axis=session.axis, truth=truth, title=self.volume.name)
            write_montage(self.png, montage)
            print(f"picture {self.png}")
        return 0

    def _check(self) -> None:
        """What can be known to be wrong before anything is read."""
        if self.click_mm and self.lps == self.ras:
            raise ConfigError("--click-mm needs one of --lps (DICOM, ITK) and --ras (NIfTI, 3D Slicer)")
        if not (self.prompts or self.click or self.click_mm):
            raise PromptError("no click to start from; add --click I,J,K or --prompts FILE")
        mask_ending(self.output)

    def _script(self, volume: limnet.Volume) -> list[Scripted]:
        """The prompts of the file, then the clicks of the command line."""
        clicks: list[Scripted] = []
        if self.prompts is not None:
            script = read_script(self.prompts)
            clicks += [*script.clicks, *script.prompts]
        clicks += [parse_click(text) for text in self.click]
        clicks += [click_at_mm(text, volume, is_lps=self.lps) for text in self.click_mm]
        if not clicks:
            raise PromptError("no click to start from; add --click I,J,K or --prompts FILE")
        return [click if click.axis is not None else replace(click, axis=self.axis) for click in clicks]
