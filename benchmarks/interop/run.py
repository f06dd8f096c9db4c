"""Exchange dictionaries with other tools, both ways, and write the largest differences to results.md.

.venv/bin/python benchmarks/interop/run.py   (or `make interop`, which sets up the tools' own environments first)
"""

import dataclasses
import datetime as dt
import importlib.metadata
import logging
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

import bathyscope
from bathyscope.dictionaries.dictionary import Dictionary, SavedFormat, load_dictionary
from bathyscope.dictionaries.rules import Above, Largest, LargestAbsolute, Positive, Pursuit, Rule
from bathyscope.dictionaries.weights import Weights

ROOT = Path(__file__).resolve().parents[2]
HERE, ENVIRONMENTS = ROOT / "benchmarks" / "interop", ROOT / ".interop"
PEERS: dict[str, SavedFormat] = {
    "sae-lens": "saelens",
    "eai-sparsify": "sparsify",
    "dictionary-learning": "dictionary_learning",
}
"""Package → format; the environment of each is `.interop/PACKAGE`."""
LIMIT = 1e-5
N, D, F, D_OUT, K = 512, 32, 128, 24, 8


@dataclasses.dataclass(frozen=True)
class Row:
    """One exchange."""

    peer: str
    direction: str
    case: str
    active: float
    codes: float
    output: float

    @property
    def is_equal(self) -> bool:
        """Whether both differences are within the limit, on codes that say something."""
        return max(self.codes, self.output) <= LIMIT and self.active > 0


def main() -> int:
    """Exchange with every tool, write the table, and exit 1 when something differs."""
    logging.disable(logging.WARNING)  # cases are named after what they show, not after hookpoints
    rows: list[Row] = []
    versions = {}
    for package, name in PEERS.items():
        exchange = ENVIRONMENTS / "exchange" / package
        shutil.rmtree(exchange, ignore_errors=True)
        versions[package] = _talk(package, name, exchange)
        rows += [*_rows(package, exchange, "given"), *_rows(package, exchange, "made")]
    for row in rows:
        mark = "ok  " if row.is_equal else "FAIL"
        print(f"{mark} {row.peer:<20} {row.direction:<34} {row.case:<44} {row.codes:.1e} {row.output:.1e}")
    (HERE / "results.md").write_text(_table(rows, versions))
    return 0 if all(row.is_equal for row in rows) else 1


def _talk(package: str, name: SavedFormat, exchange: Path) -> str:
    """Write our files, let the tool open them and make its own; the tool's version."""
    python = ENVIRONMENTS / package / "bin" / "python"
    if not python.exists():
        sys.exit(f"error: {package} is not set up; run `make interop`")
    (exchange / "given").mkdir(parents=True)
    x_ND = torch.randn(N, D, generator=torch.Generator().manual_seed(0))
    save_file({"x": x_ND}, exchange / "x.safetensors")
    for case, dictionary in _ours(name):
        dictionary.save(exchange / "given" / case, format=name)
        codes, output = dictionary.encode(x_ND).dense(), dictionary.reconstruct(x_ND)
        save_file({"codes": codes, "output": output}, exchange / f"{case}.ours")
    script = HERE / f"peer_{name}.py"
    subprocess.run([python, script, exchange], check=True, cwd=exchange, stdout=subprocess.DEVNULL)
    ask = f"import importlib.metadata as m; print(m.version({package!r}))"
    return subprocess.run([python, "-c", ask], check=True, capture_output=True, text=True).stdout.strip()


def _rows(package: str, exchange: Path, side: str) -> Iterator[Row]:
    """Ours opened there (`given`), or theirs opened here (`made`)."""
    x_ND = load_file(exchange / "x.safetensors")["x"]
    for file in sorted((exchange / side).glob("*.safetensors")):
        theirs = load_file(file)
        if side == "given":
            ours = load_file(exchange / f"{file.stem}.ours")
        else:
            dictionary = load_dictionary(file.with_suffix(""))
            ours = {"codes": dictionary.encode(x_ND).dense(), "output": dictionary.reconstruct(x_ND)}
        codes = theirs["codes"] * theirs["length"]
        yield Row(
            peer=package,
            direction="written here, opened there" if side == "given" else "saved there, opened here",
            case=file.stem,
            active=float((codes != 0).sum(1).float().mean()),
            codes=float((codes - ours["codes"]).abs().max()),
            output=float((theirs["output"] - ours["output"]).abs().max()),
        )


def _ours(name: SavedFormat) -> Iterator[tuple[str, Dictionary]]:
    """Every dictionary that the format can hold."""
    rules: dict[str, Rule] = {
        "Positive": Positive(),
        "Largest": Largest(k=K),
        "LargestAbsolute": LargestAbsolute(k=K),
        "Above": Above(),
    }
    allowed = {"sparsify": ["Largest"], "dictionary_learning": ["Positive", "Largest", "Above"]}.get(name, list(rules))
    for rule in allowed:
        for subtract in (True, False):
            yield f"{rule}{'' if subtract else ', no subtraction'}", _dictionary(rules[rule], subtract=subtract)
    gain = 0.5 + torch.rand(F, generator=torch.Generator().manual_seed(9))
    made = _dictionary(Largest(k=K))
    yield "Largest with gain", dataclasses.replace(made, weights=dataclasses.replace(made.weights, gain=gain))
    if name == "saelens":
        yield "Above, layer-norm", _dictionary(Above(), normalise="layer-norm")
        yield "Above, constant-norm", _dictionary(Above(), normalise="constant-norm")
        yield "Pursuit", _pursuit()
        for rule in ("Positive", "Above"):
            yield f"{rule} transcoder", _transcoder(rules[rule], skips=False)
            yield f"{rule} skip transcoder", _transcoder(rules[rule], skips=True)
    if name == "sparsify":
        yield "Largest transcoder", _transcoder(Largest(k=K), skips=False, width=D)
        yield "Largest skip transcoder", _transcoder(Largest(k=K), skips=True, width=D)


def _dictionary(rule: Rule, *, subtract: bool = True, width: int = D, **changes: object) -> Dictionary:
    generator = torch.Generator().manual_seed(3)
    W_dec = torch.nn.functional.normalize(torch.randn(F, width, generator=generator), dim=1)
    weights = Weights(
        W_enc=torch.randn(D, F, generator=generator) / D**0.5,
        b_enc=0.3 * torch.randn(F, generator=generator),
        W_dec=W_dec,
        b_dec=torch.randn(width, generator=generator),
        threshold=0.5 * torch.rand(F, generator=generator) if isinstance(rule, Above) else None,
    )
    base = Dictionary(weights=weights, rule=rule, subtract_b_dec=subtract, hookpoint="layers.2")
    return dataclasses.replace(base, **changes)  # pyright: ignore[reportArgumentType]


def _pursuit() -> Dictionary:
    made = _dictionary(Pursuit(k=6, residual_threshold=0.5, stops_on_duplicate=True))
    weights = dataclasses.replace(made.weights, W_enc=made.W_dec.T.contiguous(), b_enc=torch.zeros(F))
    return dataclasses.replace(made, weights=weights)


def _transcoder(rule: Rule, *, skips: bool, width: int = D_OUT) -> Dictionary:
    made = _dictionary(rule, subtract=False, width=width, hookpoint=None, output_hookpoint="layers.2.mlp")
    skip = 0.2 * torch.randn(D, width, generator=torch.Generator().manual_seed(5))
    return dataclasses.replace(made, weights=dataclasses.replace(made.weights, W_skip=skip if skips else None))


def _table(rows: list[Row], versions: dict[str, str]) -> str:
    tools = ", ".join(f"{package} {version}" for package, version in versions.items())
    ours = f"bathyscope {bathyscope.__version__}, PyTorch {importlib.metadata.version('torch')}"
    head = f"""# Exchange with other tools, measured

Made by `make interop` on {dt.datetime.now(tz=dt.UTC).date()}: {tools}; {ours}.
{N} random activations of width {D}, {F} features. Largest absolute difference of any code (in units of what its feature
adds) and of any entry of the reconstruction; everything within {LIMIT:g} counts as equal.

| tool | direction | case | L0 | codes | reconstruction | |
|---|---|---|---|---|---|---|
"""
    lines = [
        f"| {row.peer} | {row.direction} | {row.case} | {row.active:.1f} | {row.codes:.1e} | {row.output:.1e} "
        f"| {'equal' if row.is_equal else '**differs**'} |"
        for row in rows
    ]
    worst = max(max(row.codes, row.output) for row in rows)
    n_equal = sum(row.is_equal for row in rows)
    return head + "\n".join(lines) + f"\n\n{n_equal} of {len(rows)} exchanges equal; largest difference {worst:.1e}.\n"


if __name__ == "__main__":
    sys.exit(main())
