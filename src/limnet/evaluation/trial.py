"""A trial: one method, and how the objects that are put before it are clicked on.

Any method fits that behaves like a `SessionLike`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray

from limnet.errors import ConfigError
from limnet.evaluation.curve import REACH
from limnet.evaluation.simulated_user import simulated_user
from limnet.prompt import Voxel
from limnet.volume import Volume

ENOUGH = max(REACH)  # Dice; objects below it are clicked on up to the cap
FIRST = ("", "first-slice")  # where round 1 is clicked: where the user's own rule says, or where truth begins


class SessionLike(Protocol):
    """What a method must offer to be evaluated; `limnet.Session` does.

    Two attributes are used where a session has them: `quality`, the Dice it expects of each slice along
    `axis` (S,), NaN where it does not know; and `suggest_slice()`, the slice it would look at next, or None.
    """

    @property
    def axis(self) -> int:
        """The sweep axis: slices are cut across it, and the user clicks on one of them."""

    @property
    def mask(self) -> NDArray[Any]:
        """The mask as it stands, (I, J, K), non-zero inside the object."""

    def click(self, index: Voxel, *, positive: bool = True) -> object:
        """Take a click."""

    def propagate(self) -> object:
        """Make a round of the clicks taken since the last."""


NewSession = Callable[[Volume], SessionLike]


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """How objects are clicked on, and the names under which results are kept."""

    protocol: str = "own"  # names the protocol in tables
    rounds: int = 6  # clicked on every object
    cap: int | None = None  # go on to this round for objects below ENOUGH; None: stop at `rounds`
    method: str = "limnet"  # names the method in tables, best with its version or weights
    user: str = "centre"  # one of USERS
    first: str = ""  # one of FIRST
    seed: int = 0  # of the user's choices
    fusion: bool = True  # noted in the rows; the method is what turns it on or off

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ConfigError(f"rounds must be at least 1, got {self.rounds}")
        if self.cap is not None and self.cap < self.rounds:
            raise ConfigError(f"cap must be at least rounds ({self.rounds}), got {self.cap}")
        if self.first not in FIRST:
            raise ConfigError(f"first {self.first!r} is not known; expected 'first-slice' or nothing")
        simulated_user(self.user, self.seed)  # checks the name

    @property
    def last_round(self) -> int:
        """The round at which NoC gives up."""
        return self.rounds if self.cap is None else self.cap

    @property
    def user_name(self) -> str:
        """The user in words, as rows name it."""
        return f"{self.user}, {self.first}" if self.first else self.user


class Trial(NamedTuple):
    """One method, under one set of settings."""

    settings: EvaluationSettings
    new_session: NewSession
