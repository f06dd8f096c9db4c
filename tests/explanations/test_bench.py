"""The bench on its planted worlds: our forms find the words, the published ranking does not."""

import pytest

from bathyscope.errors import ConfigError
from bathyscope.evaluation.scores import Score
from bathyscope.explanations.bench import (
    BELIEVED,
    FOUND,
    LENS,
    LITERAL,
    LITERAL_RAW,
    POINTWISE,
    RIGHT,
    SCORES,
    TABLE,
    ExplanationBench,
    bench_explanations,
)

SCALES = (1.0, 3.0, 10.0, 300.0)


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> dict[tuple[str, str], Score]:
    out = tmp_path_factory.mktemp("bench")
    found = bench_explanations(ExplanationBench(features=None, seeds=(1,), scales=SCALES), out=out)
    assert (out / SCORES / TABLE).read_text().count("|") > 60
    return {(row.subject, row.metric): row for row in found}


def test_planted_words_are_found_at_every_scale_where_the_published_ranking_fails(rows):
    for scale in SCALES:
        value = {name: rows[f"directions: {name}, logits of std {scale:g}", FOUND].value
                 for name in (POINTWISE, LITERAL, LITERAL_RAW, LENS)}  # fmt: skip
        assert value[POINTWISE] >= 0.95
        assert value[LITERAL] <= 0.05
        assert value[LITERAL_RAW] <= 0.5
        assert value[LENS] <= 0.2


def test_words_read_off_text_are_the_planted_ones_and_bursts_are_not_believed(rows):
    assert rows["text: firing-information", FOUND].value >= 0.95
    assert rows["text: firing-set", RIGHT].value >= 0.95
    assert rows["text: firing-information", BELIEVED].value <= 0.06


def test_settings_out_of_range_are_refused():
    for wrong in ({"scales": ()}, {"n_scored": 0}, {"seeds": ()}, {"seeds": (1, 1)}):
        with pytest.raises(ConfigError):
            ExplanationBench(**wrong)
