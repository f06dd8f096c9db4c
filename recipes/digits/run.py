"""Digits: the same store, dictionary and index over a vision transformer, and whether features are about the picture.

    .venv/bin/python recipes/digits/run.py            # handwritten digits, about ten minutes on one core
    .venv/bin/python recipes/digits/run.py --small    # drawn digits, about ten seconds, no download

Writes `runs/recipes/digits` (network, activations, dictionary, features, `scores` with all figures and `sheet.png`) and
compares with `expected.json`.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bathyscope import artifacts
from bathyscope.activations.collect_images import ImageCollectSettings, collect_images
from bathyscope.activations.images import Images, read_digits
from bathyscope.activations.store import ActivationStore
from bathyscope.artifacts import Recipe
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.topk import TopK
from bathyscope.dictionaries.train import TrainSettings, train
from bathyscope.evaluation.expected import outside, read_expected
from bathyscope.evaluation.intervals import Interval, bootstrap, resampled
from bathyscope.evaluation.nulls import random_dictionary
from bathyscope.evaluation.pictures import tiled, write_png
from bathyscope.evaluation.probes import mean_over_groups, weighted_auroc
from bathyscope.evaluation.reconstruction import mean_of, reconstruction_scores, reconstruction_sums
from bathyscope.evaluation.scores import Score, read_scores, score, write_scores
from bathyscope.evaluation.worlds.digits import DigitsSettings, is_right, train_digits
from bathyscope.evaluation.worlds.segments import drawn_digits
from bathyscope.features.index import FeatureIndex, IndexSettings, index_features
from bathyscope.models.vision import ImageModel

HERE = Path(__file__).parent
SHEET = "sheet.png"
CHUNK_IMAGES = 128
HIGH = 0.8
N_RESAMPLES = 200
MIN_IMAGES = 10
"""Images of the choosing half on which a unit is active at least, to be counted."""
Responses = Callable[[Tensor], Tensor]
"""Activations [N, D] → values of units [N, U], positive where a unit is active."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DigitsRecipeSettings:
    """Settings of the recipe."""

    source: Literal["handwritten", "drawn"] = "handwritten"
    """Which images: the material `mnist`, or digits of seven segments."""
    n_drawn: int = 800
    """Number of drawn images."""
    network: DigitsSettings = field(default_factory=DigitsSettings)
    """The network and how it is trained; the images that it does not see are held out throughout."""
    hookpoint: str = "layers.2"
    """Block whose output is read."""
    n_features: int = 512
    """Features of the dictionary."""
    k: int = 8
    """Features that are active on a patch."""
    n_tokens: int = 2_000_000
    """Patches that the dictionary is trained on, passes over the images as many as it takes."""
    n_strongest: int = 50
    """Patches, of highest value in either half, that purity is taken over."""
    n_shown: int = 12
    """Features on the sheet and in the printed list."""
    seed: int = 0
    """Seed of everything that the network's own seed does not decide."""


SMALL = DigitsRecipeSettings(
    source="drawn",
    network=DigitsSettings(
        patch_size=7,
        n_layers=2,
        d_model=32,
        n_heads=2,
        d_hidden=64,
        n_words=48,
        held_out=0.25,
        max_shift=0,
        n_steps=200,
        batch_size=50,
        lr=4e-3,
        checkpoint_every=100,
    ),
    hookpoint="layers.0",
    n_features=64,
    k=4,
    n_tokens=80_000,
    n_strongest=20,
    n_shown=4,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Material:
    """All that is measured."""

    images: Images
    model: ImageModel
    store: ActivationStore
    dictionary: Dictionary
    index: FeatureIndex


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Looked:
    """What U units do on the held-out images, the choosing half first, the reporting half second."""

    peaks: tuple[Float[np.ndarray, "N U"], Float[np.ndarray, "M U"]]
    """Highest value over the patches of each image."""
    words: tuple[Int[np.ndarray, "K U"], Int[np.ndarray, "K U"]]
    """Visual words of the patches of highest value, −1 where a unit is active on fewer."""


def made(settings: DigitsRecipeSettings, out: Path) -> Material:
    """Network, activations, dictionary and index, from their folders or made there."""
    network, seed = settings.network, settings.seed
    images = (
        read_digits() if settings.source == "handwritten" else drawn_digits(settings.n_drawn, seed=seed, max_shift=1)
    )
    model = train_digits(images, network, out=out / "network")
    split = ImageCollectSettings(held_out=network.held_out, seed=network.seed)
    store = collect_images(model, images, out=out / "activations", hookpoint=settings.hookpoint, settings=split)
    training = TrainSettings(n_tokens=settings.n_tokens, seed=seed)
    dictionary = train(
        store, TopK(n_features=settings.n_features, k=settings.k), out=out / "dictionary", settings=training
    )
    whole = 1 + model.n_patches
    how = IndexSettings(window=whole, window_before=whole - 1, top=8, per_document=1, seed=seed)
    index = index_features(model, dictionary, store, out=out / "features", settings=how)
    return Material(images=images, model=model, store=store, dictionary=dictionary, index=index)


def measure(settings: DigitsRecipeSettings, out: Path) -> list[Score]:
    """Every figure, also written to `out/scores`."""
    recipe = Recipe(kind="scores", config=settings, seed=settings.seed)
    if not artifacts.is_finished(out / "scores", recipe):
        material = made(settings, out)
        with artifacts.draft(out / "scores", recipe) as work:
            rows = [_accuracy(material, settings), *_fidelity(material, settings), *_about(material, settings)]
            write_scores(work.path, rows)
            shown = best_features(material, settings)
            write_png(work.path / SHEET, sheet(material, shown))
    return read_scores(out / "scores")


def halves(material: Material) -> tuple[Int[np.ndarray, " N"], Int[np.ndarray, " M"]]:
    """Numbers of the held-out images to choose on, and of those to report on."""
    numbers = np.arange(material.images.n_images)
    held_out = numbers[material.store.held_out(numbers)]
    return held_out[::2], held_out[1::2]


def _accuracy(material: Material, settings: DigitsRecipeSettings) -> Score:
    own = np.concatenate(halves(material))
    images, model = material.images, material.model
    right = is_right(model.network, images.pixels_NHW[own], images.labels_N[own]).double().numpy()
    return score("network", "accuracy", mean_over_groups(right, own, seed=settings.seed), unit="images")


def _fidelity(material: Material, settings: DigitsRecipeSettings) -> Iterator[Score]:
    store, hookpoint = material.store, settings.hookpoint
    rows = store.rows("held_out")
    subjects = {"dictionary": material.dictionary, "random dictionary": _null(material, settings)}
    documents = np.asarray(store.documents)[store.row_tokens()[rows]]
    for name, sums in reconstruction_sums(subjects, store, hookpoint, rows).items():
        yield from reconstruction_scores(name, sums, documents, seed=settings.seed)


def _null(material: Material, settings: DigitsRecipeSettings) -> Dictionary:
    x_ND = material.store.read(material.store.rows("train")[:8192])
    return random_dictionary(material.dictionary, x_ND, k=settings.k, seed=settings.seed)


def _about(material: Material, settings: DigitsRecipeSettings) -> Iterator[Score]:
    """AUROC of the best class and purity of every subject, beside shuffled classes and shuffled words."""
    mean_D = mean_of(material.store, settings.hookpoint, material.store.rows("train"))
    null = _null(material, settings)
    subjects: dict[str, Responses] = {
        "dictionary": lambda x_ND: material.dictionary.encode(x_ND).dense(),
        "random dictionary": lambda x_ND: null.encode(x_ND).dense(),
        "neurons, both signs": lambda x_ND: torch.cat([x_ND - mean_D, mean_D - x_ND], dim=1),
    }
    labels = [material.images.labels_N[half].numpy() for half in halves(material)]
    generator = np.random.default_rng(settings.seed)
    for name, responses in subjects.items():
        looked = look(material, responses, settings)
        yield from _scores(name, looked, labels, settings)
        if name == "dictionary":
            dealt = [generator.permutation(half) for half in labels]
            words = tuple(generator.permutation(part.ravel()).reshape(part.shape) for part in looked.words)
            shuffled = Looked(peaks=looked.peaks, words=(words[0], words[1]))
            yield from _scores("dictionary, classes and words shuffled", shuffled, dealt, settings)


def look(material: Material, responses: Responses, settings: DigitsRecipeSettings) -> Looked:
    """What units do on both halves of the held-out images."""
    found = [_look(material, responses, half, settings.n_strongest) for half in halves(material)]
    return Looked(peaks=(found[0][0], found[1][0]), words=(found[0][1], found[1][1]))


def _look(
    material: Material, responses: Responses, numbers: Int[np.ndarray, " N"], n_strongest: int
) -> tuple[Float[np.ndarray, "N U"], Int[np.ndarray, "K U"]]:
    n, tokens = material.model.n_patches, np.asarray(material.store.tokens)[material.store.row_tokens()]
    peaks, strongest = list[Tensor](), list[tuple[Tensor, Tensor]]()
    for start in range(0, len(numbers), CHUNK_IMAGES):
        rows = (numbers[start : start + CHUNK_IMAGES, None] * n + np.arange(n)).ravel()
        values_NU = responses(material.store.read(rows))
        peaks.append(values_NU.view(-1, n, values_NU.shape[1]).amax(1))
        words_NU = torch.from_numpy(tokens[rows])[:, None].expand_as(values_NU)
        before = strongest.pop() if strongest else (values_NU[:0], words_NU[:0])
        values_NU, words_NU = torch.cat([before[0], values_NU]), torch.cat([before[1], words_NU])
        best = values_NU.topk(min(n_strongest, len(values_NU)), dim=0)
        strongest.append((best.values, words_NU.gather(0, best.indices)))
    values_KU, words_KU = strongest[0]
    return torch.cat(peaks).numpy(), torch.where(values_KU > 0, words_KU, -1).numpy()


def _scores(
    name: str, looked: Looked, labels: list[Int[np.ndarray, " N"]], settings: DigitsRecipeSettings
) -> Iterator[Score]:
    """Means over units that are active on enough images of the choosing half.

    AUROC varies with the images, which all units share: its intervals come from resampling images. Purity is counted on
    each unit's own patches, and its interval comes from resampling units.
    """
    active = np.flatnonzero((looked.peaks[0] > 0).sum(0) >= MIN_IMAGES).tolist()
    n_images = len(labels[1])
    weights_RN = np.concatenate([np.ones((1, n_images)), resampled(n_images, N_RESAMPLES, settings.seed)])
    about_UR = np.stack([auroc_of_best_class(looked, labels, unit, weights_RN) for unit in active])
    for metric, each_UR in {"AUROC of its class": about_UR, f"share above {HIGH}": about_UR > HIGH}.items():
        value, *others = np.nanmean(each_UR, axis=0).tolist()
        low, high = np.quantile(others, [0.025, 0.975]).tolist()
        interval = Interval(value=value, low=low, high=high, n=n_images)
        yield score(name, metric, interval, unit="images", split="reporting half")
    sums_U2 = np.array([[purity(looked, unit), 1.0] for unit in active])
    interval = bootstrap(sums_U2, lambda t: t[..., 0] / t[..., 1], seed=settings.seed)
    yield score(name, "patch purity", interval, unit="units", split="reporting half")


def auroc_of_best_class(
    looked: Looked, labels: list[Int[np.ndarray, " N"]], unit: int, weights_RN: Float[np.ndarray, "R N"]
) -> Float[np.ndarray, " R"]:
    """P(peak on an image of the class > peak on another one), class chosen on one half, on the other half's images.

    One figure for each row of weights of these images.
    """
    choosing, reporting = (peaks[:, unit].astype(np.float64) for peaks in looked.peaks)
    digits = np.unique(labels[0])
    best = digits[int(np.argmax([_auroc(choosing, labels[0] == digit) for digit in digits]))]
    return weighted_auroc(reporting, labels[1] == best, weights_RN)


def _auroc(scores_N: Float[np.ndarray, " N"], labels_N: Bool[np.ndarray, " N"]) -> float:
    return float(weighted_auroc(scores_N, labels_N, np.ones((1, len(labels_N))))[0])


def purity(looked: Looked, unit: int) -> float:
    """Share of a unit's strongest patches in one half that show the visual word most frequent among the other's."""
    choosing, reporting = (words[:, unit][words[:, unit] >= 0] for words in looked.words)
    word = np.bincount(choosing).argmax() if len(choosing) else -1
    return float((reporting == word).mean()) if len(reporting) else 0.0


def best_features(material: Material, settings: DigitsRecipeSettings) -> list[tuple[int, int, float]]:
    """(feature, class, AUROC) of the features that tell a class best on the choosing half; AUROC of the other half."""
    looked = look(material, lambda x_ND: material.dictionary.encode(x_ND).dense(), settings)
    labels = [material.images.labels_N[half].numpy() for half in halves(material)]
    found = list[tuple[float, int, int]]()
    for unit in np.flatnonzero((looked.peaks[0] > 0).sum(0) >= MIN_IMAGES).tolist():
        peaks = looked.peaks[0][:, unit].astype(np.float64)
        found.append(max((_auroc(peaks, labels[0] == digit), unit, digit) for digit in np.unique(labels[0]).tolist()))
    best = sorted(found, key=lambda each: -each[0])[: settings.n_shown]
    reporting = looked.peaks[1].astype(np.float64)
    return [(unit, digit, _auroc(reporting[:, unit], labels[1] == digit)) for _, unit, digit in best]


def sheet(material: Material, shown: list[tuple[int, int, float]]) -> Tensor:
    """One row for each feature: the images of its top examples, patches red as far as it is active there."""
    rows = [pictures(material, feature) for feature, _, _ in shown]
    return tiled(torch.stack(rows), zoom=3)


def pictures(material: Material, feature: int, *, n: int = 8) -> Float[Tensor, "K 3 H W"]:
    """The top examples of a feature in their images; black ones where there are fewer."""
    size = material.model.words.patch_size
    side = material.images.pixels_NHW.shape[1] // size
    maximum = material.index.feature(feature).max
    found = torch.zeros(n, 3, side * size, side * size)
    for number, example in enumerate(material.index.examples(feature, "top")[:n]):
        grey_HW = material.images.pixels_NHW[example.document].float() / 255
        share_M = torch.tensor(example.values[1:]).view(1, 1, side, side) / maximum
        share_HW = share_M.repeat_interleave(size, 2).repeat_interleave(size, 3)[0, 0]
        found[number] = torch.stack([torch.maximum(grey_HW, share_HW), *[grey_HW * (1 - 0.6 * share_HW)] * 2])
    return found


def main() -> int:
    """Run, tell the story, compare; 1 when a figure is outside its range."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="drawn digits and a smaller network")
    parser.add_argument("--out", type=Path, default=None, help="folder to write")
    given = parser.parse_args()
    size = "small" if given.small else "full"
    out = given.out or Path("runs/recipes") / ("digits-small" if given.small else "digits")
    settings = SMALL if given.small else DigitsRecipeSettings()
    rows = measure(settings, out)
    for each in rows:
        print(f"{each.subject:40} {each.metric:20} {each.value:8.4f} [{each.low:.4f}, {each.high:.4f}] {each.n}")
    tell(made(settings, out), settings)
    print(f"{out / 'scores' / SHEET}: one row for each of these features, its top images, red where it is active")
    wrong = outside(figures(rows), read_expected(HERE / "expected.json", size))
    print("\n".join(wrong) or "every figure is within its expected range")
    return int(bool(wrong))


def tell(material: Material, settings: DigitsRecipeSettings) -> None:
    """The features of the sheet, with the patches that they peak on, and the first one's first image."""
    index = material.index
    for feature, digit, auroc in best_features(material, settings):
        peaks = [int(index.tokens[example.token]) for example in index.examples(feature, "top")]
        patches = " ".join(index.token_strings(peaks))
        print(f"feature {feature:4}  tells a {digit}: AUROC {auroc:.3f}  peaks on {patches}")
    example = index.examples(best_features(material, settings)[0][0], "top")[0]
    print(f"{index.sources[example.document]}, as visual words:")
    print(material.model.words.drawn(index.tokens[example.start : example.stop].tolist()))


def figures(rows: list[Score]) -> dict[str, float]:
    """`subject · metric` → value."""
    return {f"{each.subject} · {each.metric}": each.value for each in rows}


if __name__ == "__main__":
    sys.exit(main())
