"""The driver runs in the viewer's environment; pytest, which looks for doctests everywhere, has no napari."""

collect_ignore = ["drive_napari.py"]
