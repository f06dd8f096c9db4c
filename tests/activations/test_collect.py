"""Collecting activations: right values, whole provenance, resumed to the same bytes, refused in one line."""

import dataclasses
import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from activations.small_store import HOOKPOINTS, N_TOKENS, PACKING, SETTINGS, TEXT, make_store
from tiny import tiny_model

from bathyscope import progress, runtime
from bathyscope.activations import collect as module
from bathyscope.activations import fill, size
from bathyscope.activations.collect import CollectSettings, collect
from bathyscope.activations.packing import TokenStream
from bathyscope.activations.store import ActivationStore
from bathyscope.activations.text import Texts, open_text
from bathyscope.artifacts import verify
from bathyscope.errors import ArtifactError, BathyscopeError, ConfigError, DeviceError, ModelError
from bathyscope.models.hooks import replace, run

FLOAT32 = dataclasses.replace(SETTINGS, dtype="float32")


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> ActivationStore:
    return make_store(tmp_path_factory.mktemp("whole") / "activations")


class Interrupted(Exception):
    """Stands for whatever ends a process in the middle."""


def interrupt_after(monkeypatch, n_batches: int) -> list[int]:
    """Make the forward raise after `n_batches`; the list counts forwards."""
    calls: list[int] = []

    def forward(*arguments):
        if len(calls) == n_batches:
            raise Interrupted
        calls.append(1)
        return run(*arguments)

    monkeypatch.setattr(module, "run", forward)
    return calls


def count_forwards(monkeypatch) -> list[int]:
    return interrupt_after(monkeypatch, 10**9)


def test_rows_are_the_activations_of_the_kept_tokens(tmp_path) -> None:
    store = make_store(tmp_path / "a", settings=FLOAT32)
    model = tiny_model()
    starts = np.flatnonzero(store.positions == 0)
    row = 0
    for start, stop in itertools.pairwise([*starts.tolist(), store.n_tokens]):
        alone = torch.from_numpy(np.array(store.tokens[None, start:stop])).long()
        kept = torch.from_numpy(np.array(store.kept[start:stop]))
        n_rows = int(kept.sum())
        for name, x_BSD in run(model, alone, HOOKPOINTS).items():
            read_ND = store.read(slice(row, row + n_rows), name)
            torch.testing.assert_close(read_ND, x_BSD[0][kept], rtol=1e-4, atol=1e-4)
        row += n_rows
    assert row == store.n_rows > 1200


def test_all_hookpoints_come_from_one_forward_per_batch(tmp_path, monkeypatch) -> None:
    calls = count_forwards(monkeypatch)
    store = make_store(tmp_path / "a")
    assert store.hookpoints == HOOKPOINTS
    stream = TokenStream(tiny_model(), open_text(TEXT), packing=PACKING, seed=0, n_tokens=N_TOKENS)
    assert len(calls) == len(list(stream)) == 13


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_rows_are_the_rounded_float32_rows(tmp_path, dtype) -> None:
    exact = make_store(tmp_path / "float32", settings=FLOAT32, n_tokens=300)
    half = make_store(tmp_path / dtype, settings=dataclasses.replace(SETTINGS, dtype=dtype), n_tokens=300)
    assert half.dtype == getattr(torch, dtype)
    rounded = exact.read(slice(None), "layers.1").to(half.dtype)
    assert torch.equal(half.read(slice(None), "layers.1", dtype=None), rounded)


def test_the_token_columns_agree_with_each_other(store) -> None:
    assert store.n_tokens == N_TOKENS == len(store.tokens)
    special = store.tokens >= 256
    assert (store.kept == ~special).all()
    assert (store.tokens[store.positions == 0] == 257).all()
    assert np.diff(store.documents).min() == 0 and np.diff(store.documents).max() == 1
    assert store.documents[-1] + 1 == store.n_documents == len(store.sources)
    assert store.n_rows == store.kept.sum()
    text = bytes(store.tokens[(store.documents == 0) & ~special].astype(np.uint8)).decode()
    number = int(store.sources[0].rpartition("#")[2])
    assert text == TEXT.texts[number - 1]


def test_the_index_says_what_was_read_and_masked(store) -> None:
    index = store.description
    assert index["texts"] == [
        {"text": "texts in memory", "share": 1.0, "tokens": N_TOKENS, "documents": store.n_documents}
    ]
    assert index["n_special"] == int((store.tokens >= 256).sum()) and index["n_sinks"] == 0
    assert set(index["median_norms"]) == set(HOOKPOINTS)
    assert index["bos_token"] == 257 and index["packing"]["context"] == 32
    assert store.model_identity["name"] == "tiny-llama-0" and store.seed == 0
    assert [record["name"] for record in store.materials] == ["texts in memory"]


def test_shards_are_of_bounded_size(store) -> None:
    rows = [shard["rows"] for shard in store.description["shards"]]
    assert len(rows) > 5 and max(rows) <= SETTINGS.shard_rows and sum(rows) == store.n_rows


def test_wide_rows_make_smaller_shards(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(size, "MAX_SHARD_BYTES", 150 * (32 + 48) * 2)
    store = make_store(tmp_path / "a")
    assert 100 < max(shard["rows"] for shard in store.description["shards"]) <= 150


def test_the_same_call_gives_the_same_bytes_and_another_seed_others(store, tmp_path) -> None:
    assert make_store(tmp_path / "again").manifest.digest == store.manifest.digest
    other = make_store(tmp_path / "other", settings=dataclasses.replace(SETTINGS, seed=1))
    assert other.sources != store.sources


def test_a_finished_folder_is_opened_without_the_model(store, monkeypatch) -> None:
    calls = count_forwards(monkeypatch)
    assert make_store(store.path).manifest.digest == store.manifest.digest
    assert not calls


@pytest.mark.parametrize("checkpoint_seconds", [0.0, 1e9], ids=["each batch", "each shard"])
@pytest.mark.parametrize("n_batches", [0, 1, 4, 9])
def test_an_interrupted_job_resumes_to_the_same_bytes(
    store, tmp_path, monkeypatch, n_batches, checkpoint_seconds
) -> None:
    monkeypatch.setattr(fill, "CHECKPOINT_SECONDS", checkpoint_seconds)
    out = tmp_path / "activations"
    calls = interrupt_after(monkeypatch, n_batches)
    with pytest.raises(Interrupted):
        make_store(out)
    assert not out.exists()
    resumed = count_forwards(monkeypatch)
    assert make_store(out).manifest.digest == store.manifest.digest
    verify(out)
    n_all = 13
    again = len(calls) + len(resumed) - n_all
    assert 0 <= again <= (0 if checkpoint_seconds == 0 else 2)


def test_a_job_interrupted_at_every_batch_still_ends_with_the_same_bytes(store, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(fill, "CHECKPOINT_SECONDS", 0.0)
    for _ in range(100):
        interrupt_after(monkeypatch, 1)
        try:
            resumed = make_store(tmp_path / "a")
            break
        except Interrupted:
            continue
    assert resumed.manifest.digest == store.manifest.digest


def test_what_was_written_behind_the_checkpoint_is_cut_off(store, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(fill, "CHECKPOINT_SECONDS", 0.0)
    interrupt_after(monkeypatch, 6)
    with pytest.raises(Interrupted):
        make_store(tmp_path / "a")
    partial = tmp_path / "a.partial"
    for name in ("tokens", "kept", "rows-0"):
        with (partial / "checkpoint" / f"{name}.raw").open("ab") as file:
            file.write(b"half of a batch ")
    (partial / "shard-00004.safetensors.tmp").write_bytes(b"half of a shard")
    count_forwards(monkeypatch)
    assert make_store(tmp_path / "a").manifest.digest == store.manifest.digest


KILLED = """
import os, signal, sys
from pathlib import Path
from bathyscope import progress
from bathyscope.activations import fill, size
from activations.small_store import make_store

fill.CHECKPOINT_SECONDS = 0.0
steps = []

def sink(step):
    steps.append(step)
    if len(steps) == 6 and sys.argv[2] == "die":
        os.kill(os.getpid(), signal.SIGKILL)

with progress.listening(sink):
    print(make_store(Path(sys.argv[1])).manifest.digest)
"""


def test_killed_by_the_system_the_job_resumes_to_the_same_bytes(store, tmp_path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", KILLED, str(tmp_path / "a")]
    died = subprocess.run([*command, "die"], env=environment, capture_output=True, text=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr[-2000:]
    assert (tmp_path / "a.partial").exists() and not (tmp_path / "a").exists()
    assert make_store(tmp_path / "a").manifest.digest == store.manifest.digest


@pytest.mark.parametrize("finished", [True, False])
def test_a_folder_made_with_other_settings_is_refused(store, tmp_path, monkeypatch, finished) -> None:
    out = store.path
    if not finished:
        out = tmp_path / "a"
        interrupt_after(monkeypatch, 6)
        with pytest.raises(Interrupted):
            make_store(out)
    model, other_text = tiny_model(), Texts([*TEXT.texts[:-1], "another end"])
    call = {"out": out, "hookpoint": HOOKPOINTS, "n_tokens": N_TOKENS, "settings": SETTINGS}
    changes = [
        (model, TEXT, {"n_tokens": N_TOKENS + 1}),
        (model, TEXT, {"hookpoint": HOOKPOINTS[::-1]}),
        (model, TEXT, {"settings": dataclasses.replace(SETTINGS, seed=1)}),
        (model, TEXT, {"settings": dataclasses.replace(SETTINGS, dtype="bfloat16")}),
        (model, TEXT, {"settings": dataclasses.replace(SETTINGS, packing=dataclasses.replace(PACKING, bos="never"))}),
        (model, other_text, {}),
        (tiny_model(seed=1), TEXT, {}),
    ]
    for changed_model, text, change in changes:
        with pytest.raises(ArtifactError, match="other settings"):
            collect(changed_model, text, **{**call, **change})


def scaled(model, hookpoint: str, factor: float):
    """Multiply the activations of one module as long as the block lasts."""
    return replace(model, {hookpoint: lambda x_BSD: x_BSD * factor})


def refused(tmp_path: Path, kind: type[BathyscopeError], match: str, model=None, text=TEXT, **changes) -> None:
    out = tmp_path / "refused"
    settings = changes.pop("settings", SETTINGS)
    with pytest.raises(kind, match=match) as caught:
        collect(model or tiny_model(), text, out=out, **{"hookpoint": "layers.1", **changes}, settings=settings)
    assert "\n" not in str(caught.value)
    assert not out.exists() and not out.with_name("refused.partial").exists()


def test_an_activation_beyond_float16_is_refused_by_hookpoint_and_bfloat16_holds_it(tmp_path) -> None:
    model = tiny_model()
    with scaled(model, "layers.1", 1e4):
        refused(tmp_path, ConfigError, r"layers\.1: an activation of .* does not fit float16 .*bfloat16", model)
        store = make_store_with(model, tmp_path / "bfloat16", dtype="bfloat16")
    assert float(store.read(slice(None), "layers.1").abs().max()) > 65_504


def make_store_with(model, out: Path, **changes) -> ActivationStore:
    return collect(
        model, TEXT, out=out, hookpoint=HOOKPOINTS, n_tokens=300, settings=dataclasses.replace(SETTINGS, **changes)
    )


def test_activations_that_are_not_finite_are_refused_by_hookpoint(tmp_path) -> None:
    for factor in (float("nan"), float("inf")):
        model = tiny_model()
        with scaled(model, HOOKPOINTS[1], factor):
            alone = dataclasses.replace(SETTINGS, packing=dataclasses.replace(PACKING, one_piece_per_row=True))
            reason = r"layers\.0.* hold NaN or infinity"
            refused(tmp_path, ModelError, reason, model, hookpoint=HOOKPOINTS[1], settings=alone)


def test_sinks_are_masked_at_all_hookpoints_together(tmp_path) -> None:
    model = tiny_model()
    flood = ord("q")

    def raise_q(x_BSD):
        return x_BSD * (1 + 1000 * (current[0] == flood))[..., None]

    texts = Texts([text + " q and q" for text in TEXT.texts])
    current: list[torch.Tensor] = []

    def forward(model, inputs, hookpoints):
        current[:] = [inputs["input_ids"]]
        return run(model, inputs, hookpoints)

    with pytest.MonkeyPatch.context() as patch, replace(model, {"layers.1": raise_q}):
        patch.setattr(module, "run", forward)
        settings = dataclasses.replace(FLOAT32, packing=dataclasses.replace(PACKING, cross_documents=True))
        unmasked = dataclasses.replace(settings, sink_multiple=0.0)
        call = {"hookpoint": HOOKPOINTS, "n_tokens": 900}
        store = collect(model, texts, out=tmp_path / "a", **call, settings=settings)
        kept = collect(model, texts, out=tmp_path / "b", **call, settings=unmasked)
    is_q = store.tokens == flood
    assert is_q.sum() > 10
    assert not store.kept[is_q].any() and store.kept[~is_q & (store.tokens < 256)].all()
    assert store.description["n_sinks"] == is_q.sum()
    assert kept.kept[is_q].all() and kept.description["median_norms"] == {}


def test_special_tokens_may_be_kept(tmp_path) -> None:
    store = make_store(tmp_path / "a", settings=dataclasses.replace(SETTINGS, mask_special=False, sink_multiple=0.0))
    assert store.kept.all() and store.n_rows == N_TOKENS and store.description["n_special"] == 0


def test_text_that_ends_early_is_taken_whole_and_said(tmp_path, caplog) -> None:
    store = make_store(tmp_path / "a", n_tokens=100_000)
    assert store.n_documents == 60
    assert store.description["n_tokens_asked"] == 100_000 > store.n_tokens > 2500
    assert f"the text has {store.n_tokens} tokens, 100000 were asked" in caplog.text


def test_bad_input_is_refused_before_anything_is_written(tmp_path) -> None:
    refused(tmp_path, ConfigError, "holds no text", text=Texts(["", " "]))
    refused(tmp_path, ConfigError, "no text at", text="absent.txt")
    refused(tmp_path, ConfigError, "n_tokens is 0", n_tokens=0)
    refused(tmp_path, ModelError, r"nearest: .*layers\.1\.mlp", hookpoint="layers.1.mpl")
    refused(tmp_path, ModelError, "layers.9", hookpoint=["layers.1", "layers.9"])
    wide = dataclasses.replace(SETTINGS, packing=dataclasses.replace(PACKING, context=1000))
    refused(tmp_path, ConfigError, "reads at most 128 tokens", settings=wide)


def test_one_of_several_texts_being_empty_is_refused(tmp_path) -> None:
    refused(tmp_path, ConfigError, "void holds no text", text=[TEXT, Texts([" "], name="void")])


def test_text_of_special_tokens_alone_is_refused(tmp_path) -> None:
    refused(tmp_path, ConfigError, "no token is kept", text=Texts(["x"]), n_tokens=1)


def test_a_disk_without_room_is_refused_before_anything_is_written(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(runtime, "free_disk_bytes", lambda path: 10_000)
    refused(tmp_path, DeviceError, "no disk space")


def test_too_little_memory_is_refused_before_anything_is_written(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(runtime, "free_memory_bytes", lambda device: 10_000)
    refused(tmp_path, DeviceError, "activations need .* MB at once .*, 0.0 MB are free: lower shard_rows")


@pytest.mark.parametrize(
    "wrong", [{"held_out": 1.0}, {"held_out": -0.1}, {"seed": -1}, {"sink_multiple": -1.0}, {"shard_rows": 0}]
)
def test_settings_out_of_range_are_refused(wrong) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        CollectSettings(**wrong)


def test_progress_counts_tokens_to_the_end(tmp_path) -> None:
    steps: list[progress.Step] = []
    with progress.listening(steps.append):
        make_store(tmp_path / "a")
    assert {(step.stage, step.unit, step.total) for step in steps} == {("collect", "tokens", N_TOKENS)}
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert steps[-1].done == N_TOKENS and float(steps[-1].figures["tokens_per_second"]) > 0


def test_wall_clock_figures_stay_out_of_hashed_files(store) -> None:
    assert "run.jsonl" not in store.manifest.files
    rows = [json.loads(line) for line in (store.path / "run.jsonl").read_text().splitlines()]
    assert rows[-1]["tokens"] == N_TOKENS and rows[-1]["tokens_per_second"] > 0


def test_tensorlens_names_and_globs_become_module_paths(tmp_path) -> None:
    store = collect(
        tiny_model(), TEXT, out=tmp_path / "a", hookpoint=["blocks.1.hook_resid_post", "layers.*.mlp"], n_tokens=200
    )
    assert store.hookpoints == ["layers.1", "layers.0.mlp", "layers.1.mlp", "layers.2.mlp"]
