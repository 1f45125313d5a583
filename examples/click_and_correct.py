"""Click, look where it is worst, click again: a round-by-round loop as a viewer would run it.

    python examples/click_and_correct.py

Uses the sample volume and, in place of a person, its truth.
"""

import limnet
from limnet.evaluation import dice, next_click
from limnet.sample import sample_truth_path, sample_volume_path

volume = limnet.read_volume(sample_volume_path())
truth = limnet.read_mask(sample_truth_path(), like=volume) != 0
session = limnet.Session(volume)

mask = None
for number in range(1, 4):
    click = next_click(truth, mask, session.axis)  # a person looks at the slices instead
    if click is None:
        break
    session.click(click.index, positive=click.positive)
    for slice_mask in session.sweep():  # as soon as a slice is known, a viewer can draw it
        print(f"\rround {number}: slice {slice_mask.index}", end="")
    mask = session.mask != 0
    print(f"\rround {number}: Dice {dice(truth, mask):.3f}, look at slice {session.suggest_slice()} next")

session.undo()  # the last round is gone
session.redo()  # and back
