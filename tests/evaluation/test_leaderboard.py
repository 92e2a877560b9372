"""Proves that the table of recurrent networks shows means over seeds, and each published score in the right row."""

from vidseg_utils.evaluation.leaderboard import recurrent_table


def run(cell, miou, block="vanilla", size="small_shallow"):
    scores = {"miou": miou, "mean_accuracy": 0.5, "pixel_accuracy": 0.9, "flip_rate": 0.0125, "seconds_per_epoch": 7.4}
    return {"model": {"config": {"block": block, "cell": cell, "size": size}}, **scores}


def test_recurrent_networks_are_shown_with_their_published_scores():
    rows = [run("gru", 0.4), run("gru", 0.6), run("none", 0.1, block="convnext")]
    lines = [[part.strip() for part in line.split("|")[1:-1]] for line in recurrent_table(rows).splitlines()]
    assert {len(line) for line in lines} == {11}
    by_kind = {tuple(line[:3]): line[3:] for line in lines[2:]}
    assert by_kind["vanilla", "gru", "small_shallow"] == [
        "2", "0.500", "0.500", "0.900", "1.25%", "7", "0.371", "",
    ]  # fmt: skip
    assert by_kind["convnext", "none", "small_shallow"][:2] == ["1", "0.100"]
    assert by_kind["convnext", "none", "small_shallow"][-2:] == ["", ""]
    assert by_kind["vanilla", "none", "original"] == [""] * 6 + ["0.464", "0.874"]
    assert ("convnext", "gru", "original") not in by_kind, "neither trained nor published with a score"
