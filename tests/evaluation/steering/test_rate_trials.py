"""From a folder of answers to a folder of figures: the right way wins, nulls do not, and it resumes."""

import json
from dataclasses import dataclass

import pytest
from evaluation.steering.made_up import sea_and_money

from bathyscope import artifacts
from bathyscope.artifacts import Recipe
from bathyscope.errors import ConfigError
from bathyscope.evaluation.steering.answers import read_answers
from bathyscope.evaluation.steering.judges.judge import Aspect, Known
from bathyscope.evaluation.steering.judges.words import WordsJudge
from bathyscope.evaluation.steering.rate_trials import RATINGS, TABLE, Comparison, rate_trials, read_ratings

TEXTS = {"right": "A ship sailed past the bank with gold.", "random": "Nothing of the sort.", "plain": "A day."}


@dataclass
class Constant:
    """Calls everything right."""

    aspect: Aspect
    name: str = "constant"
    n_asked: int = 0

    def rate(self, answers) -> list[int | None]:
        self.n_asked += len(answers)
        return [2 for _ in answers]

    def calibration(self) -> list[Known]:
        return [Known(is_true=bool(i % 2), rating=2, group=str(i)) for i in range(8)]


@pytest.fixture
def trials(tmp_path):
    rows = [
        {
            "concept": concept,
            "method": method,
            "factor": factor,
            "instruction": i,
            "prompt": f"Instruction {i}.",
            "tokens": [1, 2],
            "text": TEXTS[method] if factor != 4.0 else "Broken.",
        }
        for concept in ("sea", "money")
        for method in TEXTS
        for factor in ((0.0,) if method == "plain" else (1.0, 4.0))
        for i in range(4)
    ]
    with artifacts.draft(tmp_path / "trials", Recipe(kind="trials", config={})) as work:
        artifacts.write_atomic(work.path / "trials.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode())
    return tmp_path / "trials"


def judges():
    return [WordsJudge(definitions=sea_and_money()), Constant("instruction"), Constant("fluency")]


def test_the_right_way_wins_and_nulls_stand_beside(trials, tmp_path):
    rows = rate_trials(
        trials,
        judges(),
        out=tmp_path / "out",
        nulls=["random"],
        comparisons=[Comparison(method="right", beside=("random", "plain"))],
    )
    found = {(row.subject, row.metric): row.value for row in rows}
    assert found["right", "score · words"] == 2 and found["random", "score · words"] == 0
    assert found["right", "score of sea at 4"] == 0
    assert found["right", "score, less that of random and plain · words"] == 2
    assert not any("times that of" in metric for _, metric in found), "nothing is no multiple of nothing"
    assert found["judge of concept: words", "specificity"] == 1
    assert found["judge of instruction: constant", "specificity"] == 0, (
        "a judge that calls everything right is shown up"
    )
    table = (tmp_path / "out" / TABLE).read_text()
    assert "| right | 2.00 [2.00, 2.00] | 2.00 | 2.00 | 2.00 | 1 to 1 |" in table and "| random° |" in table
    assert (tmp_path / "out" / "chart-sea.svg").read_text().startswith("<svg")
    ratings = [json.loads(line) for line in (tmp_path / "out" / RATINGS).read_text().splitlines()]
    assert len(ratings) == 40 and ratings[0]["ratings"]["concept: words"] == 2
    read = read_ratings(tmp_path / "out")
    assert [row.answer for row in read] == read_answers(trials)
    assert [row.ratings["concept", "words"] for row in read] == [row["ratings"]["concept: words"] for row in ratings]


def test_what_judges_have_said_is_kept_when_a_later_one_fails(trials, tmp_path):
    class Gone(Constant):
        def rate(self, answers):
            raise ConfigError("gone")

    first = Constant("instruction")
    with pytest.raises(ConfigError, match="gone"):
        rate_trials(trials, [judges()[0], first, Gone("fluency")], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    second = Constant("instruction")
    rate_trials(trials, [judges()[0], second, Constant("fluency")], out=tmp_path / "out")
    assert (first.n_asked, second.n_asked) == (40, 0)


def test_every_aspect_needs_a_judge(trials, tmp_path):
    with pytest.raises(ConfigError, match="no judge rates fluency"):
        rate_trials(trials, judges()[:2], out=tmp_path / "out")
