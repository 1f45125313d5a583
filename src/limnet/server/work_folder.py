"""The work folder: where it is when nobody says so, and a lock so that one server at a time uses it."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from limnet.errors import ConfigError, ServerError
from limnet.lock import lock

LOCK = "lock"


def default_work_dir() -> Path:
    """The platform's folder for a user's data.

    That is ~/.local/share/limnet, ~/Library/Application Support/limnet or %LOCALAPPDATA%\\limnet. ConfigError
    when the extra `server` is not installed.
    """
    try:
        from platformdirs import user_data_path
    except ModuleNotFoundError as error:
        raise ConfigError(f"the server needs {error.name}: pip install 'limnet[server]'") from None
    return Path(user_data_path("limnet", appauthor=False))


def lock_folder(folder: Path) -> IO[str]:
    """Lock a work folder, creating it, until the file that is returned is closed or the process ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = (folder / LOCK).open("a+")
    except OSError as error:
        raise ConfigError(
            f"work folder {folder}: cannot be used ({error.strerror}); give another --work-dir"
        ) from None
    try:
        lock(file)
    except OSError:
        file.close()
        raise ServerError(
            f"work folder {folder} is in use by another limnet serve; stop that one or give --work-dir"
        ) from None
    return file
