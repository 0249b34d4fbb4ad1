"""Numbers and names as they are written everywhere."""

import pytest

from components.words import count_text, name_list, number_text, printable, size_text


def test_numbers_are_written_to_be_read() -> None:
    assert number_text(1234567) == "1,234,567"
    assert count_text(1, "image") == "1 image"
    assert count_text(2000, "class", "classes") == "2,000 classes"
    assert count_text(0, "file") == "0 files"


@pytest.mark.parametrize(
    ("number", "written"),
    [
        (0, "0 B"),
        (1023, "1,023 B"),
        (1024, "1 KiB"),
        (7222, "7.05 KiB"),
        (2**50, "1,048,576 GiB"),
    ],
)
def test_sizes_have_the_unit_that_fits(number: int, written: str) -> None:
    assert size_text(number) == written


def test_a_name_never_breaks_its_line() -> None:
    assert printable("a\nb.png") == r"a\nb.png"
    assert printable("\udcff.png") == r"\udcff.png"
    assert printable("grün 日本 1.png") == "grün 日本 1.png"


def test_of_many_names_the_first_are_listed_and_the_rest_counted() -> None:
    assert name_list(["b", "a"]) == "a, b"
    assert name_list([]) == ""
    assert name_list(str(number) for number in range(9)) == "0, 1, 2, 3, 4, 5, 6, 7 and 1 more"
