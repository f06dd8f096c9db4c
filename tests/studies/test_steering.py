"""The bench of steering, whole, on a tiny model: every way is there, nulls and judges stand beside, and it resumes."""

import pytest
import torch
from tiny import D_MODEL, tiny_model

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.rules import Largest
from bathyscope.dictionaries.weights import Weights
from bathyscope.errors import ConfigError
from bathyscope.steering.trials import TrialSettings
from bathyscope.studies import steering as room
from bathyscope.studies.costs import KL
from bathyscope.studies.methods import BY_AUROC
from bathyscope.studies.steering import (
    BY_OUTPUT,
    PLAIN,
    PROMPT,
    RANDOM_DIRECTION,
    RANDOM_FEATURE,
    SteeringBench,
    bench_steering,
)

TRIALS = TrialSettings(instructions=("Say one.", "Say two!"), max_new_tokens=4, temperature=0.0, batch_size=64)


@pytest.fixture
def dictionary(tmp_path):
    W_FD = torch.nn.functional.normalize(torch.randn(40, D_MODEL, generator=torch.Generator().manual_seed(0)), dim=1)
    made = Dictionary(
        weights=Weights(W_enc=W_FD.T.contiguous(), b_enc=torch.zeros(40), W_dec=W_FD, b_dec=torch.zeros(D_MODEL)),
        rule=Largest(k=8),
        subtract_b_dec=False,
        hookpoint="layers.1",
        max_activation=torch.full((40,), 2.0),
    )
    made.save(tmp_path / "dictionary")
    return tmp_path / "dictionary"


def settings(dictionary, tmp_path) -> SteeringBench:
    topics = tmp_path / "topics.toml"
    pairs = "\n".join(f'["The {word} is {n}.", "No {n} is it."],' for n, word in enumerate(["ship", "boat"] * 12))
    topics.write_text(
        f'[sea]\nwords = ["ship*"]\npairs = [{pairs}]\n'
        f'[money]\nwords = ["pay"]\npairs = [{pairs.replace("ship", "gold")}]\n'
    )
    return SteeringBench(
        model="tiny",
        hookpoint="layers.1",
        dictionary=dictionary,
        features=None,
        concepts=topics,
        factors=(0.5, 1.0),
        questions=0,
        trials=TRIALS,
    )


def test_every_way_is_tried_and_rated_beside_its_nulls(dictionary, tmp_path, monkeypatch):
    monkeypatch.setattr(room, "load_model", lambda _name: tiny_model())
    rows = bench_steering(settings(dictionary, tmp_path), out=tmp_path / "out")
    found = {(row.subject, row.metric) for row in rows}
    ways = {PLAIN, PROMPT, RANDOM_DIRECTION, RANDOM_FEATURE, BY_AUROC, BY_OUTPUT, "ReFT-r1", "column of shifts"}
    assert {(way, f"score · {judge}") for way in ways for judge in ("words", "meaning")} <= found
    assert ("difference of means", "AUROC") in found and (RANDOM_DIRECTION, "AUROC") in found
    assert ("judge of fluency: likelihood", "sensitivity") in found
    table = (tmp_path / "out" / "scores" / "table.md").read_text()
    assert f"| {RANDOM_FEATURE}° |" in table
    assert (tmp_path / "out" / "scores" / "chart-sea.svg").exists()
    costs = (tmp_path / "out" / "costs" / "table.md").read_text()
    assert "| difference of means |" in costs and f"| {RANDOM_DIRECTION} |" in costs and f"| {PROMPT} |" not in costs
    moved = {row.subject: row.value for row in rows if row.metric == KL}
    assert moved[RANDOM_DIRECTION] > 0 and PLAIN not in moved
    again = bench_steering(settings(dictionary, tmp_path), out=tmp_path / "out")
    assert again == rows


def test_bad_settings_are_refused():
    with pytest.raises(ConfigError, match="above 0"):
        SteeringBench(factors=(0.0, 1.0))
    with pytest.raises(ConfigError, match="numbers above 0"):
        SteeringBench(factors=(float("nan"),))
    with pytest.raises(ConfigError, match="quick has factors and max_new_tokens of its own"):
        SteeringBench(quick=True, factors=(0.7,), trials=TrialSettings(max_new_tokens=8, temperature=0.0))
    assert SteeringBench(quick=True, questions=0, trials=TrialSettings(temperature=0.7, seed=3)).resolved()
    with pytest.raises(ConfigError, match="both or neither"):
        SteeringBench(dictionary=None)
    quick = SteeringBench(quick=True).resolved()
    assert (len(quick.trials.instructions), len(quick.factors), quick.questions) == (4, 3, 0)
