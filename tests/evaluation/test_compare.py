"""Comparing dictionaries: the figures of `fidelity`, shared work done once, a table and a picture that say the same."""

import dataclasses
import re
from xml.etree import ElementTree as ET

import pytest
import torch
from tiny import tiny_model

from bathyscope.activations.collect import CollectSettings, collect
from bathyscope.artifacts import read_manifest, verify
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.rules import Largest
from bathyscope.dictionaries.weights import Weights
from bathyscope.errors import ConfigError, ModelError
from bathyscope.evaluation import fidelity as room
from bathyscope.evaluation.compare import Compared, compare, picture, table
from bathyscope.evaluation.compare_plot import Panel, Point, plot
from bathyscope.evaluation.fidelity import FidelitySettings, fidelity
from bathyscope.evaluation.scores import Score
from bathyscope.models.hookpoints import resolve

SETTINGS = FidelitySettings(n_rows=400, n_tokens=300, tokens_per_batch=128)
WORDS = ("sea", "glass", "light", "fish", "sail", "rope", "wind", "deep", "water", "under", "over", "again")


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def store(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    for n in range(24):
        (folder / f"{n}.txt").write_text(" ".join(WORDS[(n * 5 + i * i) % 12] for i in range(20)))
    settings = CollectSettings(held_out=0.4)
    out = folder / "activations"
    return collect(model, str(folder), out=out, hookpoint="layers.1", n_tokens=2200, settings=settings)


def dictionary(store, *, k: int, seed: int = 0, n_features: int = 64) -> Dictionary:
    """± an orthonormal basis, repeated to the size asked, k of it active."""
    basis = torch.linalg.qr(torch.randn(32, 32, generator=torch.Generator().manual_seed(seed))).Q
    W_dec = torch.cat([basis, -basis] * (n_features // 64))
    weights = Weights(W_enc=W_dec.T.contiguous(), b_enc=torch.zeros(n_features), W_dec=W_dec, b_dec=torch.zeros(32))
    return Dictionary(
        weights=weights,
        rule=Largest(k=k),
        subtract_b_dec=False,
        hookpoint="layers.1",
        model_identity=store.model_identity,
        kind={"kind": "TopK", "n_features": n_features, "k": k},
    )


@pytest.fixture(scope="module")
def three(store) -> dict[str, Dictionary]:
    return {
        "few": dictionary(store, k=4),
        "more": dictionary(store, k=16),
        "more-seed1": dictionary(store, k=16, seed=1),
    }


@pytest.fixture(scope="module")
def compared(model, store, three, tmp_path_factory):
    out = tmp_path_factory.mktemp("compared") / "comparison"
    return out, compare(model, three, store, out=out, settings=SETTINGS)


def test_every_figure_is_that_of_fidelity_alone_to_the_last_digit(model, store, three, compared, tmp_path):
    for row in compared[1]:
        three[row.name].save(tmp_path / row.name)
        parents = {"dictionary": tmp_path / row.name, "activations": store.path}
        alone = fidelity(
            model, three[row.name], store, out=tmp_path / f"{row.name}-scores", parents=parents, settings=SETTINGS
        )
        assert list(row.scores) == alone
    assert compared[1][0].score("variance explained") != compared[1][1].score("variance explained")


def test_the_folder_is_whole_and_says_what_was_compared(compared, three):
    manifest = verify(compared[0])
    assert set(manifest.files) == {"comparison.jsonl", "comparison.md", "comparison.svg"}
    assert manifest.config["dictionaries"] == {name: d.digest for name, d in three.items()}
    assert set(manifest.parents) == {"activations"}


def test_the_table_holds_every_figure_beside_its_null(compared):
    lines = (compared[0] / "comparison.md").read_text().splitlines()
    heads = [cell.strip() for cell in lines[0].strip("|").split("|")]
    assert "variance explained, random" in heads and "CE loss recovered, random" in heads
    for row, line in zip(compared[1], lines[2:5], strict=True):
        cells = dict(zip(heads, (cell.strip() for cell in line.strip("|").split("|")), strict=True))
        assert cells["dictionary"] == row.name and cells["features"] == "64"
        for head, subject in (
            ("variance explained", "dictionary"),
            ("variance explained, random", "random dictionary"),
        ):
            found = row.score("variance explained", subject)
            assert cells[head] == f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def test_what_is_shared_is_computed_once(model, store, three, tmp_path, monkeypatch):
    arms_seen, chunks = [], []
    measured, made = room.splice_losses, room.random_dictionary

    def watched(model, hookpoint, batch, arms):
        arms_seen.append(list(arms))
        return measured(model, hookpoint, batch, arms)

    def counted(*arguments, **named):
        chunks.append(named["k"])
        return made(*arguments, **named)

    monkeypatch.setattr(room, "splice_losses", watched)
    monkeypatch.setattr(room, "random_dictionary", counted)
    compare(model, three, store, out=tmp_path / "c", settings=SETTINGS)
    assert all(len(arms) == 3 + 2 + 2 for arms in arms_seen), "three dictionaries, two nulls, zero and mean"
    assert sorted(chunks) == [4, 16], "dictionaries of one size and L0 share their null"


def test_blocks_before_the_hookpoint_run_once_for_all_arms(store, three, tmp_path):
    model, ran = tiny_model(), []
    resolve(model, "layers.1")  # which may run the network once to learn the order of modules
    for number, block in enumerate(model.body.layers):
        block.mlp.register_forward_hook(lambda *_, number=number: ran.append(number))
    compare(model, three, store, out=tmp_path / "c", settings=SETTINGS)
    n_batches = ran.count(0)
    assert ran.count(1) == n_batches and ran.count(2) == n_batches * (1 + 7)


def test_an_interrupted_comparison_resumes_to_the_same_bytes(model, store, three, compared, tmp_path, monkeypatch):
    calls, measured = [], room.splice_losses

    def fail_at_the_third(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return measured(*arguments)

    monkeypatch.setattr(room, "splice_losses", fail_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        compare(model, three, store, out=tmp_path / "c", settings=SETTINGS)
    assert compare(model, three, store, out=tmp_path / "c", settings=SETTINGS) == compared[1]
    assert read_manifest(tmp_path / "c").digest == read_manifest(compared[0]).digest


def test_what_does_not_belong_together_is_refused_by_name(model, store, three, tmp_path):
    stranger = dataclasses.replace(three["few"], model_identity={"name": "other", "sha256": "f" * 64})
    elsewhere = dataclasses.replace(three["few"], hookpoint="layers.2")
    wide = Weights(W_enc=torch.ones(48, 2), b_enc=torch.zeros(2), W_dec=torch.ones(2, 48), b_dec=torch.zeros(48))
    cases = [
        (stranger, model, ModelError, r"the dictionary belongs to other \(sha256 ffffffffffff\), not to tiny-llama-0"),
        (elsewhere, model, ConfigError, "no hookpoint 'layers.2'; expected one of: layers.1"),
        (dataclasses.replace(three["few"], weights=wide, rule=Largest(k=1)), model, ConfigError, "takes .* width 48"),
        (three["few"], tiny_model(seed=1), ModelError, "belongs to tiny-llama-0 .*, not to tiny-llama-1"),
    ]
    for found, reader, error, line in cases:
        with pytest.raises(error, match=line):
            compare(reader, {"one": found}, store, out=tmp_path / "c", settings=SETTINGS)
        with pytest.raises(error, match=line):
            fidelity(reader, found, store, out=tmp_path / "s", parents={"activations": store.path}, settings=SETTINGS)
    with pytest.raises(ConfigError, match="no dictionary"):
        compare(model, {}, store, out=tmp_path / "c", settings=SETTINGS)
    assert list(tmp_path.iterdir()) == []


def test_a_number_that_is_not_finite_is_named_with_its_shard(model, tmp_path):
    from activations.small_store import make_store, spoil

    store = make_store(tmp_path / "a")
    row = int(store.rows("held_out")[3])
    bad = spoil(store, "layers.1", {row: torch.nan})
    with pytest.raises(ConfigError, match=r"shard-\d{5}.safetensors row \d+ \(document \d+\) .* holds NaN at layers.1"):
        compare(model, {"one": dictionary(store, k=4)}, bad, out=tmp_path / "c", settings=SETTINGS)
    assert not (tmp_path / "c").exists() and not (tmp_path / "c.partial").exists()


def point(line: str, x: float, y: float, *, setting: str = "", low: float = 0.0, high: float = 0.0) -> Point:
    return Point(
        name=f"{line} at {x}",
        line=line,
        colour=line.partition(" ")[0],
        setting=setting or f"{x}",
        x=(x, x, x),
        y=(y, low or y, high or y),
    )


def elements(svg: str, tag: str) -> list[ET.Element]:
    return ET.fromstring(svg).findall(f".//{{http://www.w3.org/2000/svg}}{tag}")


def test_the_picture_has_a_line_for_each_kind_and_its_nulls_and_needs_nothing_from_outside(compared):
    svg = (compared[0] / "comparison.svg").read_text()
    assert svg == picture(compared[1])
    lines = elements(svg, "polyline")
    assert len(lines) == 2 * 2, "two panels, the kind and its null"
    assert all(len(line.get("points").split()) == 2 for line in lines), "seeds of one setting are averaged"
    hollow = [c for c in elements(svg, "circle") if c.get("fill") == "#fff"]
    full = [c for c in elements(svg, "circle") if c.get("fill") != "#fff"]
    assert len(full) == 2 * 3 + 1 and len(hollow) == 2 * 3 + 1, "points of both panels, and the legend"
    text = "".join(ET.fromstring(svg).itertext())
    for word in ("variance explained", "CE loss recovered", "L0", "TopK 64", "random", "few: 4.0,"):
        assert word in text
    assert re.findall(r"(?:href|src|url)\s*[=(]", svg) == [] and svg.count("http") == 1


def test_points_lie_where_their_figures_say():
    svg = plot([Panel(title="t", points=[point("A 1", 10.0, 0.5), point("A 1", 100.0, 1.0)], nulls=[])], x_title="L0")
    low, high = (c for c in elements(svg, "circle") if c.find("{http://www.w3.org/2000/svg}title") is not None)
    assert float(low.get("cx")) < float(high.get("cx")) and float(low.get("cy")) > float(high.get("cy"))
    assert float(high.get("cy")) == 42, "1 is the top of the panel"


def test_intervals_without_end_draw_no_bar_and_what_is_far_below_lies_at_the_edge():
    endless = point("A 1", 10.0, 0.5, low=-float("inf"), high=float("inf"))
    svg = plot([Panel(title="t", points=[endless], nulls=[point("A 1", 10.0, -30.0)])], x_title="L0")
    assert "inf" not in svg and "nan" not in svg
    assert any("-30.000" in "".join(path.itertext()) for path in elements(svg, "path")), "a triangle, with its figure"


def test_names_are_escaped():
    evil = "<script>alert(1)</script>"
    svg = plot([Panel(title=evil, points=[point(f"{evil} 1", 10.0, 0.5)], nulls=[])], x_title="&")
    assert "<script" not in svg and ET.fromstring(svg) is not None


def test_a_figure_that_was_not_measured_is_a_key_error():
    figures = {"value": 3.0, "low": 2.0, "high": 4.0, "n": 5}
    row = Score(subject="dictionary", metric="L0", unit="documents", split="held_out", **figures)
    one = Compared(name="a", kind="TopK", n_features=4, settings={}, scores=(row,))
    assert one.score("L0") == row
    with pytest.raises(KeyError, match="KL of dictionary"):
        one.score("KL")
    with pytest.raises(KeyError):
        table([one])
