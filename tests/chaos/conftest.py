"""Worlds that are taken down whatever happened to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.world import World

Maker = Callable[..., World]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Maker]:
    """Makes a World, whose engine has begun, in a folder of its own."""
    made: list[World] = []

    def maker(*args: Any, **kwargs: Any) -> World:
        world = World(tmp_path / f"account{len(made)}", *args, **kwargs)
        made.append(world)
        world.do(world.shell.begin)
        return world

    yield maker
    for world in made:
        world.close()
