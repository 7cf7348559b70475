"""One model and its processor of each kind in :mod:`tests.interop.accelerate.small`."""

from __future__ import annotations

from typing import Any

import pytest
from tests.interop.accelerate.small import MODELS, make


@pytest.fixture(params=list(MODELS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def pair(name: str) -> tuple[Any, Any]:
    return make(name)
