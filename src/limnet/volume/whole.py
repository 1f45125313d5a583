"""Files that appear complete or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from limnet.errors import LimNetError, OutputError
from limnet.volume.payload import one_line


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Call `write` with a path in a folder beside the target, then move what is there into place.

    The named file comes last: a format of two files (.mhd, .nhdr) so has its voxels in place before the
    header that refers to them. OutputError when the folder is missing or cannot be written.
    """
    try:
        if not path.parent.is_dir():
            raise OutputError(f"{path}: folder {path.parent} does not exist; make it first")
        if path.is_dir():
            raise OutputError(f"{path}: is a folder; give the name of a file in it")
        folder = Path(tempfile.mkdtemp(prefix=".limnet-", dir=path.parent))
        try:
            write(folder / path.name)
            for part in sorted(folder.iterdir(), key=lambda part: part.name == path.name):
                part.replace(path.parent / part.name)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except LimNetError:
        raise
    except (OSError, ValueError) as error:  # ValueError: such as a zero byte in the path
        reason = getattr(error, "strerror", None) or one_line(error)
        raise OutputError(f"{path}: cannot be written: {reason}; choose another place") from None
