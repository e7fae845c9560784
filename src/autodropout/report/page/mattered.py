"""Which values of which choice mattered."""

from autodropout.report.effects import ChoiceEffect, Effects
from autodropout.report.markup import Markup, element, join
from autodropout.report.page.charts import effect_chart, effect_domain
from autodropout.report.page.words import cell, figure, margin, more, named, percent, section, table

_SHOWN = 6


def effects_section(effects: Effects) -> Markup:
    """Return the choices that explain most of the reward's variance, and all others as a table."""
    words = (
        "Mean reward and its 95% interval for every value, over the trials in which the choice was live. "
        "Read it as a hint: a searcher that learns draws good values together, so an effect may belong to "
        "its neighbour, and a trial without a reward is not in the mean. The line is the mean of all trials."
    )
    ranked = [effect for effect in effects.choices if effect.explained is not None]
    if not ranked:
        content = [element("p", "Too few trials with a reward to tell.", class_="note")]
    else:
        domain = effect_domain(ranked[:_SHOWN], effects.mean)
        charts = (_card(effect, effects, domain) for effect in ranked[:_SHOWN])
        content = [*_chance(effects), element("div", *charts, class_="grid three top"), _all(effects)]
    return section("effects", "What mattered", words, *content)


def _card(effect: ChoiceEffect, effects: Effects, domain: tuple[float, float]) -> Markup:
    return element(
        "figure",
        element(
            "figcaption",
            element("b", _name(effect)),
            f" explains {percent(max(0.0, effect.explained or 0.0))} ({effect.n} trials)",
        ),
        effect_chart(effect, effects, domain),
    )


def _chance(effects: Effects) -> list[Markup]:
    if effects.chance is None:
        return []
    strongest = effects.choices[0].explained or 0.0
    verdict = "is above" if strongest > effects.chance else "does not reach"
    sentence = element(
        "p",
        f"With {effects.n} trials and {len(effects.choices)} choices, chance alone makes the strongest "
        f"choice explain up to {percent(max(0.0, effects.chance))} (95% of shuffled studies); the strongest "
        f"here {verdict} that.",
        class_="verdict",
    )
    return [sentence]


def _all(effects: Effects) -> Markup:
    headings = [
        ("site", False),
        ("choice", False),
        ("value", False),
        ("mean reward", True),
        ("95% interval", True),
        ("trials", True),
        ("without reward", True),
        ("explained by choice", True),
    ]
    rows = [row for effect in effects.choices for row in _rows(effect)]
    return more(f"All {len(effects.choices)} choices", table(headings, rows, sortable=True))


def _rows(effect: ChoiceEffect) -> list[list[Markup]]:
    return [
        [
            cell(effect.site or "(policy)"),
            cell(effect.name),
            cell(named(effect.name, value.value)),
            cell(figure(value.summary.mean if value.summary else None), numeric=True),
            cell(margin(value.summary), numeric=True),
            cell(str(value.summary.n if value.summary else 0), numeric=True),
            cell(str(value.without), numeric=True),
            cell(percent(effect.explained), order=effect.explained, numeric=True),
        ]
        for value in effect.values
    ]


def _name(effect: ChoiceEffect) -> Markup:
    return join([f"{effect.site} " if effect.site else "", effect.name])
