from autodropout.report.markup import Markup, element, join, number


def test_content_and_attributes_are_escaped():
    hostile = "<script>'\"&"
    assert element("p", hostile, title=hostile) == (
        '<p title="&lt;script&gt;&#x27;&quot;&amp;">&lt;script&gt;&#x27;&quot;&amp;</p>'
    )


def test_markup_stays_as_it_is():
    assert element("div", element("b", "x"), Markup("<i></i>"), None) == "<div><b>x</b><i></i></div>"


def test_attributes_have_their_own_spelling():
    written = element("td", class_="num", data_order=1.5, tabindex=0, hidden=True, title=None, open=False)
    assert written == '<td class="num" data-order="1.5" tabindex="0" hidden></td>'


def test_void_elements_have_no_end():
    assert element("meta", charset="utf-8") == '<meta charset="utf-8">'


def test_parts_are_joined():
    assert join(["<", None, Markup("<"), ""]) == "&lt;<"
    assert isinstance(join([]), Markup)


def test_coordinates_are_short():
    assert [number(v) for v in (1.0, 1.239, -0.001, 100.0, 0.5)] == ["1", "1.24", "0", "100", "0.5"]
