"""The benchmark still runs; what it measures is for people to read."""

import benchmark


def test_it_runs(capsys):
    benchmark.main(["--steps", "3", "--rounds", "1", "--images", "50"])
    lines = capsys.readouterr().out.splitlines()
    assert sum(": a step" in line for line in lines) == 6
    assert sum(": a test of 50 images" in line for line in lines) == 6
