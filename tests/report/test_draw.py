import sys

import numpy as np
import pytest
from rich.console import Console

from autodropout.errors import UsageError
from autodropout.pattern import ConvPattern, TokenPattern
from autodropout.policy import Policy
from autodropout.report.draw import save_png, terminal_picture
from autodropout.report.samples import SampleSettings, SiteSample, sample_policy

POLICY = Policy(
    {
        "block1.bn1": ConvPattern(height=2, width=2, stride=1, repeat="fill", rotate=30.0, residual=True),
        "bn": ConvPattern(height=0, width=0),
        "a.site.with.a.very.long.name.in.a.big.model.layer3.11.conv_block.bn2": ConvPattern(
            height=8,
            width=4,
            stride=4,
            repeat=2,
            rotate=75.0,
            shear_x=-0.4,
            shear_y=0.2,
            rate=0.5,
            residual=True,
        ),
        "role:ffn": TokenPattern(size=4, stride=2, share_t=True, rate=0.3),
        "tiny": ConvPattern(height=1, width=1),
    }
)
SETTINGS = SampleSettings(size=(8, 8), sizes={"tiny": (1, 1)})


def sample(*keep: list[list[int]]) -> SiteSample:
    masks = tuple(np.array(mask, dtype=bool) for mask in keep)
    return SiteSample(key="k", description="words", axes="a map", drop_rate=0.25, keep=masks)


def printed(samples, width=80) -> str:
    console = Console(width=width, force_terminal=False)
    with console.capture() as capture:
        console.print(terminal_picture(samples))
    return capture.get()


def test_two_rows_share_a_line():
    text = printed([sample([[1, 0, 1, 0], [1, 1, 0, 0], [0, 1, 1, 0]])])
    assert text.splitlines()[:6] == [
        "k   drops 25% of a map",
        "  words".ljust(80),
        "┌────┐",
        "│ ▀▄█│",
        "│▀  ▀│",
        "└────┘",
    ]


def test_as_many_masks_as_fit_stand_in_one_row():
    mask = [[1] * 20] * 4
    assert printed([sample(mask, mask, mask, mask)], width=80).count("┌") == 3
    assert printed([sample(mask, mask)], width=80).count("┌") == 2
    assert printed([sample(mask, mask)], width=22).count("┌") == 1


def test_of_large_masks_the_upper_left_is_drawn():
    keep = np.ones((100, 200), dtype=int)
    keep[:2, ::2] = 0
    text = printed([sample(keep.tolist())])
    assert "drawn: the upper left 48 x 48" in " ".join(text.split())
    (first,) = [line for line in text.splitlines() if "█" in line]
    assert first == f"│{'█ ' * 24}│"
    assert "drawn:" not in printed([sample([[1] * 48] * 48)])


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_everything_can_be_printed(width):
    text = printed(sample_policy(POLICY, SETTINGS), width)
    assert all(len(line) <= width for line in text.splitlines())
    assert "".join(text.split()).count("drops") == 4
    assert "bn   off" in text
    assert "│▀│" in text


def test_an_empty_policy_says_so():
    assert printed(()) == "The policy is empty: nothing is dropped anywhere.\n"


def test_the_png_shows_each_mask(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    figures = []
    original = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *a, **k: figures.append(self) or original(self, *a, **k)
    )
    samples = sample_policy(POLICY, SETTINGS)
    save_png(samples, tmp_path / "p.png", "a title")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    (figure,) = figures
    (page,) = figure.axes
    shown = [np.asarray(image.get_array()) for image in page.images]
    assert all(np.array_equal(a, b) for a, b in zip(shown, [k for s in samples for k in s.keep], strict=True))
    texts = [text.get_text() for text in page.texts]
    assert "a title" in texts
    assert {"block1.bn1", "bn", "off", "drops 44.4% of a map of 8 x 8"} <= set(texts)
    assert [label.get_text() for label in page.get_legend().get_texts()] == ["kept", "dropped"]


def test_dropped_is_dark_on_the_png(tmp_path):
    import matplotlib.image

    def dark(value: int) -> float:
        save_png([sample([[value] * 8] * 8)], tmp_path / "p.png")
        return float((matplotlib.image.imread(tmp_path / "p.png")[..., :3].mean(axis=2) < 0.5).mean())

    assert dark(0) > 0.12 > 0.05 > dark(1)


def test_nothing_on_the_png_overlaps_or_is_cut_off(tmp_path, monkeypatch):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: figures.append(self))
    title = "digits: Best policy: reward 0.9645 ± 0.0015 over 3 fresh seeds (trial 25)"
    save_png(sample_policy(POLICY, SETTINGS), tmp_path / "p.png", title)
    (figure,) = figures
    (page,) = figure.axes
    renderer = FigureCanvasAgg(figure).get_renderer()
    width, height = figure.canvas.get_width_height()
    boxes = [text.get_window_extent(renderer) for text in page.texts]
    boxes += [image.get_window_extent(renderer) for image in page.images]
    boxes += [page.get_legend().get_window_extent(renderer)]
    for box in boxes:
        assert 0 <= box.x0 <= box.x1 <= width
        assert 0 <= box.y0 <= box.y1 <= height
    for place, box in enumerate(boxes):
        assert not any(box.shrunk(0.99, 0.99).overlaps(other) for other in boxes[place + 1 :])


@pytest.mark.slow
def test_very_many_sites_and_none_make_a_png(tmp_path):
    import matplotlib.image

    policy = Policy({f"layer{n}.bn": ConvPattern(height=1, width=1) for n in range(400)})
    save_png(sample_policy(policy, SampleSettings(size=(4, 4), draws=1)), tmp_path / "many.png")
    assert max(matplotlib.image.imread(tmp_path / "many.png").shape) < 2**16
    save_png((), tmp_path / "none.png", "nothing")
    assert (tmp_path / "none.png").stat().st_size > 0


def test_without_matplotlib_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UsageError, match=r"matplotlib.*pip install matplotlib"):
        save_png((), tmp_path / "p.png")


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(
        UsageError, match=r"p\.png cannot be written \(No such file or directory\); name another"
    ):
        save_png((), tmp_path / "missing" / "p.png")
