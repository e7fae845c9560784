import json
import os

import pytest

from autodropout.cli import checking, machine, main
from autodropout.cli.checking import Finding, directory_checks, findings
from autodropout.cli.machine import available_memory, machine_checks


@pytest.fixture
def quick(monkeypatch):
    """Without the check that starts a process."""
    monkeypatch.setattr(machine, "_workers", lambda: Finding(name="workers", state="ok", text="quick"))


def found(out):
    return {one.name: one for one in findings(directory_checks(out))}


def test_a_table_for_people_and_json_for_machines(capsys, quick, tmp_path):
    assert main(["doctor", "--out", str(tmp_path / "runs")]) == 0
    table = capsys.readouterr().out
    for name in ("directory", "free space", "durable writes", "locks", "cores", "memory", "GPUs", "Ray"):
        assert name in table
    assert main(["doctor", "--out", str(tmp_path / "runs"), "--json"]) == 0
    facts = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert {one["state"] for one in facts.values()} <= {"ok", "warn"}
    assert facts["free space"]["facts"]["bytes"] > 0
    assert facts["locks"]["facts"]["locks"] is True
    assert facts["cores"]["facts"]["usable"] >= 1
    assert os.listdir(tmp_path) == [], "nothing stays behind"


def test_what_would_fail_is_said_and_counts(capsys, quick, tmp_path):
    (tmp_path / "file").touch()
    assert main(["doctor", "--out", str(tmp_path / "file")]) == 1
    captured = capsys.readouterr()
    assert "-> name a directory" in captured.out
    assert captured.err.startswith("error: a search would not run here; see directory")


def test_a_directory_without_rights_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    directory = found(tmp_path)["directory"]
    assert (directory.state, directory.text) == ("fail", f"{tmp_path} may not be written to")


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="there is no /proc")
def test_where_nothing_can_be_made_every_check_that_writes_says_what_to_do(capsys, quick):
    assert main(["doctor", "--out", "/proc/x", "--json"]) == 1
    facts = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    for name in ("directory", "durable writes", "locks"):
        assert (facts[name]["state"], facts[name]["remedy"]) == ("fail", "choose another directory")
        if os.geteuid() == 0:
            assert facts[name]["text"] == "nothing can be written to /proc (No such file or directory)"


def test_a_network_file_system_is_warned_of(tmp_path, monkeypatch):
    monkeypatch.setattr("autodropout.engine.ledger_schema.on_network", lambda path: True)
    directory = found(tmp_path)["directory"]
    assert directory.state == "warn"
    assert "network file system, which is slow" in directory.text
    assert directory.facts["network"] is True


@pytest.mark.parametrize(("free", "state"), [(50 * 2**20, "fail"), (500 * 2**20, "warn"), (2**40, "ok")])
def test_free_space(tmp_path, monkeypatch, free, state):
    class Statistics:
        f_bavail, f_frsize, f_favail, f_files = free, 1, 1, 2

    monkeypatch.setattr(os, "statvfs", lambda path: Statistics)
    assert found(tmp_path)["free space"].state == state


def test_no_room_for_more_files_fails(tmp_path, monkeypatch):
    class Statistics:
        f_bavail, f_frsize, f_favail, f_files = 2**40, 1, 0, 100

    monkeypatch.setattr(os, "statvfs", lambda path: Statistics)
    space = found(tmp_path)["free space"]
    assert (space.state, space.text) == ("fail", "1024.0 GiB, no room for more files")


def test_a_slow_disk_is_warned_of(tmp_path, monkeypatch):
    monkeypatch.setattr(checking, "_SLOW_SYNC", 0.0)
    assert found(tmp_path)["durable writes"].state == "warn"
    monkeypatch.setattr(checking, "_SLOW_SYNC", 60.0)
    assert found(tmp_path)["durable writes"].state == "ok"


def test_locks_that_do_not_lock_fail(tmp_path, monkeypatch):
    monkeypatch.setattr("filelock.FileLock.acquire", lambda self, *_, **__: self)
    locks = found(tmp_path)["locks"]
    assert locks.state == "fail"
    assert locks.text.startswith("a second search would be let in")


def test_a_check_that_cannot_be_made_is_a_finding():
    def broken():
        raise OSError("the\ndisk is gone")

    [one] = findings({"disk": broken})
    assert (one.name, one.state, one.text) == ("disk", "fail", "the disk is gone")


def test_a_containers_share_of_the_memory(tmp_path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  2048 kB\nMemAvailable:    1024 kB\n")
    assert available_memory(tmp_path, meminfo) == 2**20
    (tmp_path / "memory.max").write_text("max\n")
    assert available_memory(tmp_path, meminfo) == 2**20
    (tmp_path / "memory.max").write_text("300000\n")
    (tmp_path / "memory.current").write_text("100000\n")
    assert available_memory(tmp_path, meminfo) == 200000
    assert available_memory(tmp_path, tmp_path / "none") is None


def test_little_memory_is_warned_of_with_a_number_of_workers(monkeypatch):
    monkeypatch.setattr(machine, "available_memory", lambda: 2 * 2**30)
    monkeypatch.setattr(machine, "usable_cores", lambda: 8)
    memory = machine_checks(None)["memory"]()
    assert (memory.state, memory.remedy) == ("warn", "use at most --workers 2")


def test_a_busy_machine_is_warned_of(monkeypatch):
    monkeypatch.setattr(os, "getloadavg", lambda: (64.0, 0.0, 0.0))
    assert machine_checks(None)["cores"]().state == "warn"
    monkeypatch.setattr(os, "getloadavg", lambda: (0.1, 0.0, 0.0))
    assert machine_checks(None)["cores"]().state == "ok"


def test_gpus_are_named_and_busy_ones_are_warned_of(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: f"Card {number}")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda number: ((number + 1) * 2**33, 2**35))
    gpus = machine_checks(None)["GPUs"]()
    assert gpus.text == "Card 0 (8 of 32 GiB free), Card 1 (16 of 32 GiB free)"
    assert gpus.state == "warn"


def test_a_worker_is_really_started():
    worker = machine._workers()
    assert worker.state in ("ok", "warn")
    assert 0 < worker.facts["trial_seconds"] < worker.facts["start_seconds"]


def test_a_cluster_that_is_not_there_fails():
    pytest.importorskip("ray")
    ray = machine_checks("127.0.0.1:1")["Ray"]()
    assert ray.state == "fail"
    assert ray.text.startswith("there is no Ray cluster at '127.0.0.1:1'")


@pytest.mark.parametrize(("address", "state"), [(None, "ok"), ("auto", "fail")])
def test_ray_need_not_be_installed_unless_it_is_asked_for(monkeypatch, address, state):
    monkeypatch.setattr(machine, "find_spec", lambda name: None)
    ray = machine_checks(address)["Ray"]()
    assert (ray.state, ray.text) == (state, "not installed; only --executor ray needs it")


def test_a_cluster_is_counted(monkeypatch):
    pytest.importorskip("ray")
    facts = {"version": "9.9", "nodes": 3, "cpus": 12.0, "gpus": 1.0}
    monkeypatch.setattr("autodropout.engine.executors.ray.connecting.facts", lambda address: facts)
    ray = machine_checks("auto")["Ray"]()
    assert ray.text == "9.9, auto: 3 nodes, 12 CPUs, 1 GPUs"
