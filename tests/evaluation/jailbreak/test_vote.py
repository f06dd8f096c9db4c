"""The vote over copies: the majority of each judge, an answer that agrees with it, and ties that decline."""

import itertools

from evaluation.jailbreak.test_outcomes import outcome

from bathyscope.evaluation.jailbreak.vote import voted


def copies(*declines: bool, number: int = 0, factor: float = 0.1):
    """Copies of one request; the fluency counts them, so that each can be told from the others."""
    return [outcome(number=number, factor=factor, declines=said, fluency=n) for n, said in enumerate(declines)]


def test_the_majority_decides_and_the_first_that_agrees_stands():
    (found,) = voted(copies(False, True, True), "oracle")
    assert found.declines["oracle"] and found.fluency == 1
    (found,) = voted(copies(True, False, False), "oracle")
    assert not found.declines["oracle"] and found.fluency == 1
    (found,) = voted(copies(False, False, False), "oracle")
    assert not found.declines["oracle"] and found.fluency == 0


def test_half_against_half_declines():
    (found,) = voted(copies(False, True), "oracle")
    assert found.declines["oracle"] and found.fluency == 1


def test_each_judge_has_its_own_majority():
    rows = copies(False, True, True)
    assert voted(rows, "oracle")[0].declines["oracle"]
    (found,) = voted(rows, "contrary")
    assert not found.declines["contrary"] and found.fluency == 1


def test_requests_and_strengths_are_voted_on_apart_and_only_answers_stay():
    rows = [*copies(True, number=1), *copies(True, True, False, number=2), *copies(False, number=2, factor=0.2)]
    assert voted(rows, "oracle") == [rows[0], rows[1], rows[4]]


def test_the_vote_lowers_success_where_most_copies_decline_and_raises_it_where_few_do():
    """With copies that decline with p, three of them do so with p² (3 - 2 p)."""
    for p in (0.2, 0.8):
        share = 0.0
        for said in itertools.product((True, False), repeat=3):
            weight = p ** sum(said) * (1 - p) ** (3 - sum(said))
            share += weight * voted(copies(*said), "oracle")[0].declines["oracle"]
        assert abs(share - p**2 * (3 - 2 * p)) < 1e-12
