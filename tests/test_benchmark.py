"""The benchmark still runs; what it measures is for people to read."""

from extras import benchmark


def test_it_runs(capsys):
    benchmark.main(["--steps", "3", "--rounds", "1", "--images", "50"])
    lines = capsys.readouterr().out.splitlines()
    assert sum(": a step" in line for line in lines) == 7
    assert sum(": a test of 50 images" in line for line in lines) == 7
    assert any("window follows the mouse in" in line for line in lines)
    columns = {line.count("|") for line in lines if line.startswith("|")}
    assert columns == {2 + 3 * len(benchmark.places())}
