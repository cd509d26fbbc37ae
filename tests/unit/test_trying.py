"""Tests of how one test is tried with many values: each that fails is named, and none is left out."""

from __future__ import annotations

import inspect
import itertools

import pytest

from tests.support.trying import tried_with


def test_every_value_is_tried_and_each_that_fails_is_named() -> None:
    seen = []

    @tried_with("number", [1, 2, pytest.param(3, id="the third")])
    @tried_with(("word", "length"), [("one", 3), ("two", 4), ("a" * 60, 60)], itertools.count(10))
    def fails(number: int, word: str, length: int) -> None:
        seen.append((number, word))
        assert len(word) == length, word
        assert number < 3

    with pytest.raises(AssertionError, match="two") as failed:
        fails()
    assert len(seen) == 9
    assert failed.value.__notes__ == ["1 of 3 fail: 1 11", "3 of 3 fail: 0 1, 1 2, 2 the third"]


def test_what_should_have_raised_is_named_too() -> None:
    @tried_with("text", ["12", "x"])
    def refused(text: str) -> None:
        with pytest.raises(ValueError, match="invalid"):
            int(text)

    with pytest.raises(pytest.fail.Exception) as failed:
        refused()
    assert failed.value.__notes__ == ["1 of 2 fail: 0 12"]


def test_a_test_keeps_its_other_arguments() -> None:
    @tried_with("number", range(3), ids=lambda number: f"of {number}")
    def small(number: int, limit: int) -> None:
        assert number < limit

    assert list(inspect.signature(small).parameters) == ["limit"]
    small(limit=3)
    with pytest.raises(AssertionError) as failed:
        small(limit=2)
    assert failed.value.__notes__ == ["1 of 3 fail: 2 of 2"]


def test_without_a_value_nothing_is_tried_and_that_is_a_mistake() -> None:
    with pytest.raises(AssertionError):
        tried_with("number", [])
