"""Splitting on planted trees: children lie near their parent, and nothing is a child where there is no tree."""

import dataclasses

import numpy as np
import pytest
import torch
from features.planted import Stream

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.rules import Above
from bathyscope.dictionaries.weights import Weights
from bathyscope.errors import ConfigError
from bathyscope.evaluation.splitting import OWN, RANDOM, SHAPED, TWINS, SplittingSettings, read_tree, splitting

D, N_PARENTS, N_SPLIT, PER_PARENT = 64, 40, 30, 3
SETTINGS = SplittingSettings(n_rows=600, min_firing=3)


def dictionary_of(rows_FD: torch.Tensor, *, threshold: float = 0.9) -> Dictionary:
    rows_FD = torch.nn.functional.normalize(rows_FD, dim=1)
    weights = Weights(
        W_enc=rows_FD.T.contiguous(),
        b_enc=torch.zeros(len(rows_FD)),
        W_dec=rows_FD,
        b_dec=torch.zeros(rows_FD.shape[1]),
        threshold=torch.full((len(rows_FD),), threshold),
    )
    return Dictionary(weights=weights, rule=Above(), subtract_b_dec=False, hookpoint="layers.1")


@pytest.fixture(scope="module")
def family():
    """Parents, and a large dictionary with three children of each of the first thirty and 30 features of no parent."""
    generator = torch.Generator().manual_seed(0)
    parents = torch.nn.functional.normalize(torch.randn(N_PARENTS, D, generator=generator), dim=1)
    noise = torch.nn.functional.normalize(torch.randn(N_SPLIT * PER_PARENT, D, generator=generator), dim=1)
    children = parents[:N_SPLIT].repeat_interleave(PER_PARENT, 0) + 0.4 * noise
    return dictionary_of(parents), dictionary_of(torch.cat([children, torch.randn(30, D, generator=generator)]))


@pytest.fixture(scope="module")
def grown(family, tmp_path_factory):
    out = tmp_path_factory.mktemp("splitting") / "out"
    small, large = family
    rng = np.random.default_rng(0)
    stream = Stream([40] * 40, context=41)
    which = rng.integers(0, N_SPLIT * PER_PARENT, stream.n_rows)
    x_ND = 2 * large.W_dec[torch.from_numpy(which)]
    store = stream.store(out.parent / "store", x_ND)
    rows = splitting(small, large, out=out, store=store, settings=SETTINGS)
    return out, {(row.subject, row.metric): row for row in rows}


def test_the_planted_tree_is_found(grown):
    out, _ = grown
    tree = read_tree(out)
    assert [branch.feature for branch in tree] == list(range(N_PARENTS))
    for parent in range(N_SPLIT):
        found = {child.feature for child in tree[parent].children}
        assert found >= set(range(parent * PER_PARENT, (parent + 1) * PER_PARENT))
    strangers = [child for branch in tree for child in branch.children if child.feature >= N_SPLIT * PER_PARENT]
    assert len(strangers) <= 2, "of 30"
    assert all(
        a.cosine >= b.cosine for branch in tree for a, b in zip(branch.children, branch.children[1:], strict=False)
    )


def test_shares_stand_beside_two_nulls(grown):
    _, rows = grown
    assert rows[OWN, "large features with a parent"].value == pytest.approx(90 / 120, abs=0.03)
    assert rows[OWN, "small features with several children"].value >= N_SPLIT / N_PARENTS
    for null in (RANDOM, SHAPED):
        assert rows[null, "large features with a parent"].value <= 0.03
    assert rows["threshold", "cosine"].value < rows[OWN, "mean best cosine"].value


def test_children_fire_where_their_parents_do(grown):
    out, rows = grown
    metric = "child's firings on which the parent fires"
    assert rows[OWN, metric].value > 0.9
    assert rows["another feature that fires as often", metric].value < 0.3
    assert all(child.contained is not None for child in read_tree(out)[0].children)


def test_two_unrelated_dictionaries_have_no_tree(tmp_path):
    one, other = (dictionary_of(torch.randn(n, D, generator=torch.Generator().manual_seed(n))) for n in (40, 90))
    rows = {(row.subject, row.metric): row for row in splitting(one, other, out=tmp_path / "out", settings=SETTINGS)}
    assert rows[OWN, "large features with a parent"].value <= 0.05
    assert all(child.contained is None for branch in read_tree(tmp_path / "out") for child in branch.children)


def test_dictionaries_that_started_alike_are_told_by_their_numbers(grown, tmp_path):
    generator = torch.Generator().manual_seed(3)
    start = torch.nn.functional.normalize(torch.randn(90, D, generator=generator), dim=1)
    one, other = (start[:n] + 0.05 * torch.randn(n, D, generator=generator) for n in (40, 90))
    found = splitting(dictionary_of(one), dictionary_of(other), out=tmp_path / "out", settings=SETTINGS)
    assert next(row for row in found if row.metric == TWINS).value > 0.9
    assert grown[1][OWN, TWINS].value < 0.1


def test_what_cannot_be_compared_is_refused(family, tmp_path):
    small, _ = family
    with pytest.raises(ConfigError, match="same dictionary"):
        splitting(small, small, out=tmp_path / "out")
    with pytest.raises(ConfigError, match="width 64 and 8"):
        splitting(small, dictionary_of(torch.randn(10, 8)), out=tmp_path / "out")
    with pytest.raises(ConfigError, match="quantile"):
        dataclasses.replace(SETTINGS, quantile=1.0)
