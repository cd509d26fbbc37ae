"""The sandbox: a simulated 29next in memory, to try the bridge out (`bridge sandbox`, `make run`).

It serves the part of the Admin API that a dispute service needs, below /api/admin/, installs apps below
/oauth2/, and takes new sales at /sandbox/transactions, where `bridge send` adds one for each sample.

29next documents the paths, fields, filters, scopes, statuses and forms of the answers, the token, the
version header and the limit of calls. Orders and subscriptions have the form of version 2023-02-10 under
both versions. Where 29next says nothing, the sandbox assumes:

* Errors have the form of Django REST framework. An unknown filter filters nothing.
* Unknown and read-only fields are refused, as are small letters in a currency and a time without a zone.
* A dispute is `open` once it has a transaction, and `resolved` once it has a resolution.
* Only a succeeded debit is refunded, and only an external refund may exceed what is left of it.
* A fulfilment order is held while `open`, and takes a cancellation request while `processing`.
"""

from bridge.sandbox.app import create_app, serve
from bridge.sandbox.auth import CLIENT_ID, CLIENT_SECRET, STORE, TOKEN, VERSIONS

__all__ = ["CLIENT_ID", "CLIENT_SECRET", "STORE", "TOKEN", "VERSIONS", "create_app", "serve"]
