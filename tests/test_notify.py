"""What a person is told: what is new, once, and by one process; and the worker's other chores."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_httpserver import HTTPServer

from bridge.alert import Reason
from bridge.chores import Chores
from bridge.figures import Figures
from bridge.memos import Memos
from bridge.notify import (
    AGAIN_AFTER,
    GONE_AFTER,
    REMIND_AFTER,
    WORKER,
    Condition,
    Notifier,
    Picture,
    conditions,
    news,
    usual_silence,
)
