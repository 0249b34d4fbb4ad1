import pytest

from components.pages.words import figure, name, percent


@pytest.mark.parametrize(
    ("share", "written"),
    [
        (0, "0 %"),
        (1, "100 %"),
        (0.5, "50.0 %"),
        (0.0004, "< 0.1 %"),
        (0.9996, "> 99.9 %"),
        (0.999, "99.9 %"),
    ],
)
def test_a_share_is_0_or_100_percent_only_where_it_is_just_that(share, written):
    assert percent(share) == written


def test_scores_are_written_to_be_read():
    assert figure(0.98765) == "0.988"
    assert figure(None) == "–"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("<b>&", "&lt;b&gt;&amp;"),
        ("\"onclick='", "&#34;onclick=&#39;"),
        ("a/b_c-d.jpg", "a/<wbr>b_<wbr>c-<wbr>d.<wbr>jpg"),
        ("../x", "../<wbr>x"),
        ("a\nb", 'a<i class="odd">\\n</i>b'),
        ("\u202egpj", '<i class="odd">\\u202e</i>gpj'),
        (
            "\x00\x7f\udcff\xa0",
            "".join(f'<i class="odd">{x}</i>' for x in (r"\x00", r"\x7f", r"\udcff", r"\xa0")),
        ),
        (" a  b ", '<i class="odd">␣</i>a<i class="odd">␣␣</i>b<i class="odd">␣</i>'),
        ("grün 日本 می\u200cخواهم", "grün 日本 می\u200cخواهم"),
        ("", ""),
    ],
)
def test_a_name_is_seen_as_what_it_is(text, written):
    assert name(text) == written


def test_a_long_path_keeps_both_its_ends():
    written = name("start" + "x" * 4000 + "end")
    assert written.startswith("startx")
    assert written.endswith("xend")
    assert len(written) == 301
