"""The fields that the stand-in takes, as tables of name → check.

A check turns JSON into the value that is kept; a ValueError is what the caller reads.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from tests.support.next29.replies import Json, Refusal

Check = Callable[[Any], Any]
Errors = dict[str, list[str]]

RESOLUTIONS: Mapping[str, tuple[str, ...]] = {
    "alert": (
        "could_not_find_order",
        "declined_or_canceled_nothing_to_do",
        "issued_full_refund",
        "issued_refund_for_remaining_amount",
        "3ds_authorized_successfully",
        "previously_refunded_nothing_to_do",
        "unable_to_refund_merchant_account_closed",
        "other",
    ),
    "chargeback": ("won", "lost", "accepted"),
}
MAX_URL = 255  # characters of a webhook's target


def text(value: object) -> str:
    """Text without NUL and lone surrogates, which DRF refuses, or blanks around it."""
    if isinstance(value, str) and not re.search("[\0\ud800-\udfff]", value):
        return value.strip()
    raise ValueError("Not a valid string.")


def filled(value: object) -> str:
    """Text that says something."""
    if stripped := text(value):
        return stripped
    raise ValueError("This field may not be blank.")


def flag(value: object) -> bool:
    """True or false, not a word or number for it."""
    if isinstance(value, bool):
        return value
    raise ValueError("Must be a valid boolean.")


def key(value: object) -> int:
    """The id of something else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError(f"Incorrect type. Expected pk value, received {type(value).__name__}.")


def money(digits: int) -> Check:
    """An amount by the document's pattern, as text; it is shown with two decimals."""
    pattern = re.compile(rf"-?\d{{0,{digits}}}(?:\.\d{{0,2}})?", re.ASCII)

    def check(value: object) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise ValueError(f"Not text with at most {digits} digits and 2 decimal places.")
        try:
            return f"{Decimal(value):.2f}"
        except InvalidOperation:  # the document's pattern lets "", "-" and "." through
            raise ValueError("A valid number is required.") from None

    return check


def currency(value: object) -> str:
    """A currency's code."""
    if re.fullmatch(r"[A-Z]{3}", code := text(value)):
        return code
    raise ValueError("Not a currency code of three capital letters.")


def instant(moment: datetime) -> str:
    """A time as 29next shows it."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def moment(value: object) -> str:
    """A date-time with its zone."""
    written = text(value)
    try:
        read = datetime.fromisoformat(written)
        if "T" in written and read.tzinfo is not None:
            return instant(read)
    except (ValueError, OverflowError):
        pass
    raise ValueError("Datetime has wrong format. Use YYYY-MM-DDThh:mm[:ss[.uuuuuu]][+HH:MM|Z].")


def mapping(value: object) -> Json:
    """A JSON object."""
    if isinstance(value, dict):
        return value
    raise ValueError("Not a JSON object.")


def texts(value: object) -> list[str]:
    """A list of texts with something in it."""
    if isinstance(value, list) and value:
        return [filled(item) for item in value]
    raise ValueError("This list may not be empty.")


def url(value: object) -> str:
    """A web address."""
    address = text(value)
    if re.fullmatch(r"https?://[^\s/]+\S*", address) and len(address) <= MAX_URL:
        return address
    raise ValueError("Enter a valid URL.")


def one_of(*words: str) -> Check:
    """One of some words."""

    def check(value: object) -> object:
        if value in words:
            return value
        raise ValueError(f'"{value}" is not a valid choice.')

    return check


def nullable(check: Check) -> Check:
    """The same, or null."""
    return lambda value: None if value is None else check(value)


_resolution = nullable(one_of("", *RESOLUTIONS["alert"], *RESOLUTIONS["chargeback"]))

DISPUTE_CHANGE: Mapping[str, Check] = {
    "amount": nullable(money(6)),
    "arn": nullable(text),
    "case_number": nullable(text),
    "currency": nullable(currency),
    "metadata": mapping,  # the documents' schema has no room for null
    "resolution": _resolution,
    "resolution_other_message": nullable(text),
    "transaction": nullable(key),
}
DISPUTE: Mapping[str, Check] = {
    **DISPUTE_CHANGE,
    "happened_at": moment,
    "type": one_of("alert", "chargeback"),
}
RESOLVE: Mapping[str, Check] = {
    "resolution": _resolution,
    "resolution_other_message": nullable(text),
    "create_external_refund": nullable(flag),
}
NOTE: Mapping[str, Check] = {"message": filled}
REFUND: Mapping[str, Check] = {
    "amount": money(7),
    "is_external": flag,
    "send_refund_notification": flag,
}
WEBHOOK: Mapping[str, Check] = {
    "active": flag,
    "api_version": nullable(text),
    "events": texts,
    "name": nullable(text),
    "secret_key": nullable(text),
    "target": url,
}


def _unknown(_: object) -> object:
    raise ValueError("29next does not take this field here.")


def check_all(body: object, fields: Mapping[str, Check], required: Iterable[str] = ()) -> tuple[Json, Errors]:
    """The body's values, and what is wrong with it by field."""
    if not isinstance(body, dict):
        words = f"Invalid data. Expected a dictionary, but got {type(body).__name__}."
        raise Refusal.of_fields({"non_field_errors": [words]})
    values: Json = {}
    errors: Errors = {name: ["This field is required."] for name in required if name not in body}
    for name, value in body.items():
        try:
            values[name] = fields.get(name, _unknown)(value)
        except ValueError as error:
            errors[name] = [str(error)]
    return values, errors
