"""The tables of docs/scaling.md: what collect, train and index cost by plan, on listed hardware.

    .venv/bin/python benchmarks/plan_tables.py

Nothing is measured: hours follow from data sheets and stated shares of them (`bathyscope/planning/hardware.toml`).
"""

from dataclasses import dataclass

import tyro

import bathyscope as bs
from bathyscope.planning.amounts import bytes_text, duration
from bathyscope.planning.plan import Plan

MODELS = {"google/gemma-2-2b": "layers.12", "meta-llama/Llama-3.1-8B": "layers.16"}


@dataclass(frozen=True, kw_only=True)
class Tables:
    """Which sizes."""

    n_features: tuple[int, ...] = (131_072, 1_048_576, 4_194_304, 34_000_000)
    """Features."""
    tokens: tuple[int, ...] = (1_000_000_000, 8_000_000_000)
    """Tokens, each seen once."""
    hardware: tuple[str, ...] = ("H100-80GB", "A100-80GB", "RTX-4090")
    """Listed hardware."""
    k: int = 64
    """Active features per token."""
    context: int = 1024
    """Tokens of a row of text."""
    within_hours: float = 168.0
    """Devices are doubled until training takes no longer."""


def main(tables: Tables) -> None:
    """Print a table for each model."""
    for model, hookpoint in MODELS.items():
        print(f"\n{model}, {hookpoint}, k = {tables.k}, one epoch, training within {tables.within_hours:g} h\n")
        print(
            "| hardware | features | tokens | devices (data × features) | memory of each | batch | activations "
            "| collect | train | index of 10 M tokens |"
        )
        print("|---|---|---|---|---|---|---|---|---|---|")
        for hardware in tables.hardware:
            for n_features in tables.n_features:
                for tokens in tables.tokens:
                    settings = bs.PlanSettings(
                        model=model,
                        hookpoint=(hookpoint,),
                        n_features=n_features,
                        k=tables.k,
                        tokens=tokens,
                        epochs=1,
                        context=tables.context,
                        hardware=hardware,
                        within_hours=tables.within_hours,
                    )
                    print(_row(bs.plan(settings)), flush=True)


def _row(plan: Plan) -> str:
    layout, settings, train = plan.layout, plan.settings, plan.stage("train")
    times = {stage.name: duration(stage.seconds) + ("" if stage.fits else " (too large)") for stage in plan.stages}
    kept = "made anew" if "collect" not in times else f"kept, {bytes_text(plan.stage('collect').disk_bytes)}"
    devices = f"{layout.devices:,} ({layout.data_parallel} × {layout.feature_parallel})"
    cells = [
        settings.hardware,
        f"{settings.n_features:,}",
        f"{settings.tokens / 1e9:g} B",
        devices,
        bytes_text(train.memory_bytes) + ("" if train.fits else " (too large)"),
        f"{layout.batch_size:,}",
        kept,
        times.get("collect", "with training"),
        times["train"],
        times["index"],
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main(tyro.cli(Tables))
