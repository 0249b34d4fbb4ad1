from collections.abc import Callable

from components.registry.account import compared_before, put_on_account
from components.registry.versions import find_version, versions
from components.tracking.connection import client

Register = Callable[..., int]


def test_only_comparisons_of_other_models_on_the_same_test_images_are_counted(
    registered: Register,
) -> None:
    registered(b"the first champion", test_id="a", compared_with="none")
    registered(b"one", test_id="a", compared_with="1")
    registered(b"two", test_id="a", compared_with="1")
    registered(b"three", test_id="b", compared_with="1")
    registered(b"of an older Fovea", compared_with="1")
    existing = versions("digits")
    counted = [compared_before(existing, version.model_id, "a") for version in existing]
    assert counted == [2, 1, 1, 2, 2]


def test_models_of_experiments_and_deleted_versions_are_counted_once(registered: Register) -> None:
    registered(b"the first champion", test_id="a", compared_with="none")
    first = find_version("digits", "1")
    registered(b"one", test_id="a", compared_with="1")
    one = find_version("digits", "2").model_id
    for model_id in (one, "an experiment", "an experiment", "another experiment"):
        put_on_account("a", model_id, first)
    put_on_account("ab", "on other test images", first)
    assert compared_before(versions("digits"), "new", "a") == 3
    assert compared_before(versions("digits"), "an experiment", "a") == 2
    client().delete_model_version("digits", "2")
    assert compared_before(versions("digits"), "new", "a") == 3
    client().delete_registered_model("digits")
    assert compared_before(versions("digits"), "new", "a") == 3
