"""Collecting, indexing and estimating by several processes: the very bytes of one."""

import json
import os
import signal
from pathlib import Path

import pytest
from activations.small_store import HOOKPOINTS, N_TOKENS, SETTINGS, TEXT, make_store
from ranks import run_ranks, said
from tiny import tiny_model

from bathyscope.activations.collect import collect
from bathyscope.activations.share import Share
from bathyscope.activations.store import ActivationStore
from bathyscope.activations.text import Texts
from bathyscope.artifacts import verify
from bathyscope.cli import main
from bathyscope.dictionaries.topk import TopK
from bathyscope.dictionaries.train import TrainSettings, train
from bathyscope.errors import ArtifactError, ConfigError
from bathyscope.features.index import index_features
from bathyscope.features.settings import IndexSettings
from bathyscope.launch.group import joined
from bathyscope.launch.stages import collect_together, index_together
from bathyscope.progress import Step, listening
from bathyscope.risk.estimates import read_estimates

INDEX = IndexSettings(window=8, window_before=5, batch_tokens=64, cofiring_tokens=100)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> ActivationStore:
    return make_store(tmp_path_factory.mktemp("one") / "activations")


def sums(folder: Path) -> dict[str, str]:
    """The sum of every file, after comparing them."""
    return {name: entry["sha256"] for name, entry in verify(folder).files.items()}


def test_four_processes_collect_the_bytes_of_one_even_if_one_is_killed_before(store, tmp_path):
    def work(dies: bool) -> None:
        def sink(step: Step) -> None:
            if dies and mesh.rank == 1 and step.done > 200:
                os.kill(os.getpid(), signal.SIGKILL)

        with joined() as mesh, listening(sink):
            where = {"out": tmp_path / "a", "hookpoint": HOOKPOINTS, "n_tokens": N_TOKENS, "settings": SETTINGS}
            found = collect_together(mesh, tiny_model(), TEXT, **where)
            assert found.n_tokens == N_TOKENS

    assert run_ranks(4, lambda: work(dies=True), tmp_path)[1] == -signal.SIGKILL
    assert (tmp_path / "a.parts" / "0-of-4").is_dir() and not (tmp_path / "a").exists()
    assert run_ranks(4, lambda: work(dies=False), tmp_path) == [0] * 4, said(tmp_path)
    assert sums(tmp_path / "a") == sums(store.path)
    assert verify(tmp_path / "a").digest == store.manifest.digest
    assert not (tmp_path / "a.parts").exists()


def test_shares_hold_every_batch_once_and_one_may_be_empty(store, tmp_path):
    words = {"hookpoint": HOOKPOINTS, "n_tokens": 300, "settings": SETTINGS}
    shares = [Share(number=number, of=4) for number in range(4)]
    parts = [collect(tiny_model(), TEXT, out=tmp_path / str(s.number), share=s, **words) for s in shares]
    assert sum(part.n_tokens for part in parts) == 300 and parts[3].n_rows == 0
    assert len({str(part.description["median_norms"]) for part in parts}) == 1
    joint = collect(tiny_model(), TEXT, out=tmp_path / "joint", parts=parts, **words)
    alone = collect(tiny_model(), TEXT, out=tmp_path / "alone", **words)
    assert joint.manifest.digest == alone.manifest.digest
    with pytest.raises(ArtifactError, match="holds other tokens than this text has"):
        collect(tiny_model(), Texts(TEXT.texts[::-1]), out=tmp_path / "other", parts=parts, **words)
    with pytest.raises(ConfigError, match="share 4 of 4"):
        Share(number=4, of=4)


def test_two_processes_index_to_the_bytes_of_one(store, tmp_path):
    quick = TrainSettings(batch_size=128, epochs=2)
    dictionary = train(store, TopK(n_features=24, k=3), hookpoint=HOOKPOINTS[0], settings=quick)

    def work() -> None:
        with joined() as mesh:
            index_together(mesh, tiny_model(), dictionary, store, out=tmp_path / "several", settings=INDEX)

    index_features(tiny_model(), dictionary, store, out=tmp_path / "one", settings=INDEX)
    assert run_ranks(2, work, tmp_path) == [0, 0], said(tmp_path)
    assert sums(tmp_path / "several") == sums(tmp_path / "one")


def test_two_processes_share_out_the_estimators(tmp_path, capfd):
    tiny = tiny_model()
    tiny.network.save_pretrained(tmp_path / "model")
    tiny.tokenizer.save_pretrained(tmp_path / "model")
    file = tmp_path / "problem.toml"
    file.write_text(
        f"model = {json.dumps(str(tmp_path / 'model'))}\n[inputs]\nkind = 'slots'\nchat = false\n"
        "text = '{a}{b}'\n"
        + "".join(f"fillings.{slot} = {json.dumps(list('abcdefgh'))}\n" for slot in "ab")
        + "[event]\nkind = 'argmax'\ntoken = 97\n"
    )
    methods = ["naive", "auto", "peaks over threshold"]
    words = ["risk", "--problem", str(file), "--forward", "1200", "--methods", *methods, "--out"]

    def work() -> None:
        assert main([*words, str(tmp_path / "several")]) == 0

    assert main([*words, str(tmp_path / "one")]) == 0
    one = capfd.readouterr().out
    assert run_ranks(2, work, tmp_path) == [0, 0], said(tmp_path)
    several = capfd.readouterr().out
    assert [each.figures for each in read_estimates(tmp_path / "several")] == [
        each.figures for each in read_estimates(tmp_path / "one")
    ]
    assert one.count("P(argmax = 97") == several.count("P(argmax = 97") == 3
