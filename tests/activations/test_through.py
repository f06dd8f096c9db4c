"""Through the model: what is handed out, the direction of the KL, and where gradients go."""

import numpy as np
import pytest
import torch
from activations.small_store import PACKING, SETTINGS, TEXT
from tiny import tiny_model

from bathyscope.activations.collect import collect
from bathyscope.activations.through import Through, kl
from bathyscope.dictionaries.end_to_end import EndToEnd
from bathyscope.dictionaries.relu import ReLU
from bathyscope.dictionaries.topk import TopK
from bathyscope.dictionaries.train import TrainSettings, train
from bathyscope.errors import ConfigError
from bathyscope.models.hooks import run

HOOKPOINT = "layers.1"


def through(**settings) -> Through:
    model = settings.pop("model", None) or tiny_model()
    return Through(model, TEXT, hookpoint=HOOKPOINT, **{"n_tokens": 1500, "settings": SETTINGS, **settings})


def test_the_kl_is_that_of_the_clean_from_the_spliced_prediction() -> None:
    clean_V, spliced_V = torch.tensor([[0.7, 0.2, 0.1]]), torch.tensor([[0.1, 0.3, 0.6]])
    by_hand = sum(p * np.log(p / q) for p, q in zip([0.7, 0.2, 0.1], [0.1, 0.3, 0.6], strict=True))
    other_way = sum(q * np.log(q / p) for p, q in zip([0.7, 0.2, 0.1], [0.1, 0.3, 0.6], strict=True))
    found = float(kl(clean_V.log() + 3, spliced_V.log() - 1))
    assert found == pytest.approx(by_hand, rel=1e-5) and abs(found - other_way) > 0.05
    assert float(kl(clean_V, clean_V)) == 0


def test_the_batches_are_the_training_activations_that_collect_stores(tmp_path) -> None:
    store = collect(tiny_model(), TEXT, out=tmp_path / "a", hookpoint=HOOKPOINT, n_tokens=1500, settings=SETTINGS)
    found_ND = torch.cat(list(through()))
    assert len(store.rows("held_out")) > 0
    torch.testing.assert_close(found_ND.half().float(), store.read(store.rows("train")))


def test_the_activations_themselves_lose_nothing_and_others_lose_something() -> None:
    asked = through()
    for x_ND in asked:
        assert float(asked(x_ND, x_ND)) == pytest.approx(0, abs=1e-6)
        assert float(asked(torch.zeros_like(x_ND), x_ND)) > 0.05
        break


@pytest.mark.parametrize("loss", ["kl", "ce"])
def test_the_loss_is_that_of_the_model_with_the_activation_replaced(loss) -> None:
    """One document by hand: the same replacement in a plain forward of that document alone."""
    model = tiny_model()
    asked = through(model=model, loss=loss)
    x_ND = next(iter(asked))
    guess_ND = x_ND + 0.3
    last = asked._last
    assert last is not None
    tokens_BS, kept_BS = last.inputs["input_ids"], last.kept_BS
    with torch.no_grad():
        clean_BSV = model.network(**last.inputs).logits

        def move(_module, _inputs, output):
            moved = (output[0] if isinstance(output, tuple) else output).clone()
            moved[kept_BS] += 0.3
            return (moved, *output[1:]) if isinstance(output, tuple) else moved

        handle = model.body.get_submodule(HOOKPOINT).register_forward_hook(move)
        moved_BSV = model.network(**last.inputs).logits
        handle.remove()
    losses = []
    for b, s in last.scored_BS.nonzero().tolist():
        p, q = clean_BSV[b, s].double().softmax(-1), moved_BSV[b, s].double().softmax(-1)
        by_kl = float((p * (p / q).log()).sum())
        losses.append(by_kl if loss == "kl" else -float(q[tokens_BS[b, s + 1]].log()))
    assert float(asked(guess_ND, x_ND)) == pytest.approx(np.mean(losses), rel=1e-4)


def test_predictions_across_documents_are_not_scored() -> None:
    asked = through()
    next(iter(asked))
    last = asked._last
    assert last is not None
    positions_BS = last.inputs["position_ids"]
    for b, s in last.scored_BS.nonzero().tolist():
        assert positions_BS[b, s + 1] == positions_BS[b, s] + 1


def test_a_shorter_batch_replaces_its_first_tokens_only() -> None:
    asked = through()
    x_ND = next(iter(asked))
    assert float(asked(x_ND[:5], x_ND[:5])) == pytest.approx(0, abs=1e-6)
    assert 0 < float(asked(x_ND[:5] + 1, x_ND[:5])) < float(asked(x_ND + 1, x_ND))
    with pytest.raises(ConfigError, match="activations were given, the last batch had"):
        asked(torch.cat([x_ND, x_ND]), torch.cat([x_ND, x_ND]))


def test_gradients_reach_the_replacement_and_never_the_models_weights() -> None:
    model = tiny_model()
    asked = through(model=model)
    x_ND = next(iter(asked))
    guess_ND = (x_ND + 0.1).requires_grad_()
    asked(guess_ND, x_ND).backward()
    assert guess_ND.grad is not None and float(guess_ND.grad.abs().max()) > 0
    assert all(parameter.grad is None for parameter in model.network.parameters())
    assert not model.body.get_submodule(HOOKPOINT)._forward_hooks, "nothing stays on the model"


@pytest.mark.parametrize("of", [TopK(n_features=64, k=4), ReLU(n_features=64, l1=0.5)], ids=["topk", "relu"])
def test_the_kl_through_the_dictionary_falls(of, tmp_path) -> None:
    model = tiny_model()
    asked = through(model=model)
    before = {name: parameter.clone() for name, parameter in model.network.named_parameters()}
    settings = TrainSettings(n_tokens=6000, start_rows=1000, lr=2e-3)
    plain = train(through(model=model), of, settings=settings)
    kind = EndToEnd(of=of, reconstruction=0.1)
    dictionary = train(asked, kind, out=tmp_path / "d", settings=settings, through=asked)
    figures = {name: _mean_loss(asked, found) for name, found in {"plain": plain, "end to end": dictionary}.items()}
    figures["mean"] = _mean_loss(asked, None)
    assert figures["end to end"] < 0.9 * figures["plain"] < figures["mean"], figures
    assert all(torch.equal(before[name], parameter) for name, parameter in model.network.named_parameters())
    assert dictionary.hookpoint == HOOKPOINT and dictionary.model_identity == dict(model.identity)


def _mean_loss(asked: Through, dictionary) -> float:
    losses = []
    with torch.no_grad():
        for x_ND in asked:
            guess_ND = x_ND.mean(0).expand_as(x_ND) if dictionary is None else dictionary.reconstruct(x_ND)
            losses.append(float(asked(guess_ND, x_ND)))
    return float(np.mean(losses))


def test_the_loss_is_part_of_the_recipe(tmp_path) -> None:
    kind, settings = EndToEnd(of=TopK(n_features=8, k=2)), TrainSettings(n_tokens=256, start_rows=100)
    asked = through()
    train(asked, kind, out=tmp_path / "d", settings=settings, through=asked)
    other = through(loss="ce")
    with pytest.raises(Exception, match="through"):
        train(other, kind, out=tmp_path / "d", settings=settings, through=other)


def test_one_hookpoint_is_asked_for() -> None:
    with pytest.raises(ConfigError, match="means 3 hookpoints"):
        Through(tiny_model(), TEXT, hookpoint="layers.*", settings=SETTINGS)


def test_packing_is_that_of_the_settings() -> None:
    assert PACKING.batch_tokens == 128
    model = tiny_model()
    asked = through(model=model)
    x_ND = next(iter(asked))
    last = asked._last
    assert last is not None
    alone_ND = run(model, last.inputs, HOOKPOINT)[HOOKPOINT][last.kept_BS]
    torch.testing.assert_close(x_ND, alone_ND)
