import pytest

import autodropout as ad
from autodropout.benchmark import landscapes
from autodropout.errors import DataError, UsageError


def test_every_packaged_landscape_loads():
    for name in ad.benchmark.names():
        benchmark = ad.benchmark.load(name)
        assert benchmark.name == name
        assert len(benchmark.trials) >= 600
        assert benchmark.noise.pooled.sd > 0


def test_a_packaged_landscape_is_found_by_name(release, tmp_path, monkeypatch):
    monkeypatch.setattr(landscapes, "_home", lambda: tmp_path)
    release.save(tmp_path / "toy.jsonl")
    (tmp_path / "README.md").write_text("not one")
    assert ad.benchmark.names() == ("toy",)
    benchmark = ad.benchmark.load("toy")
    assert repr(benchmark) == f"Benchmark('toy', {len(release.trials)} trials)"
    assert benchmark.release.to_text() == release.to_text()
    with pytest.raises(UsageError, match=r"no benchmark 'ptb'; this version has: toy. .* ends in .jsonl"):
        ad.benchmark.load("ptb")


def test_a_landscape_of_ones_own_is_a_file(release, tmp_path):
    release.save(tmp_path / "mine.jsonl")
    assert ad.benchmark.load(tmp_path / "mine.jsonl").name == "mine"
    with pytest.raises(UsageError, match=r"nothing.jsonl cannot be read \(No such file"):
        ad.benchmark.load(tmp_path / "nothing.jsonl")
    (tmp_path / "noise.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="is no text"):
        ad.benchmark.load(str(tmp_path / "noise.jsonl"))


def test_the_space_is_that_of_most_trials(benchmark):
    from toy_landscape import SPACE

    assert benchmark.space == SPACE
