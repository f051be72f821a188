"""paramiko's client side, where it leaves something to be wished. Imported where it is used, as paramiko is."""

from __future__ import annotations

import paramiko


class Client(paramiko.Transport):
    """Asks for host keys in the order that it was given, certificates included."""

    @property
    def preferred_keys(self) -> tuple[str, ...]:
        """paramiko's own puts every certificate behind every plain key, so that no server would ever show one."""
        return tuple(self.get_security_options().key_types)
