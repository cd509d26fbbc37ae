"""The stores: those that are configured, and those in which a merchant has installed the bridge.

Every process knows within seconds what merchants install and remove, without a restart. Their tokens
are stored encrypted, each with the name of its store, so that no row can be used for another store.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from sqlalchemy import Connection, select, update

from bridge.settings import NOT_INSTALLED, Settings, Store
from bridge.storage.database import Database
from bridge.storage.schema import installations
from bridge.storage.upsert import insert_or_update

FRESH_SECONDS = 2.0
"""How old the list of installed stores may be."""
UNINSTALLED = "The merchant has removed the app. Alerts wait until it is installed again."
LOCKED = (
    "The token of this store cannot be decrypted: restore the missing key in BRIDGE_ENCRYPTION_KEYS,"
    " or install the app again."
)
WITHOUT_TOKEN = (NOT_INSTALLED, UNINSTALLED, LOCKED)


def with_installed(settings: Settings, database: Database) -> Settings:
    """Returns the settings with the installed stores among theirs, if the bridge can be installed."""
    return replace(settings, stores=AllStores(settings, database)) if settings.encryption_keys else settings


class AllStores(Mapping[str, Store]):
    """Every store by its name; a store never leaves, but it may have lost its token."""

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
        return known[name] if name in known else self.read()[name]  # it may be new

    def __iter__(self) -> Iterator[str]:
        return iter(self._fresh())

    def __len__(self) -> int:
        return len(self._fresh())

    def _fresh(self) -> Mapping[str, Store]:
        return self.known if time.monotonic() < self.read_at + FRESH_SECONDS else self.read()

    def read(self) -> Mapping[str, Store]:
        """Reads what is installed, and returns every store; raises Unavailable."""
        rows = self.database.rows(select(installations))
        installed = {row.store: self._installed(row.store, row.token) for row in rows}
        configured = {n: store for n, store in self.configured.items() if store.token or n not in installed}
        self.known = stores = {**installed, **configured}
        self.read_at = time.monotonic()
        return stores

    def _installed(self, name: str, kept: str | None) -> Store:
        """Returns a store with its stored token, or with the reason why it has none."""
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
        """Returns a store with the token of its installation; a configured store keeps its own."""
        known = self.configured.get(name)
        return known if known and known.token else replace(self._blank(name), token=token, missing="")

    def install(self, name: str, token: str) -> None:
        """Stores the token of a store; it replaces an earlier one."""
        row = {
            "store": name,
            "token": self.vault.encrypt(f"{name} {token}".encode()).decode(),
            "installed_at": self.database.now(),
            "uninstalled_at": None,
        }
        self.database.write(lambda connection: insert_or_update(connection, installations, row))
        self.read()

    def rotate(self) -> int:
        """Encrypts again, with the newest key, the tokens that only an older key opens; returns how many."""
        rotated = []
        for row in self.database.rows(select(installations).where(installations.c.token.is_not(None))):
            try:
                self.newest.decrypt(row.token)
            except InvalidToken:
                with contextlib.suppress(InvalidToken):  # no key opens it
                    rotated.append((row, self.vault.rotate(row.token).decode()))

        def write(connection: Connection) -> int:
            for row, token in rotated:
                same = (installations.c.store == row.store, installations.c.token == row.token)
                connection.execute(update(installations).where(*same).values(token=token))
            return len(rotated)

        return self.database.write(write) if rotated else 0
