"""Keys that match no site although a module bears the name; other unknown names are tested with ``match``."""

import pytest
from torch import nn

from autodropout.errors import SiteError
from autodropout.families import find_sites
from autodropout.matching import match
from autodropout.pattern import TokenPattern
from autodropout.policy import Policy
from tiny_transformers import TINY

TOKEN = TokenPattern(size=1)


def refusal(model: nn.Module, key: str) -> str:
    with pytest.raises(SiteError) as error:
        match(model, Policy({key: TOKEN}))
    return str(error.value)


def test_a_fused_projection_is_split_into_sites():
    model = TINY["gpt2"].build()
    key = next(name for name, _ in model.named_modules() if name.endswith("h.1.attn.c_attn"))
    parts = ", ".join(f'"{key.replace("c_attn", role)}"' for role in ("query", "key", "value"))
    assert refusal(model, key) == (
        f"the policy's key '{key}' is a fused projection, which is split into the sites {parts}; name those, "
        'or "role:query", "role:key", "role:value"'
    )
    assert "is a fused projection, which is split into the sites" in refusal(model, key.replace("1", "*"))


@pytest.mark.parametrize("family", ["gpt-neox", "phi3", "bloom", "modernbert", "deberta"])
def test_so_are_others(family):
    model = TINY[family].build()
    sites = [site for site in find_sites(model) if site.role == "key"]
    fused = sites[0].module_name.partition("._autodropout")[0]
    assert "is a fused projection, which is split into the sites" in refusal(model, fused)


def test_what_has_its_parts_inside_is_no_fused_projection():
    model = nn.Sequential(nn.MultiheadAttention(8, 2))
    message = '"0" is a MultiheadAttention, no site; the sites there are "0.query"'
    assert refusal(model, "0").startswith(message)
