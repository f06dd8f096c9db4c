"""One dictionary that learns from a stream: trainee, optimiser and figures.

Several members can learn from the same batches; none knows of the others, of the stream or of files.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.meter import Meter
from bathyscope.dictionaries.schedule import Optimisation
from bathyscope.dictionaries.trainee import KindSettings
from bathyscope.errors import ConfigError

State = dict[str, Tensor]
"""Tensors by name, as they are written to a checkpoint."""


class Member:
    """A dictionary in training."""

    def __init__(
        self, kind: KindSettings, *, d_model: int, optimisation: Optimisation, seed: int, device: str = "cpu"
    ) -> None:
        """Build the trainee from `seed` on the CPU (the same start on every device) and move it."""
        self.kind, self.optimisation, self.device = kind, optimisation, device
        self.generator = torch.Generator().manual_seed(seed)
        self.trainee = kind.build(d_model, generator=self.generator).to(device)
        self.scale = 1.0
        self.meter = Meter()
        self._named = dict(self.trainee.named_parameters())
        self._adam = torch.optim.Adam(
            list(self._named.values()), lr=optimisation.lr, betas=optimisation.betas, eps=optimisation.eps, fused=True
        )

    def start(self, sample_ND: Float[Tensor, "N D"]) -> None:
        """Fix the activation scale and what begins from data, from a sample of raw activations."""
        self.scale = self.kind.scale(sample_ND)
        self.trainee.start(sample_ND.float() * self.scale)

    def step(self, x_ND: Float[Tensor, "N D"], *, progress: float) -> None:
        """One update from a batch of raw activations at `progress` of the run. Waits for nothing."""
        x_ND = x_ND.to(self.device, torch.float32) * self.scale
        loss = self.trainee.loss(x_ND, progress=progress)
        self._adam.zero_grad(set_to_none=True)
        loss.total.backward()
        self.trainee.before_step()
        gradient_norm = self._clip()
        self._adam.param_groups[0]["lr"] = self.optimisation.learning_rate(progress)
        self._adam.step()
        self.trainee.after_step(loss)
        self.trainee.silence.update(loss.fires_F, len(x_ND))
        self.meter.add(loss, gradient_norm)

    def read(self) -> dict[str, float]:
        """Figures since the last reading, and the share of features that are dead now."""
        dead_F = self.trainee.silence.dead(self.kind.dead_after_tokens)
        return {**self.meter.read(), "dead_share": float(dead_F.double().mean())}

    def fold(self) -> Dictionary:
        """The neutral dictionary as it is now, on the CPU."""
        return self.trainee.fold(self.scale).to("cpu")

    def state(self) -> tuple[State, dict[str, Any]]:
        """Everything that decides the steps to come, as tensors and as JSON data. Read the figures out before."""
        tensors = {f"trainee.{name}": tensor for name, tensor in self.trainee.state_dict().items()}
        for name, parameter in self._named.items():
            tensors |= {f"adam.{name}.{key}": value for key, value in self._adam.state[parameter].items()}
        tensors["generator"] = self.generator.get_state()
        return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, {"scale": self.scale}

    def restore(self, tensors: State, data: dict[str, Any]) -> None:
        """Go back to what `state` gave, bit for bit; values are copied into the tensors that are there."""
        self.scale = float(data["scale"])
        trainee = {name.removeprefix("trainee."): t for name, t in tensors.items() if name.startswith("trainee.")}
        self.trainee.load_state_dict(trainee)
        for name, parameter in self._named.items():
            keys = ("step", "exp_avg", "exp_avg_sq")
            saved = {key: tensors[f"adam.{name}.{key}"].clone() for key in keys if f"adam.{name}.{key}" in tensors}
            self._adam.state[parameter] = {
                key: value if key == "step" else torch.empty_like(parameter).copy_(value)
                for key, value in saved.items()
            }
        self.generator.set_state(tensors["generator"])

    def refuse_divergence(self, step: int, *, kept: str) -> None:
        """Raise ConfigError when a loss since the last reading was not finite; `step` is the number of steps so far."""
        before = self.meter.first_bad_step()
        if before is not None:
            n_since = self.meter.n_steps
            raise ConfigError(
                f"training diverged at step {step - n_since + before + 1} (loss or gradient not finite, "
                f"lr {self.optimisation.lr:g}): lower lr or lengthen warm_up, and choose another --out; {kept}"
            )

    def _clip(self) -> Tensor:
        """The gradient's length before it was cut to `clip_norm`."""
        limit, parameters = self.optimisation.clip_norm, list(self._named.values())
        length = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if limit > 0 and (
            self.device != "cpu" or not bool(length <= limit)
        ):  # on a CPU, a pass saved where none is due
            torch.nn.utils.clip_grads_with_norm_(parameters, limit, length)
        return length
