"""The held-out documents."""

import numpy as np
import pytest

from bathyscope.activations.split import BLOCK, held_out


@pytest.mark.parametrize("share", [0.0, 0.05, 0.1, 0.25, 0.5, 0.99])
def test_every_stretch_of_the_stream_has_its_share(share: float) -> None:
    out = held_out(np.arange(4000), share=share, seed=0)
    totals = np.cumsum(out)[BLOCK - 1 :: BLOCK]
    assert np.abs(totals - share * BLOCK * np.arange(1, len(totals) + 1)).max() <= 0.5


def test_ten_documents_are_enough_for_one_to_be_held_out() -> None:
    for seed in range(50):
        assert held_out(np.arange(10), share=0.1, seed=seed).sum() == 1


def test_more_documents_change_no_earlier_decision_and_order_does_not_matter() -> None:
    few, many = held_out(np.arange(37), share=0.3, seed=5), held_out(np.arange(900), share=0.3, seed=5)
    assert (few == many[:37]).all()
    asked = np.array([800, 3, 3, 36])
    assert (held_out(asked, share=0.3, seed=5) == many[asked]).all()


def test_the_choice_depends_on_the_seed_and_not_on_the_place_in_a_block() -> None:
    choices = np.stack([held_out(np.arange(1000), share=0.1, seed=seed) for seed in range(40)])
    assert len({choice.tobytes() for choice in choices}) == 40
    by_place = choices.reshape(-1, BLOCK).mean(axis=0)
    assert np.abs(by_place - 0.1).max() < 0.025  # 4,000 blocks: standard error 0.005


def test_no_documents_give_no_answer() -> None:
    assert held_out(np.arange(0), share=0.1, seed=0).shape == (0,)
