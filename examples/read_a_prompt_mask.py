"""The prompt mask alone: what one click means on its own slice, before it is carried on.

python examples/read_a_prompt_mask.py
"""

import limnet
from limnet.sample import sample_volume_path

volume = limnet.read_volume(sample_volume_path())
session = limnet.Session(volume)

prompt_mask = session.click((181, 101, 16))  # (H, W) of slice 16 across the last axis
height_mm, width_mm = volume.in_plane_spacing(session.axis)
print(f"one click: {prompt_mask.sum() * height_mm * width_mm / 100:.1f} cm² on this slice")
session.undo()  # the click was only a question
