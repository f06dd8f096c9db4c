"""The random language: what a token depends on, and that texts follow the stated law."""

import pytest
import torch

from bathyscope.errors import ConfigError
from bathyscope.risk.worlds.gpt2 import BOS
from bathyscope.risk.worlds.language import Language, RandomLanguageSettings

SMALL = RandomLanguageSettings(n_vocabulary=7, order=2, rank=4)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_token_depends_on_the_last_order_tokens_and_on_no_other():
    language = Language(SMALL)
    law_NV = language.probabilities(torch.tensor([[0, 3, 5, 2], [0, 1, 5, 2], [0, 3, 4, 2]]))
    assert torch.equal(law_NV[0], law_NV[1]) and not torch.allclose(law_NV[0], law_NV[2], atol=1e-3)
    longer_NV = Language(RandomLanguageSettings(n_vocabulary=7, order=3, rank=4)).probabilities(
        torch.tensor([[0, 3, 5, 2], [0, 1, 5, 2]])
    )
    assert not torch.allclose(longer_NV[0], longer_NV[1], atol=1e-3)


def test_without_sharpness_the_law_is_zipfs():
    flat = RandomLanguageSettings(n_vocabulary=7, sharpness=0.0, zipf=1.0)
    (law_V,) = Language(flat).probabilities(torch.tensor([[0]])).unbind()
    weights = [1 / rank for rank in range(1, 8)]
    left = sorted(law_V[1:].tolist(), reverse=True)
    possible = [sorted((w for k, w in enumerate(weights) if k != out), reverse=True) for out in range(7)]
    assert any(left == pytest.approx([w / sum(law) for w in law], rel=1e-5) for law in possible)


def test_texts_follow_the_law_and_the_beginning_never_comes_back():
    language = Language(SMALL)
    tokens_NS = language.sample(20_000, 3, generator=generator())
    assert bool((tokens_NS[:, 0] == BOS).all()) and int((tokens_NS[:, 1:] == BOS).sum()) == 0
    after_N = tokens_NS[tokens_NS[:, 1] == 4, 2]
    wanted_V = language.probabilities(torch.tensor([[BOS, 4]]))[0]
    found_V = torch.bincount(after_N, minlength=7) / len(after_N)
    assert float((found_V - wanted_V).abs().max()) < 5 * (0.25 / len(after_N)) ** 0.5


def test_the_seed_decides_language_and_texts():
    one, again, other = (Language(RandomLanguageSettings(n_vocabulary=30, seed=seed)) for seed in (1, 1, 2))
    texts = [language.sample(50, 6, generator=generator()) for language in (one, again, other)]
    assert torch.equal(texts[0], texts[1]) and not torch.equal(texts[0], texts[2])


@pytest.mark.parametrize("wrong", [{"n_vocabulary": 1}, {"order": 0}, {"rank": 0}])
def test_sizes_that_make_no_language_are_refused(wrong):
    with pytest.raises(ConfigError, match="a language needs"):
        RandomLanguageSettings(**wrong)
