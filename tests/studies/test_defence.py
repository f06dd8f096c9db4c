"""The bench of defences, whole, on a tiny model and harmless stand-ins."""

import json
import shutil

import pytest
import torch
from evaluation.jailbreak.made_up import materials
from tiny import D_MODEL, tiny_model

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.rules import Largest
from bathyscope.dictionaries.weights import Weights
from bathyscope.evaluation.jailbreak.figures import NONE
from bathyscope.evaluation.jailbreak.panel import Panel
from bathyscope.evaluation.steering.answers import read_answers
from bathyscope.models.generate import generate
from bathyscope.steering import trials
from bathyscope.steering.rewrites import paraphrase
from bathyscope.steering.rewrites.perturb import Perturb
from bathyscope.studies import defence as room
from bathyscope.studies.defence import (
    ADD,
    ADD_GATED,
    ENFORCE,
    ENFORCE_RANDOM,
    PARAPHRASE,
    RANDOM_GATED,
    SMOOTH,
    DefenceBench,
    bench_defence,
)

JUDGES = ("phrases", "phrases or evasion")


@pytest.fixture(scope="module", autouse=True)
def small(tmp_path_factory):
    """Few requests and strengths, a model of bytes that has no room for long prompts, and no unsafe text."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "load_model", lambda _name: tiny_model())
        patch.setattr("bathyscope.materials.fetch", materials(tmp_path_factory.mktemp("materials")))
        patch.setattr(room, "VAL_REQUESTS", 20)
        patch.setattr(room, "LENGTHS", (0.3, 0.6))
        patch.setattr(room, "GAINS", (1.0,))
        patch.setattr(room, "SHARES", (0.1, 0.3))
        patch.setattr(room, "SELF_REMINDER", "Be good.")
        patch.setattr(paraphrase, "ASKED", "{text}!")
        yield


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> DefenceBench:
    folder = tmp_path_factory.mktemp("dictionary") / "dictionary"
    W_FD = torch.nn.functional.normalize(torch.randn(40, D_MODEL, generator=torch.Generator().manual_seed(0)), dim=1)
    weights = Weights(W_enc=W_FD.T.contiguous(), b_enc=torch.zeros(40), W_dec=W_FD, b_dec=torch.zeros(D_MODEL))
    Dictionary(
        weights=weights,
        rule=Largest(k=8),
        subtract_b_dec=False,
        hookpoint="layers.1",
        max_activation=torch.full((40,), 2.0),
    ).save(folder)
    return DefenceBench(
        hookpoint="layers.1",
        dictionary=folder,
        n_harmful=3,
        n_harmless=12,
        n_wrappers=1,
        n_features=2,
        max_paraphrase_tokens=4,
        max_new_tokens=3,
        batch_size=128,
    )


@pytest.fixture(scope="module")
def finished(settings, tmp_path_factory):
    """The folder of a bench that was killed while the reporting half was answered, and then went on."""
    out, answers = tmp_path_factory.mktemp("bench"), trials._answers

    def failing(*given, **options):
        if (out / "verdicts-choose-harmful").exists():
            raise KeyboardInterrupt
        return answers(*given, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trials, "_answers", failing)
        with pytest.raises(KeyboardInterrupt):
            bench_defence(settings, out=out)
    bench_defence(settings, out=out)
    return out


def test_every_defence_stands_beside_its_nulls_under_both_judges(settings, finished):
    found = {(row.subject, row.metric) for row in bench_defence(settings, out=finished)}
    for judge in JUDGES:
        for way in (NONE, ADD_GATED, RANDOM_GATED, ENFORCE, ENFORCE_RANDOM, SMOOTH, PARAPHRASE):
            assert (way, f"attack success · {judge}") in found
            assert (way, f"usefulness · {judge}") in found
    table = (finished / "scores" / "table.md").read_text()
    assert "| self-reminder |" in table and "| SmoothLLM | 0." in table and "| paraphrase | – |" in table
    shown = [table, *(path.read_text() for path in finished.glob("verdicts-*/verdicts.jsonl"))]
    assert len(shown) == 4
    assert not any("bad thing" in text for text in shown)


def test_requests_are_rewritten_and_judged_as_they_were_asked(settings, finished):
    said = dict[str, str]()
    for line in (finished / "paraphrases" / "paraphrases.jsonl").read_text().splitlines():
        row = json.loads(line)
        said[row["text"]] = row["paraphrase"]
    for part in ("choose-harmless", "report"):
        answers = read_answers(finished / f"answers-{part}")
        asked = {answer.prompt for answer in answers if answer.method == NONE}
        own = {method: [each for each in answers if each.method == method] for method in (SMOOTH, PARAPHRASE)}
        assert {each.prompt for each in own[SMOOTH]} == {each.prompt for each in own[PARAPHRASE]} == asked
        assert all(each.given == said[each.prompt] for each in own[PARAPHRASE])
        for each in own[SMOOTH]:
            assert each.given == Perturb(share=each.factor).texts(each.prompt)[each.copy]
        assert len(own[SMOOTH]) == 3 * len(asked) * len({each.factor for each in own[SMOOTH]})
    text = own[PARAPHRASE][0]
    assert text.given and text.tokens == generate(tiny_model(), [text.given], max_new_tokens=3)[0].tokens


def test_answering_only_where_it_matters_changes_no_figure(settings, finished, tmp_path, monkeypatch):
    rows = bench_defence(settings, out=finished)
    out = tmp_path / "everywhere"
    shutil.copytree(finished, out, ignore=shutil.ignore_patterns("*-report", "*-choose-harmful", "scores"))
    monkeypatch.setattr(room, "_at", lambda arms, _factors: arms)
    assert bench_defence(settings, out=out) == rows
    for part in ("choose-harmful", "report"):
        few, every = (read_answers(folder / f"answers-{part}") for folder in (finished, out))
        assert 0 < len(few) < len(every)
    assert {each.factor for each in every if each.method == ADD} == {0.3, 0.6}


def test_a_finished_bench_asks_nobody_again(settings, finished, monkeypatch):
    monkeypatch.setattr(trials, "generate", None)
    monkeypatch.setattr(Panel, "of", None)
    assert bench_defence(settings, out=finished)
