"""Which clauses hold one feature at two values at the same token."""

import pytest
from steering.worlds import random_dictionary
from tiny import tiny_model

from bathyscope.errors import ConfigError
from bathyscope.steering.clause import Clause
from bathyscope.steering.operations.clamp import Clamp
from bathyscope.steering.overlap import may_meet, require_apart
from bathyscope.steering.positions import Positions

PROMPT, GENERATION = Positions(part="prompt"), Positions(part="generation")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Positions(exclude=(GENERATION,)), GENERATION),
        (Positions(exclude=(GENERATION,)), Positions(part="generation", stop=5)),
        (Positions(exclude=(Positions(tokens=(13, 14)),)), Positions(tokens=(13,))),
        (Positions(exclude=(Positions(roles=("user",)),)), Positions(roles=("user",), part="prompt")),
        (Positions(exclude=(Positions(part="prompt", stop=4),)), Positions(part="prompt", stop=4)),
    ],
    ids=str,
)
def test_positions_that_one_of_them_excludes_do_not_meet(one, other):
    assert not may_meet(one, other) and not may_meet(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Positions(exclude=(PROMPT,)), GENERATION),
        (Positions(exclude=(GENERATION,)), Positions(part="generation", special=True)),
        (Positions(exclude=(Positions(tokens=(13,)),)), Positions(tokens=(13, 14))),
        (Positions(exclude=(Positions(roles=("user",)),)), Positions()),
        (Positions(exclude=(Positions(part="generation", stop=4),)), GENERATION),
        (Positions(exclude=(Positions(part="generation", exclude=(Positions(tokens=(13,)),)),)), GENERATION),
    ],
    ids=str,
)
def test_positions_of_which_less_is_excluded_may_meet(one, other):
    assert may_meet(one, other) and may_meet(other, one)


def test_a_dictionary_that_was_loaded_twice_is_one():
    model = tiny_model()
    first, again, another = (random_dictionary(model, seed=seed) for seed in (0, 0, 1))
    one, other, apart = (Clause(operation=Clamp(each, (5,), 2.0)) for each in (first, again, another))
    with pytest.raises(ConfigError, match="both hold feature 5"):
        require_apart([one, other])
    require_apart([one, apart])
