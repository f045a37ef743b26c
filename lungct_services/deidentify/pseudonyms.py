"""Names for studies that say nothing without the key of the site."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from lungct.errors import SettingsError

KEY_FILE = "pseudonym.key"
_KEY_BYTES = 32
_LENGTH = 12


class Pseudonyms:
    """Keyed hash of identifiers (HMAC-SHA-256)."""

    def __init__(self, key: bytes) -> None:
        """Take the key."""
        self._key = key

    def digest(self, *what: str) -> bytes:
        """Return 32 bytes that belong to these texts alone, and stay the same as long as the key does."""
        return hmac.digest(self._key, "\0".join(what).encode(), hashlib.sha256)

    def name(self, *what: str) -> str:
        """Return a short name for people, logs and metrics."""
        return self.digest(*what).hex()[:_LENGTH]


def pseudonyms_of(key_file: Path) -> Pseudonyms:
    """Return the pseudonyms of the key in a file, which is made where missing, for its owner alone.

    Raises:
        SettingsError: the file cannot be read or written, or is no key.
    """
    try:
        key_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            descriptor = os.open(key_file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except FileExistsError:
            pass
        else:
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_hex(_KEY_BYTES))
        key = bytes.fromhex(key_file.read_text().strip())
    except (OSError, ValueError) as error:
        raise SettingsError(f"the key {key_file.name} cannot be used: restore it or remove it") from error
    if len(key) < _KEY_BYTES:
        raise SettingsError(f"the key {key_file.name} is shorter than {_KEY_BYTES} bytes: restore it")
    return Pseudonyms(key)
