from autodropout.engine.seeds import derived_seed


def test_known_value():
    """Ledgers hold what was drawn from these: they must never change."""
    assert derived_seed(0, 1, 2) == 16924791747493105428


def test_every_part_counts():
    parts = [(0,), (1,), (0, 0), (0, 1), (1, 0), ("0",), (0, "draw"), (-1,), (2**80,)]
    seeds = {derived_seed(*p) for p in parts}
    assert len(seeds) == len(parts)
    assert all(0 <= seed < 2**64 for seed in seeds)
