"""A small GPT-2 that adds two-digit numbers: trained from nothing on a share of the sums, exact on the others.

The network is an ordinary Hugging Face one, so that everything else of this library works on it. Its folder can be
given to `load_model`. Knows nothing of where in the network anything is computed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from bathyscope import artifacts
from bathyscope.artifacts import Recipe
from bathyscope.errors import ConfigError
from bathyscope.evaluation.worlds.addition import PROMPT, VOCABULARY, Addition
from bathyscope.evaluation.worlds.training import Schedule, slice_of_pass, train_network
from bathyscope.evaluation.worlds.world import own_seed
from bathyscope.models.load import load_model
from bathyscope.models.model import Model
from bathyscope.models.quiet import quiet

PADDING = "_"
N_POSITIONS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class AdderSettings:
    """Settings of `train_adder`."""

    base: int = 10
    """Base of the numbers, 2 to 10."""
    n_layers: int = 2
    """Blocks of the network."""
    d_model: int = 64
    """Width of the residual stream."""
    n_heads: int = 4
    """Attention heads of each block."""
    held_out: float = 0.2
    """Share of the sums that training never sees."""
    n_steps: int = 1000
    """Steps of AdamW."""
    batch_size: int = 512
    """Sums per step; every sum of the training share once before any of them again."""
    lr: float = 3e-3
    """Highest learning rate: rises over the first 50 steps, then falls to 0 along a cosine."""
    weight_decay: float = 0.1
    """Decay of matrices; biases and gains have none."""
    seed: int = 0
    """Seed of the start weights, of the held-out share and of the order of sums."""
    checkpoint_every: int = 100
    """Steps between checkpoints and lines of metrics.jsonl."""

    def __post_init__(self) -> None:
        sizes = (self.n_layers, self.d_model, self.n_heads, self.batch_size)
        if min(sizes) < 1 or self.d_model % self.n_heads:
            raise ConfigError("sizes are at least 1, and d_model is a multiple of n_heads")
        _ = self.schedule  # which refuses steps and rates that are none

    @property
    def world(self) -> Addition:
        """What is learnt."""
        return Addition(base=self.base)

    @property
    def schedule(self) -> Schedule:
        """Its steps."""
        return Schedule(
            n_steps=self.n_steps, lr=self.lr, weight_decay=self.weight_decay, checkpoint_every=self.checkpoint_every
        )


def train_adder(settings: AdderSettings, *, out: Path) -> Model:
    """The trained network from folder `out` (kind `model`), made there first if it is not; resumes at a checkpoint."""
    recipe = Recipe(kind="model", config=settings, seed=settings.seed)
    if not artifacts.is_finished(out, recipe):
        with artifacts.draft(out, recipe) as work:
            network = new_network(settings).train()
            lessons = _Lessons(settings, network)
            train_network(
                network, settings.schedule, loss=lessons.loss, figures=lessons.figures, stage="adder", work=work
            )
            _save(network, work.path)
    return load_model(out)


def held_out_sums(settings: AdderSettings) -> Int[Tensor, " M"]:
    """Numbers of the sums that an adder with these settings has never seen."""
    return _split(settings)[1]


def _split(settings: AdderSettings) -> tuple[Int[Tensor, " N"], Int[Tensor, " M"]]:
    """Numbers of the sums to train on, and of the others."""
    return settings.world.split(held_out=settings.held_out, seed=own_seed("adder", settings.seed))


@torch.no_grad()
def is_right(network: nn.Module, rows_NS: Int[Tensor, "N S"]) -> Bool[Tensor, " N"]:
    """For each whole sum whether the network's greedy answer is the one in the row, all three digits.

    One forward decides it: as long as the digits so far are right, the greedy run has seen the same tokens.
    """
    device = next(network.parameters()).device
    found = [_logits(network, part.to(device)).argmax(-1).cpu() for part in rows_NS.split(4096)]
    return (torch.cat(found) == rows_NS[:, PROMPT:]).all(1)


def tokenizer() -> Any:
    """One token per character of `VOCABULARY`, and `_` for padding; nothing is put in front of a text."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {character: number for number, character in enumerate(VOCABULARY + PADDING)}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token=PADDING))
    made.pre_tokenizer = pre_tokenizers.Split(Regex("."), behavior="isolated")
    made.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token=PADDING)


def new_network(settings: AdderSettings) -> Any:
    """An untrained GPT-2 of these sizes, its weights drawn from the seed."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=len(VOCABULARY) + 1,
        n_positions=N_POSITIONS,
        n_embd=settings.d_model,
        n_layer=settings.n_layers,
        n_head=settings.n_heads,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=len(VOCABULARY),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(own_seed("adder weights", settings.seed))
        return GPT2LMHeadModel(config)


class _Lessons:
    """The sums that a network is taught with, and those that it is asked."""

    def __init__(self, settings: AdderSettings, network: Any) -> None:
        self._settings, self._network = settings, network
        rows_NS = settings.world.rows(settings.world.sums())
        self._rows_MS, self._held_out_MS = (rows_NS[part] for part in _split(settings))

    def loss(self, step: int) -> Tensor:
        """Cross-entropy of the answers in the batch of this step."""
        n, size = len(self._rows_MS), self._settings.batch_size
        rows_BS = self._rows_MS[slice_of_pass(step, n=n, size=size, order=self._order)]
        logits_BAV = _logits(self._network, rows_BS)
        return nn.functional.cross_entropy(logits_BAV.flatten(0, 1), rows_BS[:, PROMPT:].flatten())

    def figures(self) -> dict[str, float]:
        """Share of the held-out sums that the network answers rightly."""
        return {"held_out_accuracy": float(is_right(self._network, self._held_out_MS).double().mean())}

    def _order(self, number: int) -> Int[Tensor, " M"]:
        seed = own_seed(f"adder pass {number}", self._settings.seed)
        return torch.randperm(len(self._rows_MS), generator=torch.Generator().manual_seed(seed))


def _logits(network: Any, rows_BS: Int[Tensor, "B S"]) -> Float[Tensor, "B A V"]:
    """Logits of the answer's digits, each given the right digits before it."""
    hidden_BSD = network.get_decoder()(input_ids=rows_BS[:, :-1], use_cache=False).last_hidden_state
    return network.get_output_embeddings()(hidden_BSD[:, PROMPT - 1 :])


def _save(network: Any, folder: Path) -> None:
    """The Hugging Face layout: config, weights, tokenizer."""
    with quiet():
        network.eval().save_pretrained(folder)
        tokenizer().save_pretrained(folder)
