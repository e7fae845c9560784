import pytest

from autodropout.errors import SiteError
from autodropout.site import LAYOUTS, HasSites, Site


def test_a_site_knows_layout_role_and_shortcut():
    site = Site(name="block.bn", layout="NCHW", shortcut="block.shortcut")
    assert (site.name, site.layout, site.role, site.shortcut) == (
        "block.bn",
        "NCHW",
        None,
        "block.shortcut",
    )
    assert LAYOUTS == ("NCHW", "NHWC", "NTC", "TNC")


def test_an_unknown_layout_is_refused():
    with pytest.raises(SiteError, match=r"site \"bn\" has layout 'NWHC'; expected one of NCHW, NHWC,"):
        Site(name="bn", layout="NWHC")


def test_an_unknown_role_is_refused():
    with pytest.raises(SiteError, match=r"site \"q\" has role 'queries'; expected one of query, key,"):
        Site(name="q", layout="NTC", role="queries")


def test_a_module_with_the_method_has_sites():
    class Model:
        def autodropout_sites(self):
            return ()

    assert isinstance(Model(), HasSites)
    assert not isinstance(object(), HasSites)
