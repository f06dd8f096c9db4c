"""Names of the ways to put a feature into words, as they stand in `words.parquet`."""

TOP, SET = "firing-information", "firing-set"
"""Read off the text on which the feature fires: single words one by one, or a short set of words."""
MUTUAL_INFORMATION = "mutual-information"
"""Words of the feature's direction."""
LOGIT_LENS, CONTEXTS, TF_IDF, N_GRAMS = "logit-lens", "contexts", "tf-idf", "n-grams"
"""Baselines: bare logits of the direction; three plain readings of the text."""

OF_TEXT = (TOP, SET, CONTEXTS, TF_IDF, N_GRAMS)
"""Methods that need activations."""
OF_DIRECTION = (MUTUAL_INFORMATION, LOGIT_LENS)
METHODS = (TOP, SET, MUTUAL_INFORMATION, LOGIT_LENS, CONTEXTS, TF_IDF, N_GRAMS)
"""In the order in which they are stored."""
DEFAULT_ORDER = (TOP, MUTUAL_INFORMATION)
"""The first of these that a folder has names its features."""
