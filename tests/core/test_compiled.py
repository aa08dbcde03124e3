"""Compiling with and without a folder for what is compiled."""

import math

import numpy as np
from numba.core import caching

from d2_plugtrack.core.compiled import compiled


def divided(a, b):
    return a / b


def test_keeps_what_is_compiled():
    assert compiled(divided)._cache.cache_path


def test_without_a_folder_it_works_all_the_same(monkeypatch):
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    function = compiled(divided)
    assert not getattr(function._cache, "cache_path", None)
    assert function(3.0, 2.0) == 1.5


def test_arithmetic_is_ieee(monkeypatch):
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    assert math.isnan(compiled(divided)(np.float64(0), np.float64(0)))
