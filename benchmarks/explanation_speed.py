"""CPU seconds and memory of both estimators for dictionaries of several sizes, beside the encoder's matrix product.

    python benchmarks/explanation_speed.py 4608 16384 65536 --tokens 200000

Each size runs in a process of its own: random directions of SmolLM2's width, 32 codes a token, text
of 5,000 words with Zipf's frequencies. `product` is the bare product of all tokens with the encoder, the floor of any
method that reads every feature's activations. Codes are drawn, not computed: `firing` is the estimator alone (ranking,
shifts, sets); add `product` for the whole.
"""

import argparse
import multiprocessing
import tempfile
import time
from pathlib import Path

K, D_MODEL, N_WORDS, CONTEXT, DOCUMENT = 32, 576, 5000, 128, 512


def measure(n_features: int, n_tokens: int, n_shifts: int) -> dict[str, float]:
    """Seconds of each part, and the peak of this process in MB."""
    import numpy as np
    import torch

    from bathyscope import runtime
    from bathyscope.explanations.by_text import words_of_text
    from bathyscope.explanations.firing_information import FiringInformation
    from bathyscope.explanations.mutual_information import WordModel
    from bathyscope.explanations.reading import WINDOW, Reading
    from bathyscope.explanations.units import text_units
    from bathyscope.features.corpus import corpus_of
    from bathyscope.features.postings import RUN_ENTRIES, Postings, PostingsWriter
    from bathyscope.features.tokens import TokenTable

    rng, found = np.random.default_rng(0), dict[str, float]()
    x_ND, W_enc_DF = torch.randn(8192, D_MODEL), torch.randn(D_MODEL, n_features)
    start = time.process_time()
    for chunk in x_ND.split(1024):
        chunk @ W_enc_DF
    found["product"] = (time.process_time() - start) * n_tokens / len(x_ND)
    start = time.process_time()
    words = WordModel.fit(torch.randn(n_features, D_MODEL), torch.randn(N_WORDS, D_MODEL), k=1.5, bayes=False)
    for chunk in words.U_FD.split(64):
        words.ranked(chunk, n=15)
    found["direction"] = time.process_time() - start
    with tempfile.TemporaryDirectory() as folder:
        writer = PostingsWriter(Path(folder), n_features=n_features)
        for first in range(0, n_tokens, RUN_ENTRIES // K):
            rows = np.arange(first, min(first + RUN_ENTRIES // K, n_tokens))
            features = (n_features * rng.random((len(rows), K)) ** 2).astype(np.int64)
            pairs = np.unique(np.repeat(rows, K) * n_features + features.ravel())
            writer.add(pairs % n_features, pairs // n_features, np.ones(len(pairs)))
            writer.flush()
        names = [f" w{''.join(chr(97 + int(digit)) for digit in str(i))}".encode() for i in range(N_WORDS)]
        table = TokenTable(tuple(names), frozenset())
        tokens = np.minimum(rng.zipf(1.3, n_tokens) - 1, N_WORDS - 1)
        positions = np.arange(n_tokens)
        corpus = corpus_of(
            tokens=tokens,
            documents=positions // DOCUMENT,
            positions=positions % CONTEXT,
            kept=np.ones(n_tokens, dtype=bool),
            read=lambda own: torch.zeros(len(own), 1),
            tile=WINDOW,
        )
        units = text_units(corpus.tokens, corpus.documents, table)
        reading = Reading(corpus=corpus, units=units, postings=Postings((Path(folder), writer.n_runs)))
        start = time.process_time()
        words_of_text(reading, FiringInformation(n_shifts=n_shifts), table, n=15, seed=0)
        found["firing"] = time.process_time() - start
    return {**found, "MB": runtime.peak_memory_bytes() / 1e6}


def main() -> None:
    """Print a Markdown table, one row per size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", type=int, nargs="+", help="features of each dictionary")
    parser.add_argument("--tokens", type=int, default=200_000, help="tokens that are read")
    parser.add_argument("--shifts", type=int, default=39, help="circular shifts")
    given = parser.parse_args()
    print(f"{given.tokens:,} tokens, {K} features a token, {given.shifts} shifts; CPU seconds\n")
    print("| features | product | direction | firing, all methods of the text | all / product | peak MB |")
    print("|---|---|---|---|---|---|")
    context = multiprocessing.get_context("spawn")
    for size in given.sizes:
        with context.Pool(1) as pool:
            found = pool.apply(measure, (size, given.tokens, given.shifts))
        whole = found["product"] + found["direction"] + found["firing"]
        cells = [f"{found[name]:.1f}" for name in ("product", "direction", "firing")]
        print(f"| {size:,} | {' | '.join(cells)} | {whole / found['product']:.2f} | {found['MB']:.0f} |", flush=True)


if __name__ == "__main__":
    main()
