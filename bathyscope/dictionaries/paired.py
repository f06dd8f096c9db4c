"""Codes learnt from pairs of inputs that differ in few factors: weakly supervised causal representation learning.

KnownTargets:  L = ‖f(x) + b' - f(x̃)‖²,  b' a guessed offset ≠ 0 on the factors that are known to have changed
               (Ahuja, Hartford, Bengio 2022, arXiv 2206.01101); no decoder, and no collapse: a constant f pays ‖b'‖²
SparseChange:  L = λ Σ_z |h_z - h̃_z| + term against collapse,  h = f(x), each latent of variance 1 over the batch;
               nobody knows which factors changed, only that few did

Without the second term, or without fixed variances, SparseChange has solutions that say nothing: both can be switched
off here to see it. Knows encoders of images only by `image_encoder`, and nothing of where pairs come from.
"""

import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bathyscope import artifacts, progress
from bathyscope.artifacts import Draft, Recipe
from bathyscope.config import from_json
from bathyscope.dictionaries.checkpoint import METRICS
from bathyscope.dictionaries.collapse import collapse
from bathyscope.dictionaries.image_encoder import ImageEncoder, ImageEncoderSettings
from bathyscope.dictionaries.optimiser_state import restore_step, save_step
from bathyscope.dictionaries.pair_losses import SmallDecoder, contrast, known_targets_loss, sparse_change, standardised
from bathyscope.errors import ConfigError

WEIGHTS = "weights.safetensors"
STARTS_APART = 1_000_003
"""Difference between the seeds of two starts."""


class PairBatch(NamedTuple):
    """Pairs of images, and what is known of each."""

    before_PCHW: Float[Tensor, "P C H W"]
    """First images, in [0, 1]."""
    after_PCHW: Float[Tensor, "P C H W"]
    """Second images."""
    target_PZ: Float[Tensor, "P Z"] | None
    """1 for a factor that grew, -1 for one that shrank, 0 for one that did not change; None where nobody knows."""


@runtime_checkable
class PairSource(Protocol):
    """Where pairs come from."""

    @property
    def description(self) -> Any:
        """Plain JSON data or settings that decide every batch."""
        ...

    def batch(self, step: int) -> PairBatch:
        """The pairs of step 0, 1, …; the same whenever it is asked."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownTargets:
    """Which factors changed, and whether they grew, is known; by how much is guessed, once for each factor."""

    guess_low: float = 0.4
    """Smallest guess, in units of the code."""
    guess_high: float = 1.0
    """Largest guess. Wrong guesses only scale latents."""

    def __post_init__(self) -> None:
        if not 0 < self.guess_low <= self.guess_high:
            raise ConfigError("guesses must be positive: with an offset of 0 a constant code has no loss")

    def guesses(self, n_latents: int, *, seed: int) -> Float[Tensor, " Z"]:
        """The guessed size of each factor's change."""
        draws_Z = torch.rand(n_latents, generator=torch.Generator().manual_seed(seed))
        return self.guess_low + (self.guess_high - self.guess_low) * draws_Z


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseChange:
    """Which factors changed is unknown; few did."""

    weight: float = 1.0
    """λ, weight of the changes' absolute values."""
    against: Literal["contrast", "reconstruction", "nothing"] = "contrast"
    """What keeps the code from collapsing."""
    temperature: float = 0.5
    """τ of the contrast: softmax over a batch of -‖h_i - h̃_j‖₁ / τ must find the partner."""
    reconstruction_weight: float = 10.0
    """Weight of the reconstruction error (share of the images' variation)."""
    unit_variance: bool = True
    """Whether each latent is brought to mean 0 and variance 1 over the batch before anything is measured."""

    def __post_init__(self) -> None:
        if self.weight < 0 or min(self.temperature, self.reconstruction_weight) <= 0:
            raise ConfigError("weight cannot be negative, temperature and reconstruction_weight must be positive")


Objective = KnownTargets | SparseChange
"""What a code is learnt by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedSettings:
    """Settings of `train_paired`."""

    objective: Objective = field(default_factory=KnownTargets)
    """What the code is learnt by."""
    encoder: ImageEncoderSettings = field(default_factory=ImageEncoderSettings)
    """The encoder's sizes."""
    n_steps: int = 2000
    """Steps of Adam."""
    lr: float = 3e-3
    """Learning rate; falls to 0 along a cosine."""
    n_starts: int = 1
    """Start weights that are tried; the one with the lowest loss after a short run is taken from its beginning."""
    start_steps: int = 150
    """Steps of each short run."""
    seed: int = 0
    """Seed of the start weights and of the guesses."""
    checkpoint_every: int = 200
    """Steps between checkpoints and lines of metrics.jsonl."""

    def __post_init__(self) -> None:
        if min(self.n_steps, self.n_starts, self.start_steps, self.checkpoint_every) < 1 or self.lr <= 0:
            raise ConfigError("n_steps, n_starts, start_steps, checkpoint_every and lr must be positive")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairedEncoder:
    """A finished encoder."""

    network: ImageEncoder
    """It, in evaluation mode."""
    settings: PairedSettings
    """How it was learnt."""

    @torch.no_grad()
    def encode(self, image_NCHW: Float[Tensor, "N C H W"]) -> Float[Tensor, "N Z"]:
        """Codes of images, a few hundred at a time."""
        return torch.cat([self.network(part) for part in image_NCHW.split(256)])


def train_paired(source: PairSource, settings: PairedSettings, *, out: Path) -> PairedEncoder:
    """The encoder from folder `out` (kind `encoder`), learnt there first if it is not; resumes at a checkpoint.

    Raises ConfigError when targets are missing or of another number than the latents, or when a loss is not finite.
    """
    config = {"settings": settings, "source": source.description}
    recipe = Recipe(kind="encoder", config=config, seed=settings.seed)
    if not artifacts.is_finished(out, recipe):
        with artifacts.draft(out, recipe) as work:
            learner = _Learner(settings, start=_best_start(source, settings) if work.state() is None else 0)
            learner.go_on(source, work)
            tensors = {name: tensor.contiguous() for name, tensor in learner.encoder.state_dict().items()}
            save_file(tensors, work.path / WEIGHTS)
    return load_paired(out)


def load_paired(path: Path) -> PairedEncoder:
    """The encoder in a finished folder. Raises ArtifactError for another kind or an altered file."""
    manifest = artifacts.read_manifest(path, kind="encoder")
    settings = from_json(PairedSettings, manifest.config["settings"])
    network = ImageEncoder(settings.encoder, generator=torch.Generator())
    network.load_state_dict(load_file(artifacts.check_file(path, manifest, WEIGHTS)))
    return PairedEncoder(network=network.eval().requires_grad_(False), settings=settings)


def _best_start(source: PairSource, settings: PairedSettings) -> int:
    """The start whose short run, on the same batches, ends with the lowest loss. Knows nothing of the factors."""
    if settings.n_starts == 1:
        return 0
    losses: list[float] = []
    for start in range(settings.n_starts):
        losses.append(
            _Learner(dataclasses.replace(settings, n_steps=settings.start_steps), start=start).try_out(source)
        )
        progress.report("paired starts", start + 1, settings.n_starts, "starts", loss=losses[-1])
    return min(range(settings.n_starts), key=lambda start: losses[start])


class _Learner:
    """Encoder, guesses, optimiser."""

    def __init__(self, settings: PairedSettings, *, start: int) -> None:
        generator = torch.Generator().manual_seed(settings.seed + STARTS_APART * start)
        self.settings, self.objective = settings, settings.objective
        self.encoder = ImageEncoder(settings.encoder, generator=generator)
        n_latents = settings.encoder.n_latents
        self.guess_Z: Tensor | None = None
        modules: dict[str, nn.Module] = {"encoder": self.encoder}
        match settings.objective:
            case KnownTargets() as known:
                self.guess_Z = known.guesses(n_latents, seed=settings.seed)
            case SparseChange(against="reconstruction"):
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(settings.seed + STARTS_APART * start)
                    modules["decoder"] = self.decoder = SmallDecoder(n_latents)
            case SparseChange():
                pass
        self._named = {
            f"{module}.{name}": p for module, owner in modules.items() for name, p in owner.named_parameters()
        }
        self._adam = torch.optim.Adam(self._named.values(), lr=settings.lr)

    def try_out(self, source: PairSource) -> float:
        """Mean loss of the last steps of a run of `n_steps`, which leaves nothing behind."""
        losses = [self._step(source.batch(step), self._rate(step))[1] for step in range(self.settings.n_steps)]
        last = losses[-max(1, len(losses) // 5) :]
        return sum(last) / len(last)

    def go_on(self, source: PairSource, work: Draft) -> None:
        """Take the steps that are left, from the last checkpoint on."""
        settings = self.settings
        for step in range(restore_step(work, self._named, self._adam), settings.n_steps):
            codes_NZ, loss = self._step(source.batch(step), self._rate(step))
            done = step + 1
            if done % settings.checkpoint_every == 0 or done == settings.n_steps:
                left = collapse(codes_NZ)
                figures = {"loss": loss, "effective_rank": left.effective_rank, "spread": left.spread}
                with (work.path / METRICS).open("a") as file:
                    file.write(json.dumps({"step": done, **figures}) + "\n")
                progress.report("paired", done, settings.n_steps, "steps", **figures)
                save_step(work, self._named, self._adam, step=done)

    def _rate(self, step: int) -> float:
        return self.settings.lr * 0.5 * (1 + math.cos(math.pi * step / self.settings.n_steps))

    def _step(self, batch: PairBatch, rate: float) -> tuple[Tensor, float]:
        """One update; the batch's codes and loss."""
        for group in self._adam.param_groups:
            group["lr"] = rate
        codes_NZ = self.encoder(torch.cat([batch.before_PCHW, batch.after_PCHW]))
        before_PZ, after_PZ = codes_NZ.chunk(2)
        loss = self._loss(before_PZ, after_PZ, batch)
        if not bool(torch.isfinite(loss)):
            raise ConfigError(f"the loss is {float(loss)}: lower lr (now {self.settings.lr:g})")
        self._adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self._named.values(), 1.0)
        self._adam.step()
        return codes_NZ.detach(), float(loss.detach())

    def _loss(self, before_PZ: Tensor, after_PZ: Tensor, batch: PairBatch) -> Tensor:
        match self.objective:
            case KnownTargets():
                assert self.guess_Z is not None
                return known_targets_loss(before_PZ, after_PZ, self.guess_Z * _targets(batch, before_PZ.shape[1]))
            case SparseChange() as sparse:
                if sparse.unit_variance:
                    before_PZ, after_PZ = standardised(before_PZ, after_PZ)
                return sparse.weight * sparse_change(before_PZ, after_PZ) + self._against(
                    sparse, before_PZ, after_PZ, batch
                )

    def _against(self, sparse: SparseChange, before_PZ: Tensor, after_PZ: Tensor, batch: PairBatch) -> Tensor:
        match sparse.against:
            case "contrast":
                return contrast(before_PZ, after_PZ, temperature=sparse.temperature)
            case "reconstruction":
                images = torch.cat([batch.before_PCHW, batch.after_PCHW])
                return sparse.reconstruction_weight * self.decoder.loss(torch.cat([before_PZ, after_PZ]), images)
            case "nothing":
                return before_PZ.new_zeros(())


def _targets(batch: PairBatch, n_latents: int) -> Tensor:
    """The batch's targets, checked."""
    if batch.target_PZ is None:
        raise ConfigError(
            "KnownTargets needs to know which factors changed; for pairs without targets use SparseChange"
        )
    if batch.target_PZ.shape[1] != n_latents:
        raise ConfigError(
            f"targets of {batch.target_PZ.shape[1]} factors for {n_latents} latents: give n_latents the same"
        )
    return batch.target_PZ
