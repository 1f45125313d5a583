"""limnet keys: who may use a server beyond this computer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from limnet.cli.options import Folder
from limnet.errors import ConfigError

Action = Annotated[Positional[Literal["add", "list", "remove"]], arg(metavar="{add,list,remove}")]
Name = Annotated[Positional[str], arg(metavar="[NAME]", help_behavior_hint="")]


@dataclass(frozen=True)
class Keys:
    """Add, list or remove the users' keys of a work folder; a running server follows at once."""

    action: Action
    name: Name = ""  # of the user, for add and remove
    work_dir: Folder = None  # as for serve

    def run(self) -> int:
        """Do it; a new key is printed once and stored nowhere."""
        from limnet.server.keys import Keyring
        from limnet.server.work_folder import default_work_dir

        keys = Keyring((self.work_dir or default_work_dir()).resolve())
        if self.action == "list":
            for entry in keys.entries:
                print(f"{entry.name:<20} since {entry.created}")
            return 0
        if not self.name:
            raise ConfigError(f"limnet keys {self.action} needs a NAME")
        if self.action == "add":
            print(keys.add(self.name))
        else:
            keys.remove(self.name)
        return 0
