from bathyscope.risk.law_search import LawSearch
from bathyscope.risk.worlds.hidden_branch import HiddenBranchSettings
from bathyscope.studies.hidden_branch import HiddenBranchBench, bench_hidden_branch

SMALL = HiddenBranchBench(
    world=HiddenBranchSettings(n_layers=1, d_model=16, n_heads=2, d_hidden=32, n_steps=60, batch_size=64, lr=1e-2),
    search=LawSearch(n_round=64, n_check=64, n_weighed=64, most_rounds=10),
    forward=1500,
    n_pilot=128,
    hookpoint="h.0",
    n_seeds=2,
)


def test_every_way_of_looking_is_measured_at_one_budget_and_found_again(tmp_path):
    rows = bench_hidden_branch(SMALL, out=tmp_path / "run")
    ways = {row.subject for row in rows if row.metric == "found"}
    assert ways == {
        "sampling",
        "search for an input, ordinary changes",
        "search for an input, level changes",
        "search for a law",
    }
    assert {row.metric for row in rows if row.subject == "as it is"} == {
        "answers with the hidden word, late",
        "right answers, ordinary",
    }
    assert "P(year >= 2032)" in (tmp_path / "run" / "scores" / "table.md").read_text()
    assert bench_hidden_branch(SMALL, out=tmp_path / "run") == rows
