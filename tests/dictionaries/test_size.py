"""Room of a dictionary in training, by hand."""

from bathyscope.dictionaries import size


def test_weights_averages_and_checkpoints_of_ten_features_of_width_three():
    assert size.weight_bytes(10, 3) == 2 * 10 * 3 * 4 == 240
    assert size.kept_bytes(10, 3) == 3 * 240
    assert size.disk_bytes(10, 3) == 240 + 2 * 3 * 240


def test_a_step_holds_gradients_rows_pairs_and_a_piece_of_the_pre_activations():
    whole = size.step_bytes(10, 3, k=2, batch_size=5, buffer_bytes=10**6)
    assert whole == 240 + 6 * 5 * 3 * 4 + 5 * 2 * 40 + 5 * 10 * 4
    small = size.step_bytes(10, 3, k=2, batch_size=5, buffer_bytes=80)
    assert whole - small == 5 * 10 * 4 - 80
    least = size.step_bytes(10, 3, k=2, batch_size=5, buffer_bytes=1)
    assert small - least == 80 - 10 * 4, "one row is always held"
