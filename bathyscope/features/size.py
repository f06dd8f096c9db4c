"""How much memory an index takes, from its sizes alone: for refusals before work, and for plans of it."""

BATCH_VALUES = 1 << 26
"""Pre-activations held at once (256 MB in float32, and as much again while codes are chosen)."""
SPARE = 4
"""Near-miss candidates kept per example wanted: some repeat a text or a document."""
TOKEN_BYTES = 40
"""What is known of an indexed token: id, document, segment, tile, rows before."""
CANDIDATE_BYTES = 12
"""Value and row of a near-miss candidate."""


def batch_rows(n_features: int, batch_tokens: int) -> int:
    """Rows that are encoded at once, at least one."""
    return max(1, min(batch_tokens, BATCH_VALUES // n_features))


def index_bytes(n_features: int, *, n_tokens: int, near_misses: int, batch_tokens: int) -> int:
    """Memory of an index besides model and dictionary."""
    pre = 2 * 4 * batch_rows(n_features, batch_tokens) * n_features
    return TOKEN_BYTES * n_tokens + CANDIDATE_BYTES * SPARE * near_misses * n_features + pre
