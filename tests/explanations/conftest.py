"""Worlds that the tests of this room share."""

import pytest
from explanations.letters import letter_index

from bathyscope.features.index import FeatureIndex


@pytest.fixture(scope="session")
def letter_world(tmp_path_factory) -> FeatureIndex:
    """The index of the world in which every feature fires on a letter."""
    return letter_index(tmp_path_factory.mktemp("letters") / "features")
