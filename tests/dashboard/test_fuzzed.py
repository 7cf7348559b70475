"""The API beside its own description: schemathesis asks what it allows, and what it does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from tests.dashboard.rig import Feed, Rig

from triptych.dashboard import api
from triptych.dashboard.openapi import description
from triptych.stream.source import Source

schemathesis = pytest.importorskip("schemathesis")
ACCEPTANCE = schemathesis.checks.positive_data_acceptance

ENDLESS = "/api/sources/{name}/stream.mjpg"
"""It never ends; ``test_api.py`` looks at it."""


def operations() -> list[Any]:
    document = description()
    del document["paths"][ENDLESS]
    return [found.ok() for found in schemathesis.openapi.from_dict(document).get_all_operations()]


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A server where everything is allowed; sources that are added never give a frame."""
    feeds = []

    def silent(spec: str, confined: bool) -> Source:
        feeds.append(Feed())
        return Source(feeds[-1].open, name=spec)

    with (
        pytest.MonkeyPatch.context() as patch,
        Rig(tmp_path_factory.mktemp("rig"), allow_sources="any", most_sources=10**6) as rig,
    ):
        patch.setattr(api, "open_source", silent)
        rig.run(5)
        yield rig
        for feed in [*feeds, *[rig.feed] * 100]:  # restarted sources read from the same feed
            feed.end()


BEYOND = {"PUT /api/sources/{name}/layout", "PUT /api/regroup", "POST /api/sources"}
"""What these take has rules that no schema can say: names differ or are those of classes, an
address can be reached."""


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("operation", operations(), ids=lambda operation: operation.label)
def test_answers_are_as_described(operation: Any, mode: Any, rig: Rig) -> None:
    if mode is schemathesis.GenerationMode.NEGATIVE and not (operation.body or operation.query):
        pytest.skip("whatever is asked here is allowed")
    beyond = [ACCEPTANCE] if operation.label in BEYOND else []

    @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
    @given(operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        # Most random names would be unknown; whoever deletes gets these.
        if case.path_parameters and case.method != "DELETE":
            case.path_parameters["name"] = "street"
        case.call_and_validate(base_url=rig.url.rstrip("/"), excluded_checks=beyond)

    ask()
