"""Everything limnet raises on purpose.

```
LimNetError
├── VolumeError      a file cannot be read as a volume
├── GeometryError    grids do not match, an affine is missing or singular
├── PromptError      a click, box or scribble that cannot be used
├── ConfigError      a setting that is unknown or out of range
├── WeightsError     networks missing, damaged or of another version
├── CaseError        an evaluation or training case that cannot be used
├── JournalError     work on disk that is damaged, of another volume, newer, or in use
├── OutputError      a result cannot be written
├── RemoteError      a DICOMweb server that cannot be reached, refuses, or answers what it should not
└── ServerError      a request that the server refuses; its kinds are in server/refusals.py
```
Each message is one line: what was found, what was expected, what to do.
"""


class LimNetError(Exception):
    """Base of all errors of limnet; catch this one to catch them all."""


class VolumeError(LimNetError):
    """A file cannot be read as a volume."""


class GeometryError(LimNetError):
    """Two grids do not match, or an affine is missing or singular."""


class PromptError(LimNetError):
    """A prompt that cannot be used on this volume."""


class ConfigError(LimNetError):
    """A setting that is unknown or out of range."""


class WeightsError(LimNetError):
    """Networks that are missing, damaged or of another version."""


class CaseError(LimNetError):
    """A case (volume and truth) that cannot be used for training or evaluation."""


class JournalError(LimNetError):
    """Work on disk that cannot be read or added to."""


class OutputError(LimNetError):
    """A result cannot be written."""


class RemoteError(LimNetError):
    """A DICOMweb server cannot be reached, refuses, or answers what it should not."""


class ServerError(LimNetError):
    """A request that the server refuses."""


class LimNetWarning(UserWarning):
    """Something was repaired or assumed; the message says what."""


def in_words(error: Exception) -> str:
    """What went wrong, in one line; of an error that is not limnet's own, its kind too.

    >>> in_words(ZeroDivisionError("division by zero"))
    'ZeroDivisionError: division by zero'
    """
    kind = "" if isinstance(error, LimNetError) else f"{type(error).__name__}: "
    return f"{kind}{(str(error).strip() or 'no message').splitlines()[0]}"
