"""The stores: those that are configured, and those in which a merchant has installed the bridge.

What merchants install and remove is known to every process within seconds, without a restart. Their
tokens are kept encrypted, each together with the name of its store, so that none opens another's row.
"""

from __future__ import annotations

import time
import typing
from collections.abc import Iterator, Mapping
from dataclasses import replace

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from sqlalchemy import select, update

from bridge.settings import NOT_INSTALLED, Store
from bridge.storage.schema import installations
from bridge.storage.upsert import insert_or_update

if typing.TYPE_CHECKING:
    from sqlalchemy import Executable

    from bridge.settings import Settings
    from bridge.storage.database import Database

FRESH_SECONDS = 2.0
"""How old the picture of what is installed may be."""
UNINSTALLED = "The merchant has removed the app. Alerts wait until it is installed again."
LOCKED = (
    "The token of this store cannot be decrypted: restore the missing key in BRIDGE_ENCRYPTION_KEYS"
    " back, or install the app anew."
)
WITHOUT_TOKEN = (NOT_INSTALLED, UNINSTALLED, LOCKED)


def with_installed(settings: Settings, database: Database) -> Settings:
    """Return the settings, with the stores that are installed among theirs where there can be some."""
    return replace(settings, stores=AllStores(settings, database)) if settings.encryption_keys else settings


class AllStores(Mapping[str, Store]):
    """Every store by its name; none is ever taken away, but it may have lost its token."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = settings
        self.configured = settings.stores
        self.database = database
        self.newest = Fernet(settings.encryption_keys[0])
        self.vault = MultiFernet([Fernet(key) for key in settings.encryption_keys])
        self.known: Mapping[str, Store] = {}
        self.read_at = -FRESH_SECONDS

    def __getitem__(self, name: str) -> Store:
        known = self._fresh()
        return known[name] if name in known else self.read()[name]  # it may have come a moment ago

    def __iter__(self) -> Iterator[str]:
        return iter(self._fresh())

    def __len__(self) -> int:
        return len(self._fresh())

    def _fresh(self) -> Mapping[str, Store]:
        return self.known if time.monotonic() < self.read_at + FRESH_SECONDS else self.read()

    def read(self) -> Mapping[str, Store]:
        """Read what is installed, and return every store; raises Unavailable."""
        with self.database.read() as connection:
            rows = connection.execute(select(installations)).all()
        found = {row.store: self._installed(row.store, row.token) for row in rows}
        mine = {n: store for n, store in self.configured.items() if store.token or n not in found}
        self.known = known = {**found, **mine}
        self.read_at = time.monotonic()
        return known

    def _installed(self, name: str, kept: str | None) -> Store:
        """Return a store with the token that is kept for it, or with the reason why it has none."""
        if kept is None:
            return replace(self._blank(name), missing=UNINSTALLED)
        try:
            owner, _, token = self.vault.decrypt(kept).decode().partition(" ")
        except InvalidToken:
            owner = token = ""
        if owner != name:
            return replace(self._blank(name), missing=LOCKED)
        return self.opened(name, token)

    def _blank(self, name: str) -> Store:
        store = Store(name, self.settings.base_url_of(name), "", metadata=self.settings.metadata)
        return replace(self.configured.get(name, store), installed=True)

    def opened(self, name: str, token: str) -> Store:
        """Return a store with the token that its installation gave; one that is configured has its own."""
        known = self.configured.get(name)
        return known if known and known.token else replace(self._blank(name), token=token, missing="")

    def install(self, name: str, token: str) -> None:
        """Keep the token of a store, in the place of an earlier one."""
        row = {
            "store": name,
            "token": self.vault.encrypt(f"{name} {token}".encode()).decode(),
            "installed_at": self.database.now(),
            "uninstalled_at": None,
        }
        self.database.write(lambda connection: insert_or_update(connection, installations, row))
        self.read()

    def rotate(self) -> int:
        """Encrypt with the newest key what only an older one opens; returns how many tokens."""
        with self.database.read() as connection:
            rows = connection.execute(select(installations).where(installations.c.token.is_not(None))).all()
        old = [
            row
            for row in rows
            if not self._opens(self.newest, row.token) and self._opens(self.vault, row.token)
        ]
        for row in old:
            same = (installations.c.store == row.store, installations.c.token == row.token)
            self._write(
                update(installations).where(*same).values(token=self.vault.rotate(row.token).decode())
            )
        return len(old)

    def _write(self, statement: Executable) -> None:
        self.database.write(lambda connection: connection.execute(statement))

    @staticmethod
    def _opens(vault: Fernet | MultiFernet, kept: str) -> bool:
        try:
            vault.decrypt(kept)
        except InvalidToken:
            return False
        return True
