"""End-to-end dictionaries without a language model: the callable, its gradients, the weights of the summands."""

import pytest
import torch
from dictionaries.planted import world
from torch import Tensor, nn

from bathyscope.dictionaries.end_to_end import EndToEnd, EndToEndTrainee, connect
from bathyscope.dictionaries.member import Member
from bathyscope.dictionaries.relu import ReLU
from bathyscope.dictionaries.topk import TopK
from bathyscope.dictionaries.train import TrainSettings, train
from bathyscope.errors import ConfigError

D, F = 16, 24
INNER = {"topk": TopK(n_features=F, k=3), "relu": ReLU(n_features=F, l1=2.0, l1_warm_up=0.0)}
each_inner = pytest.mark.parametrize("of", list(INNER.values()), ids=list(INNER))


class Head(nn.Module):
    """A stand-in for the rest of a model: it sees three directions only."""

    def __init__(self) -> None:
        super().__init__()
        self.A_D3 = nn.Parameter(torch.randn(D, 3, generator=torch.Generator().manual_seed(4)))

    def forward(self, guess_ND: Tensor, x_ND: Tensor) -> Tensor:
        return ((guess_ND - x_ND) @ self.A_D3.to(x_ND)).square().mean()


def trainee_of(kind: EndToEnd) -> EndToEndTrainee:
    member = Member(kind, d_model=D, optimisation=kind.optimisation(D), seed=0)
    member.start(world(n_true=F, d_model=D, n_tokens=500).x_ND)
    assert isinstance(member.trainee, EndToEndTrainee) and member.scale == 1.0
    member.trainee.connect(Head())
    return member.trainee.double()


@each_inner
@pytest.mark.parametrize(("through", "reconstruction"), [(1.0, 0.0), (0.7, 1.0), (2.0, 0.3)])
def test_gradients_through_the_callable_equal_finite_differences(of, through, reconstruction):
    trainee = trainee_of(EndToEnd(of=of, through=through, reconstruction=reconstruction))
    x_ND = world(n_true=F, d_model=D, n_tokens=40, seed=2).x_ND.double()
    trainee.loss(x_ND).total.backward()
    for name, parameter in trainee.named_parameters():
        direction = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)).double()
        totals = []
        with torch.no_grad():
            before = parameter.clone()
            for sign in (1, -1):
                parameter.copy_(before + sign * 1e-7 * direction)
                totals.append(float(trainee.loss(x_ND).total))
            parameter.copy_(before)
        assert parameter.grad is not None
        slope = (totals[0] - totals[1]) / 2e-7
        assert float((parameter.grad * direction).sum()) == pytest.approx(slope, rel=1e-4, abs=1e-7), name


@each_inner
def test_the_loss_is_the_sum_of_its_weighted_parts(of):
    x_ND = world(n_true=F, d_model=D, n_tokens=40, seed=2).x_ND.double()
    whole = trainee_of(EndToEnd(of=of, through=0.5, reconstruction=0.25)).loss(x_ND)
    plain = trainee_of(EndToEnd(of=of, through=0.0)).loss(x_ND)
    asked = trainee_of(EndToEnd(of=of, reconstruction=0.0)).loss(x_ND).parts["through"]
    assert float(whole.parts["error"]) == pytest.approx(float(plain.parts["error"]) / 4)
    assert float(whole.parts["through"]) == pytest.approx(float(asked) / 2)
    assert float(whole.total.detach()) == pytest.approx(float(sum(whole.parts.values())))
    other = "sparsity" if isinstance(of, ReLU) else "auxiliary"
    assert float(whole.parts[other]) == pytest.approx(float(plain.parts[other]))


def test_the_callable_gets_activations_as_the_model_makes_them():
    trainee, seen = trainee_of(EndToEnd(of=INNER["topk"])), list[tuple[Tensor, Tensor]]()
    trainee.connect(lambda guess, x: seen.append((guess, x)) or guess.sum() * 0)
    x_ND = 50 + world(n_true=F, d_model=D, n_tokens=40, seed=2).x_ND.double()
    trainee.loss(x_ND)
    guess_ND, given_ND = seen[0]
    assert torch.equal(given_ND, x_ND)
    torch.testing.assert_close(guess_ND.detach(), trainee.decode(trainee.encode(x_ND)).detach())


def test_a_module_as_callable_is_not_trained():
    trainee, head = trainee_of(EndToEnd(of=INNER["topk"])), Head()
    trainee.connect(head)
    assert not any("A_D3" in name for name in trainee.state_dict())
    batches = world(n_true=F, d_model=D, n_tokens=512).x_ND.split(64)
    before = head.A_D3.detach().clone()
    head.requires_grad_(False)
    train(list(batches), EndToEnd(of=INNER["topk"]), settings=TrainSettings(epochs=2), through=head)
    assert torch.equal(head.A_D3, before) and head.A_D3.grad is None


def test_what_the_callable_does_not_see_is_not_learnt_without_reconstruction():
    head = Head().requires_grad_(False)
    planted = world(n_true=F, d_model=D, n_tokens=4096)
    losses, errors = dict[str, float](), dict[str, float]()
    for name, through, reconstruction in (("pure", 1.0, 0.0), ("near", 0.01, 1.0)):
        kind = EndToEnd(of=INNER["topk"], through=through, reconstruction=reconstruction)
        found = train(planted.batches(128), kind, settings=TrainSettings(epochs=6), through=head)
        guess_ND = found.reconstruct(planted.x_ND)
        losses[name] = float(head(guess_ND, planted.x_ND))
        errors[name] = float((guess_ND - planted.x_ND).square().mean())
    assert losses["pure"] < 0.9 * losses["near"] and errors["pure"] > 1.1 * errors["near"], (losses, errors)


def test_a_missing_or_superfluous_callable_is_refused():
    batches = [torch.randn(64, D)]
    with pytest.raises(ConfigError, match="give train a callable as through"):
        train(batches, EndToEnd(of=INNER["topk"]), settings=TrainSettings(epochs=1))
    with pytest.raises(ConfigError, match="TopKTrainee does not learn through the model"):
        train(batches, INNER["topk"], settings=TrainSettings(epochs=1), through=Head())
    with pytest.raises(ConfigError, match="does not learn through"):
        connect(nn.Linear(2, 2), Head())
    trainee = INNER["topk"].build(D, generator=torch.Generator())
    connect(trainee, None)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"through": -1.0}, "through is -1.0"),
        ({"reconstruction": float("inf")}, "reconstruction is inf"),
        ({"through": 0.0, "reconstruction": 0.0}, "nothing would be learnt"),
    ],
)
def test_impossible_settings_are_refused(settings, line):
    with pytest.raises(ConfigError, match=line):
        EndToEnd(**settings)
