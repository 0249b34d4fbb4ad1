import pytest

from components.review.ways import commands


@pytest.mark.parametrize(
    ("decision", "declined", "first", "override"),
    [
        ("promote", False, "promote", False),
        ("hold", False, "promote", True),
        ("reject", False, "reject", True),
        ("promote", True, "reject", True),
    ],
)
def test_the_advised_command_is_first_and_only_a_good_verdict_needs_no_override(
    decision, declined, first, override
):
    found = commands(3, decision, declined=declined)
    assert found[0].startswith(f"fovea {first} 3 ")
    assert len(found) == 2
    assert any("--override" in command for command in found) == override
