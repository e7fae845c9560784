import pytest
from torch import nn

from autodropout.errors import SiteError
from autodropout.families import find_sites
from autodropout.families.base import walk
from autodropout.site import Site
from nets import Block, SmallNet


class Described(nn.Module):
    """Says whatever it is told to."""

    def __init__(self, *described: Site) -> None:
        super().__init__()
        self.described = described
        self.bn, self.other = nn.BatchNorm2d(2), nn.BatchNorm2d(2)

    def autodropout_sites(self):
        return self.described


def test_any_model_has_its_batch_normalisations():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Sequential(nn.BatchNorm2d(4), nn.ReLU()))
    assert find_sites(model) == (Site(name="1", layout="NCHW"), Site(name="2.0", layout="NCHW"))


def test_a_module_describes_itself_wherever_it_stands():
    assert find_sites(SmallNet())[1] == Site(name="blocks.0.bn", layout="NCHW", shortcut="blocks.0.shortcut")
    assert find_sites(Block(2)) == (Site(name="bn", layout="NCHW", shortcut="shortcut"),)


def test_a_description_speaks_for_all_that_is_inside():
    model = Described(Site(name="other", layout="NCHW"))
    assert [site.name for site in find_sites(nn.Sequential(model))] == ["0.other"]


def test_a_description_of_a_missing_module_is_refused():
    with pytest.raises(SiteError, match=r'the model has no module "0.norm"'):
        find_sites(nn.Sequential(Described(Site(name="norm", layout="NCHW"))))
    with pytest.raises(SiteError, match='the model has no module "shortcut"'):
        find_sites(Described(Site(name="bn", layout="NCHW", shortcut="shortcut")))


def test_a_site_described_twice_is_refused():
    with pytest.raises(SiteError, match=r"describes the sites \['bn'\] twice; describe each once"):
        find_sites(Described(Site(name="bn", layout="NCHW"), Site(name="bn", layout="NHWC")))


def test_a_module_under_two_names_is_one_site():
    norm = nn.BatchNorm2d(2)
    model = nn.Sequential(nn.Sequential(norm), nn.ReLU(), nn.Sequential(norm), norm)
    assert [site.name for site in find_sites(model)] == ["0.0"]


def test_the_first_adapter_that_answers_rules():
    model = nn.Sequential(nn.ReLU())
    adapters = (lambda m: None, lambda m: [Site(name="0", layout="NTC")], lambda m: [])
    assert walk(model, adapters) == (Site(name="0", layout="NTC"),)
