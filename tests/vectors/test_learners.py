"""Every learner finds a planted direction, and no learner sees the reporting half."""

import dataclasses

import numpy as np
import pytest
import torch
from steering.worlds import random_dictionary
from tiny import tiny_model
from vectors.planted import FEATURE, PLACE, direction, knowing_dictionary, planted, unplanted

from bathyscope.errors import ConfigError
from bathyscope.evaluation.labelled import LabelledSet, LabelledText
from bathyscope.models.unembed import unembedding
from bathyscope.steering.effects import answer_log_probs
from bathyscope.steering.operations.offset import Offset
from bathyscope.steering.steer import steer
from bathyscope.vectors.contrast import contrast_of_texts
from bathyscope.vectors.decoder_row import DecoderRow, typical_tokens
from bathyscope.vectors.denoised import DenoisedDiffMean
from bathyscope.vectors.diff_mean import DiffMean
from bathyscope.vectors.examples import Examples
from bathyscope.vectors.kinds import Method
from bathyscope.vectors.learner import Learner, Lesson
from bathyscope.vectors.logistic import LogisticProbe
from bathyscope.vectors.multimax import MultiMax
from bathyscope.vectors.principal_component import PrincipalComponent
from bathyscope.vectors.reft import ReFTr1
from bathyscope.vectors.shift_column import ShiftColumn
from bathyscope.vectors.tomography import Tomography

SHORT = ReFTr1(n_epochs=1, batch_texts=8)


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def contrast(model):
    return planted(model)


def lesson(contrast, **given):
    return Lesson(**{"examples": contrast.places[PLACE].teach, "hookpoint": PLACE, "pool": "mean", "seed": 0, **given})


def cosine(direction_D):
    return float(torch.nn.functional.cosine_similarity(direction_D.double(), direction().double(), dim=0))


@pytest.mark.parametrize(
    ("method", "least"),
    [
        (DiffMean(), 0.95),
        (PrincipalComponent(), 0.9),
        (Tomography(), 0.9),
        (DecoderRow(), 0.999),
        (DecoderRow(feature=FEATURE), 0.999),
        (DecoderRow(by="output", n_candidates=1, max_new_tokens=2, prompts=("sea",)), 0.999),
        (ShiftColumn(), 0.999),
        (DenoisedDiffMean(n_features=1), 0.999),
        (DenoisedDiffMean(n_features=4), 0.8),
    ],
    ids=lambda value: str(value)[:40],
)
@pytest.mark.parametrize("pool", ["mean", "max"])
def test_a_planted_direction_is_found_with_its_sign(model, contrast, method, least, pool):
    learned = method.learn(lesson(contrast, pool=pool, model=model, dictionary=knowing_dictionary(model)))
    assert cosine(learned.direction_D) > least


@pytest.mark.parametrize("method", [LogisticProbe(), MultiMax(n_steps=150)], ids=lambda m: type(m).__name__)
def test_probes_find_a_direction_planted_in_noise_without_a_shape(method):
    """They look for what separates, not for what differs: elsewhere the noise's own shape turns them."""
    labels_T = np.arange(120) % 2 == 0
    text_N = torch.arange(120).repeat_interleave(3)
    x_ND = torch.randn(360, len(direction()), generator=torch.Generator().manual_seed(2))
    x_ND = x_ND + 4 * torch.from_numpy(labels_T).float()[text_N, None] * direction()
    examples = Examples(
        x_ND=x_ND, text_N=text_N, labels_T=labels_T, groups_T=np.arange(120), tokens=tuple((1, 2, 3) for _ in labels_T)
    )
    for pool in ("mean", "max"):
        learned = method.learn(Lesson(examples=examples, hookpoint=PLACE, pool=pool, seed=0))
        assert cosine(learned.direction_D) > 0.8


def test_pairs_give_the_direction_of_their_shifts(contrast):
    teach = contrast.places[PLACE].teach
    true, false = np.flatnonzero(teach.labels_T), np.flatnonzero(~teach.labels_T)
    paired = dataclasses.replace(teach.choose(np.stack([false, true], 1).ravel()), is_paired=True)
    for method in (DiffMean(), PrincipalComponent(), Tomography()):
        assert cosine(method.learn(lesson(contrast, examples=paired)).direction_D) > 0.95
    torch.testing.assert_close(
        DiffMean().learn(lesson(contrast, examples=paired)).direction_D, paired.shifts_PD().mean(0)
    )


def test_of_two_features_that_read_alike_the_one_that_writes_is_chosen_by_output(model, contrast):
    """Both read the direction; one writes the letter Q, the other the direction that moves logits least."""
    E_VD = unembedding(model).float()
    W_enc = -6 * direction()[:, None].repeat(1, 48)
    W_enc[:, [3, 8]] *= -1
    W_dec = random_dictionary(model).W_dec.clone()
    W_dec[3] = torch.linalg.svd(E_VD, full_matrices=False).Vh[-1]
    W_dec[8] = torch.nn.functional.normalize(E_VD[ord("Q")], dim=0)
    dictionary = random_dictionary(model)
    weights = dataclasses.replace(dictionary.weights, W_dec=W_dec, W_enc=W_enc, b_enc=torch.zeros(48))
    dictionary = dataclasses.replace(dictionary, weights=weights, hookpoint="norm")
    given = lesson(contrast, model=model, dictionary=dictionary, hookpoint="norm")
    method = DecoderRow(by="output", n_candidates=5, strength=3.0, max_new_tokens=3, prompts=("sea", "and"))
    chosen = method.learn(given)
    assert set(chosen.notes["gains"]) == {"3", "8"}
    assert chosen.notes["feature"] == 8
    assert chosen.notes["gains"]["8"] > chosen.notes["gains"]["3"] + 0.3
    assert DecoderRow().learn(given).notes["feature"] == 3, "by reading alone they are equal"


def test_a_feature_that_reads_no_better_and_writes_the_words_is_a_candidate_by_its_slope(model, contrast):
    """Of 48 features that all read the direction the last one alone writes the words."""
    given = lesson(contrast, model=model)
    words, _ = typical_tokens(given.examples, n=3)
    W_enc = 6 * direction()[:, None].repeat(1, 48)
    W_enc[:, 47] *= 1.5  # among the largest codes, which alone are kept
    W_dec = random_dictionary(model).W_dec.clone()
    W_dec[:47] = torch.linalg.svd(unembedding(model).float(), full_matrices=False).Vh[-1]
    W_dec[47] = torch.nn.functional.normalize(unembedding(model).float()[words].mean(0), dim=0)
    dictionary = random_dictionary(model)
    weights = dataclasses.replace(dictionary.weights, W_dec=W_dec, W_enc=W_enc, b_enc=torch.zeros(48))
    observed = torch.full((48,), 50.0)
    dictionary = dataclasses.replace(dictionary, weights=weights, hookpoint="norm", max_activation=observed)
    given = dataclasses.replace(given, dictionary=dictionary, hookpoint="norm")
    method = DecoderRow(by="output", words="texts", n_words=3, n_candidates=4, max_new_tokens=3, prompts=("sea", "and"))
    assert method.learn(given).notes["feature"] == 47
    assert DecoderRow().learn(given).notes["feature"] != 47


def test_reft_raises_the_texts_that_it_was_taught_more_than_random_directions_do(model):
    texts = [LabelledText("Q" * 12 + f" {n}", True, f"t{n}") for n in range(24)]
    texts += [LabelledText(f"the sea {n}", False, f"f{n}") for n in range(24)]
    labelled = LabelledSet(name="Q", question="whether a text is of Q", examples=texts)
    contrast = contrast_of_texts(model, labelled, hookpoint=PLACE)
    losses = []
    learned = ReFTr1(n_epochs=8, lr=0.05).learn(
        lesson(contrast, model=model, save=lambda state: losses.extend(state["losses"]))
    )
    assert learned.notes["loss"] < losses[0]
    text = [([257, *b"the sea QQQ"], [ord("Q")] * 6)]

    def log_p(direction_D):
        length = 2 * contrast.places[PLACE].teach.x_ND.norm(dim=1).median()
        with steer(model, [Offset(vector_D=length * direction_D / direction_D.norm(), hookpoint=PLACE)]):
            return float(answer_log_probs(model, text)[0][:, ord("Q")].mean())

    generator = torch.Generator().manual_seed(1)
    others = [log_p(torch.randn(len(learned.direction_D), generator=generator)) for _ in range(20)]
    assert log_p(learned.direction_D) > max(others)


def test_reft_goes_on_from_a_saved_state_to_the_same_bits(model, contrast):
    method, states = ReFTr1(n_epochs=2, batch_texts=4, save_every=3), []
    whole = method.learn(lesson(contrast, model=model, save=states.append))
    resumed = method.learn(lesson(contrast, model=model, state=states[1]))
    assert torch.equal(whole.direction_D, resumed.direction_D)
    assert whole.notes == resumed.notes
    assert abs(float(whole.direction_D.norm()) - 1) < 1e-6


@pytest.mark.parametrize(
    "method", [Tomography(), LogisticProbe(), MultiMax(n_steps=20), SHORT], ids=lambda m: type(m).__name__
)
def test_the_same_seed_gives_the_same_bits(model, contrast, method):
    once, again = (method.learn(lesson(contrast, model=model)).direction_D for _ in range(2))
    assert torch.equal(once, again)


@pytest.mark.parametrize("method", [MultiMax(n_steps=20), SHORT, Tomography()], ids=lambda m: type(m).__name__)
def test_another_seed_gives_another_direction_where_something_is_drawn(model, contrast, method):
    one, other = (method.learn(lesson(contrast, model=model, seed=seed)).direction_D for seed in (0, 1))
    assert not torch.equal(one, other)


def test_every_method_of_the_union_is_a_learner():
    assert all(isinstance(method(), Learner) for method in Method.__args__)


@pytest.mark.parametrize("method", [DecoderRow(), ShiftColumn(), DenoisedDiffMean()], ids=lambda m: type(m).__name__)
def test_a_method_that_needs_a_dictionary_says_so(model, contrast, method):
    with pytest.raises(ConfigError, match="dictionary"):
        method.learn(lesson(contrast))
    elsewhere = dataclasses.replace(random_dictionary(model), hookpoint="layers.0")
    with pytest.raises(ConfigError, match=r"layers\.0, not to layers\.1"):
        method.learn(lesson(contrast, dictionary=elsewhere))


@pytest.mark.parametrize("method", [SHORT, DecoderRow(by="output")], ids=lambda m: type(m).__name__)
def test_a_method_that_runs_the_model_says_so(model, contrast, method):
    with pytest.raises(ConfigError, match="none was given"):
        method.learn(lesson(contrast, dictionary=knowing_dictionary(model)))


def test_equal_activations_are_refused(model):
    contrast = unplanted(model)
    teach = contrast.places[PLACE].teach
    flat = dataclasses.replace(teach, x_ND=torch.ones_like(teach.x_ND))
    for method in (PrincipalComponent(), Tomography()):
        with pytest.raises(ConfigError, match="no direction"):
            method.learn(lesson(contrast, examples=flat))
