"""The best policies, drawn site by site."""

from collections.abc import Sequence

from autodropout.conclusions import conclusion
from autodropout.report import svg
from autodropout.report.markup import Markup, element, join
from autodropout.report.page.words import counted, figure, margin, more, section
from autodropout.report.record import Record
from autodropout.report.samples import SampleSettings, SiteSample, facts, sample_policy
from autodropout.report.tables import TopPolicy, lead, map_sizes

_OPEN = 3


def policies_section(record: Record, top: Sequence[TopPolicy]) -> Markup:
    """Return the best policies with masks drawn from their patterns."""
    if record.confirmed:
        words = (
            "Run again on fresh seeds, the same for each of them. The reward of a policy's search trial is "
            "shown beside it: it picked the policy, so it is usually higher than the mean."
        )
    else:
        words = "The search trials with the highest rewards; none of them has been confirmed on fresh seeds."
    legend = element("p", _key("dropped"), "dropped ", _key("kept"), "kept; each square is one draw")
    cards = (_policy(record, policy, rank) for rank, policy in enumerate(top, start=1))
    return section("policies", "Best policies", words, _lead(record), legend, *cards)


def _lead(record: Record) -> Markup | None:
    paired = lead(record)
    if paired is None:
        return None
    return element("p", conclusion("The best", "the second", paired), class_="verdict")


def _policy(record: Record, policy: TopPolicy, rank: int) -> Markup:
    found = policy.confirmed
    reward = element("strong", figure(found.reward), " ", element("small", margin(policy.summary)))
    notes = [f"trial {found.trial}", f"reward in the search {figure(policy.searched)}"]
    if found.rewards:
        notes += [f"on fresh seeds {', '.join(figure(reward) for reward in found.rewards)}"]
    notes += [f"schedule {found.policy.schedule}"] if found.policy.schedule != "constant" else []
    settings = SampleSettings(sizes=map_sizes(record.space), draws=6)
    samples = [sample for sample in sample_policy(found.policy, settings) if sample.keep]
    if samples:
        drawn = element("div", *(_site(sample) for sample in samples), class_="sites")
    else:
        drawn = element("p", "Every site is off: nothing is dropped anywhere.", class_="note")
    return element(
        "article",
        element("h3", f"{rank}. ", reward),
        element("p", " · ".join(notes), class_="note"),
        drawn if rank <= _OPEN else more(f"{counted(len(samples), 'site')} drawn", drawn),
        more("as JSON", element("pre", found.policy.to_json())),
        class_="policy",
    )


def _site(sample: SiteSample) -> Markup:
    masks = (
        svg.mask(keep, f"Draw {draw} of {sample.key}: {sample.description}")
        for draw, keep in enumerate(sample.keep, start=1)
    )
    wide = sample.keep[0].shape[1] > 2 * sample.keep[0].shape[0]
    return element(
        "div",
        element("h4", sample.key, " ", element("small", facts(sample))),
        element("p", sample.description, class_="note"),
        element("div", *masks, class_="masks wide" if wide else "masks"),
        class_="site",
    )


def _key(kind: str) -> Markup:
    return join([element("i", class_=f"swatch {kind}"), " "])
