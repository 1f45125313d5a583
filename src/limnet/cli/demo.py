"""limnet demo: the sample, segmented by the simulated user."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

import limnet
from limnet.cli.options import MaybeCount
from limnet.cli.rounds import Mask, described, play, report_rounds, volume_ml
from limnet.errors import OutputError
from limnet.evaluation import next_click
from limnet.evaluation.montage import draw_montage, write_montage
from limnet.sample import sample_truth_path, sample_volume_path
from limnet.script import ScriptedClick

DEMO_ROUNDS = 6  # as many as the paper's tables have


@dataclass(frozen=True)
class Demo:
    """Segment the brain tumour that comes with limnet, with the clicks of the simulated user."""

    out: Annotated[Path, arg(metavar="DIR")] = Path("demo")  # gets mask.nii.gz and montage.png
    threads: MaybeCount = None  # default: all cores

    def run(self) -> int:
        """Play the rounds, write mask and montage."""
        _make_folder(self.out)
        volume = limnet.read_volume(sample_volume_path())
        truth = limnet.read_mask(sample_truth_path(), like=volume) != 0
        session = limnet.Session(volume, model=limnet.load_model(threads=self.threads))
        print(described(volume))
        rounds = report_rounds(play(session, simulated(session, truth, DEMO_ROUNDS), truth), keep=True)
        limnet.write_mask(self.out / "mask.nii.gz", session.mask, like=volume)
        montage = draw_montage(volume, rounds, axis=session.axis, truth=truth, title="limnet demo: brain1")
        write_montage(self.out / "montage.png", montage)
        print(f"volume  {volume_ml(session.mask, volume):.2f} ml; truth {volume_ml(truth, volume):.2f} ml")
        print(f"mask    {self.out / 'mask.nii.gz'}\npicture {self.out / 'montage.png'}")
        return 0


def simulated(session: limnet.Session, truth: Mask, rounds: int) -> Iterator[ScriptedClick]:
    """Where the simulated user clicks, seeing the session's mask as it stands; ends when content."""
    for number in range(rounds):
        click = next_click(truth, None if number == 0 else session.mask != 0, session.axis)
        if click is None:
            return
        yield ScriptedClick(click.index, click.positive)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made: {error.strerror}; give another --out folder") from None
