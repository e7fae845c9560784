import pytest

from autodropout.engine.executors.cluster import Cluster
from autodropout.errors import UsageError


@pytest.mark.parametrize(
    ("cpus", "gpus", "nodes", "room"),
    [
        (1, 0, [{"CPU": 4.0}, {"CPU": 2.0, "GPU": 1.0}], 6),
        (3, 0, [{"CPU": 4.0}, {"CPU": 2.0}], 1),
        (0.1, 0, [{"CPU": 1.0}], 10),
        (0.3, 0, [{"CPU": 1.0}], 3),
        (2, 1, [{"CPU": 16.0, "GPU": 4.0}, {"CPU": 4.0, "GPU": 4.0}, {"CPU": 64.0}], 6),
        (0, 0.25, [{"CPU": 2.0, "GPU": 2.0}], 8),
        (1, 0.4, [{"CPU": 16.0, "GPU": 3.0}], 6),
        (1, 2, [{"CPU": 16.0, "GPU": 3.0}], 1),
        (1, 0, [], 0),
        (1, 0, [{"memory": 1e9}], 0),
    ],
)
def test_room_is_counted_node_by_node(cpus, gpus, nodes, room):
    assert Cluster(cpus=cpus, gpus=gpus).room(nodes) == room


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"cpus": -1}, "cpus is -1; expected a number of at least 0"),
        ({"cpus": float("nan")}, "cpus is nan; expected a number of at least 0"),
        ({"gpus": "1"}, "gpus is '1'; expected a number of at least 0"),
        ({"gpus": True}, "gpus is True; expected a number"),
        ({"gpus": 1.5}, "gpus is 1.5; above 1, only whole numbers can be given out"),
        ({"gpus": 1e-5}, "gpus is 1e-05; the smallest share is 0.0001"),
        ({"cpus": 0}, "cpus and gpus are both 0; a trial has to take something, such as cpus=1"),
        ({"slots": 0}, "slots is 0; expected a whole number of at least 1, or None"),
        ({"slots": 1.0}, r"slots is 1\.0; expected a whole number of at least 1, or None"),
        ({"address": " "}, "address is ' '; expected 'auto', 'host:port', or None"),
        ({"address": 6379}, "address is 6379; expected 'auto', 'host:port', or None"),
    ],
)
def test_what_no_cluster_can_do_is_refused(settings, text):
    with pytest.raises(UsageError, match=text):
        Cluster(**settings)
