"""`bathyscope demo`: every stage on a real model, each into its own folder; finished stages are not run again.

The stages are the public calls that a user would write; nothing here is special to the demo but its sizes and prompts.
"""

from dataclasses import dataclass
from pathlib import Path

from bathyscope import runtime
from bathyscope.activations.collect import CollectSettings, collect
from bathyscope.cli.command import Command
from bathyscope.cli.terminal import result, say
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.topk import TopK
from bathyscope.dictionaries.train import TrainSettings, train
from bathyscope.evaluation.fidelity import FidelitySettings, fidelity
from bathyscope.evaluation.steering.dose_response import steering_effects
from bathyscope.explanations.explain import explain
from bathyscope.explanations.mutual_information import MutualInformation
from bathyscope.features.index import FeatureIndex, IndexSettings, index_features
from bathyscope.models.load import load_model
from bathyscope.models.model import Model
from bathyscope.steering.answers import AnswerSettings, answers
from bathyscope.steering.choose import ChooseSettings, choose_features
from bathyscope.web.export import export

CHOICE_PROMPTS = (
    "Tell me about your weekend.",
    "Describe a place that you like.",
    "Give me some advice for a new job.",
    "Write the first lines of a story.",
)
"""Prompts on which the steered features are chosen; never those that are shown."""

REPORT_PROMPTS = (
    "What should I cook tonight?",
    "Tell me a short story about a traveller.",
    "How do I learn to play the piano?",
    "Describe the view from a window.",
    "What makes a good friend?",
    "Explain why the sky is blue.",
)
"""Prompts whose answers are shown and measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo(Command):
    """Sizes of the demo. The defaults take minutes on two CPU cores."""

    out: Path = Path("runs/demo")
    """Run folder; each stage writes a folder inside it."""
    model: str = "smollm2"
    """Bundled name, local folder, .gguf file or Hub id."""
    text: tuple[str, ...] = ("demo",)
    """Texts, as in `bathyscope collect`."""
    hookpoint: str = "layers.15"
    """Module whose output is looked at."""
    n_tokens: int = 400_000
    """Tokens of text, a quarter of the documents held out."""
    n_features: int = 4608
    """Size of the dictionary."""
    k: int = 32
    """Active features per token."""
    epochs: int = 4
    """Passes over the training activations."""
    evaluate_tokens: int = 8192
    """Held-out tokens on which the model is run with the layer replaced."""
    n_steered: int = 3
    """Features to steer with."""
    n_candidates: int = 40
    """Features tried when choosing them."""
    max_density: float = 0.02
    """Commonest feature tried, as a share of tokens."""
    max_new_tokens: int = 40
    """Longest steered answer."""
    seed: int = 0
    """Seed of every stage."""


def run(config: Demo) -> None:
    """Run the stages in order and print the page's path."""
    model = load_model(config.model)
    out = config.out
    _stage("1/7 collect: text to activations", config)
    store = collect(
        model,
        list(config.text),
        out=out / "activations",
        hookpoint=config.hookpoint,
        n_tokens=config.n_tokens,
        settings=CollectSettings(held_out=0.25, seed=config.seed),
    )
    _stage("2/7 train: activations to a sparse dictionary", config)
    dictionary = train(
        store,
        TopK(n_features=config.n_features, k=config.k),
        out=out / "dictionary",
        settings=TrainSettings(epochs=config.epochs, seed=config.seed),
    )
    _stage("3/7 index: when each feature fires and what it writes", config)
    index = index_features(model, dictionary, store, out=out / "features", settings=IndexSettings(seed=config.seed))
    _stage("4/7 explain: words for each feature", config)
    method = MutualInformation(seed=config.seed)
    explain(index, method, model=model, dictionary=dictionary, activations=store, out=out / "explanations")
    _stage("5/7 evaluate: held-out fidelity beside nulls", config)
    fidelity(
        model,
        dictionary,
        store,
        out=out / "scores",
        parents={"dictionary": out / "dictionary", "activations": out / "activations"},
        settings=FidelitySettings(n_tokens=config.evaluate_tokens, seed=config.seed),
    )
    _stage("6/7 steer: answers beside plain and random direction", config)
    _steer(model, dictionary, index, config)
    _stage("7/7 export: one page", config)
    page = export(out)
    result({"page": str(page), "peak memory MB": runtime.peak_memory_bytes() // 1_000_000}, as_json=config.json)


def _steer(model: Model, dictionary: Dictionary, index: FeatureIndex, config: Demo) -> None:
    out = config.out
    parents = {"dictionary": out / "dictionary", "features": out / "features"}
    chosen = choose_features(
        model,
        dictionary,
        index,
        out=out / "candidates",
        parents=parents,
        settings=ChooseSettings(
            prompts=CHOICE_PROMPTS,
            n_features=config.n_steered,
            n_candidates=config.n_candidates,
            max_density=config.max_density,
            seed=config.seed,
        ),
    )
    answers(
        model,
        dictionary,
        index,
        out=out / "generations",
        parents={**parents, "candidates": out / "candidates"},
        settings=AnswerSettings(
            features=tuple(candidate.feature for candidate in chosen),
            prompts=REPORT_PROMPTS,
            max_new_tokens=config.max_new_tokens,
            seed=config.seed,
        ),
    )
    steering_effects(out / "generations", out=out / "steering-scores", seed=config.seed)


def _stage(title: str, config: Demo) -> None:
    say(title, as_json=config.json)
